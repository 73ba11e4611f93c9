import json

import pytest

from pellucid.records import AuditHead, HeadMalformed, RecordsDamaged, open_records, parse_head, verification
from pellucid.records.audit import read_head
from pellucid.records.chain import leaf_hash

GUARDS = ("audit_event_no_update", "audit_event_no_delete", "audit_event_only_append")


@pytest.fixture
def tampered(ward):
    """Records with a few answers, and a way to change the trail that puts its guards back."""
    ward.answer("S1", "S2", "S3")
    assert ward.records.verify_audit().ok

    def tamper(*statements, parameters=()):
        ward.tamper(*statements, parameters=parameters)
        return ward.records.verify_audit()

    return tamper


def kinds(report):
    return {problem.kind for problem in report.problems}


def first(report):
    return report.problems[0].seq


def test_untouched_trail_verifies_and_counts(ward):
    ward.answer("S1", "S2")
    report = ward.records.verify_audit()
    assert report.ok
    assert report.head == ward.records.audit_head()
    assert report.n_events == report.head.seq == len(ward.records.audit_events())
    # site, run, 2 specimens, 2 observations, 2 results, 2 decisions
    assert report.n_rows == 10


def test_edited_payload_is_found_at_its_event(ward, tampered):
    payload = ward.rows("SELECT payload FROM audit_event WHERE seq = 5")[0][0]
    report = tampered("UPDATE audit_event SET payload = ? WHERE seq = 5", parameters=(payload.replace(b"S", b"T", 1),))
    assert first(report) == 5
    assert "leaf_wrong" in kinds(report)


def test_payload_edited_in_sql_is_found_although_it_became_text(file_ward):
    file_ward.answer("S1")
    file_ward.tamper("UPDATE audit_event SET payload = replace(payload, '0.1.0', '0.1.1') WHERE seq = 5")
    report = file_ward.records.verify_audit()
    assert first(report) == 5
    assert "leaf_wrong" in kinds(report)


def test_payload_with_recomputed_leaf_breaks_the_next_event(ward, tampered):
    prev, payload = ward.rows("SELECT prev, payload FROM audit_event WHERE seq = 5")[0]
    forged = json.dumps(json.loads(payload) | {"actor": "nobody"}).encode()
    report = tampered(
        "UPDATE audit_event SET payload = ?, leaf = ? WHERE seq = 5", parameters=(forged, leaf_hash(5, prev, forged))
    )
    assert (first(report), kinds(report)) == (6, {"chain_broken"})


def test_deleted_event_is_found(tampered):
    report = tampered("DELETE FROM audit_event WHERE seq = 6")
    assert first(report) == 7
    assert {"gap", "chain_broken"} <= kinds(report)


def test_deleted_first_event_is_found(tampered):
    report = tampered("DELETE FROM audit_event WHERE seq = 1")
    assert first(report) == 2
    assert {"gap", "chain_broken", "row_without_event"} <= kinds(report)


def test_all_events_deleted_is_found(tampered):
    assert "empty" in kinds(tampered("DELETE FROM audit_event"))


def test_inserted_event_is_found(ward, tampered):
    last = ward.records.audit_head()
    prev, payload = bytes(32)[:-1] + b"\x01", b"{}"
    report = tampered(
        "INSERT INTO audit_event (seq, prev, leaf, payload) VALUES (?, ?, ?, ?)",
        parameters=(last.seq + 1, prev, leaf_hash(last.seq + 1, prev, payload), payload),
    )
    assert first(report) == last.seq + 1
    assert {"chain_broken", "payload_unreadable"} <= kinds(report)


def test_reordered_events_are_found(tampered):
    report = tampered(
        "UPDATE audit_event SET seq = 1000 WHERE seq = 5",
        "UPDATE audit_event SET seq = 5 WHERE seq = 6",
        "UPDATE audit_event SET seq = 6 WHERE seq = 1000",
    )
    assert first(report) == 5
    assert {"chain_broken", "leaf_wrong"} <= kinds(report)


def test_clock_that_ran_backwards_is_found(ward, tampered):
    head = ward.records.audit_head()
    seq, prev = head.seq + 1, bytes.fromhex(head.leaf)
    content = ward.records.audit_events()[-1].content | {"at": "2020-01-01T00:00:00.000Z", "rows": []}
    payload = json.dumps(content).encode()
    report = tampered(
        "INSERT INTO audit_event (seq, prev, leaf, payload) VALUES (?, ?, ?, ?)",
        parameters=(seq, prev, leaf_hash(seq, prev, payload), payload),
    )
    assert [(problem.seq, problem.kind) for problem in report.problems] == [(seq, "time_reversed")]


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("scan_result", "n_unreadable = 0"),
        ("scan_result", "posterior = replace(posterior, '0.9', '0.8')"),
        ("scan_result", "quality = NULL"),
        ("observation", "document = replace(document, '1.5', '0.5')"),
        ("decision", "verdict = 'negative'"),
        ("decision", "document = replace(document, 'undetermined', 'negative')"),
        ("specimen", "strata = '{}'"),
        ("run", "command = 'other'"),
    ],
)
def test_edited_row_is_found_at_the_event_that_recorded_it(ward, table, change):
    ward.answer("S1")
    ward.sql(f"UPDATE {table} SET {change} WHERE id = 1")
    report = ward.records.verify_audit()
    assert kinds(report) == {"row_edited"}
    sealed = [
        event.seq
        for event in ward.records.audit_events()
        if any(row["table"] == table for row in event.content["rows"])
    ]
    assert first(report) == sealed[-1]


def test_edited_logits_are_found(ward):
    ward.answer("S1")
    ward.sql("UPDATE scan_result SET logits = ? WHERE id = 1", parameters=(bytes(400),))
    assert kinds(ward.records.verify_audit()) == {"row_edited"}


@pytest.mark.parametrize("table", ["scan_result", "decision"])
def test_deleted_row_is_found(ward, table):
    ward.answer("S1", "S2")
    ward.sql(f"DELETE FROM {table} WHERE id = 2")
    assert kinds(ward.records.verify_audit()) == {"row_deleted"}


def test_inserted_decision_is_found(ward):
    ward.answer("S1")
    ward.sql(
        "INSERT INTO decision (specimen, version, run, at, verdict, disposition, model, policy, digest, document) "
        "SELECT specimen, 2, run, at, 'negative', 'reported', model, policy, digest, document FROM decision"
    )
    report = ward.records.verify_audit()
    assert kinds(report) == {"row_without_event"}
    assert "row 2 of decision" in report.problems[0].detail


def test_exchanged_pseudonyms_are_found(ward):
    ward.answer("S1", "S2")
    ward.sql(
        "UPDATE pseudonym SET identifier = 'x' WHERE identifier = 'S1'",
        "UPDATE pseudonym SET identifier = 'S1' WHERE identifier = 'S2'",
        "UPDATE pseudonym SET identifier = 'S2' WHERE identifier = 'x'",
    )
    assert kinds(ward.records.verify_audit()) == {"pseudonym_edited"}


def test_exchanged_salt_is_found(ward):
    ward.answer("S1")
    ward.sql("UPDATE site SET salt = ?", parameters=(bytes(32),))
    assert {"row_edited", "pseudonym_edited"} <= kinds(ward.records.verify_audit())


def test_lost_site_is_found_and_nobody_writes_on(ward):
    ward.answer("S1")
    ward.sql("DELETE FROM site")
    with pytest.raises(RecordsDamaged):
        open_records(ward.address)
    with open_records(ward.address, create=False) as records:
        assert kinds(records.verify_audit()) == {"site_missing"}


def test_trail_is_verified_in_one_state_while_others_write(ward, reopen):
    ward.answer("S1")
    with ward.records._database.read() as connection:
        head = read_head(connection)
        reopen().audit_append("config.change", object_type="setting", object_id="x")
        report = verification.verify(connection, expect_head=None, skew_s=5)
    assert report.ok
    assert report.head == head != ward.records.audit_head()


def test_removed_guard_is_found(ward):
    ward.sql("DROP TRIGGER audit_event_no_update" + " ON audit_event" * ward.on_postgres)
    report = ward.records.verify_audit()
    assert kinds(report) == {"trigger_missing"}


@pytest.mark.parametrize("weakened", ["DISABLE", "ENABLE"])
def test_guard_that_a_session_can_step_around_counts_as_removed(server_ward, weakened):
    server_ward.sql(f"ALTER TABLE audit_event {weakened} TRIGGER audit_event_no_truncate")
    report = server_ward.records.verify_audit()
    assert [problem.kind for problem in report.problems] == ["trigger_missing"]


def test_cut_off_tail_shows_only_against_a_noted_head(ward, tampered):
    noted = ward.records.audit_head()
    report = tampered(
        f"DELETE FROM audit_event WHERE seq = {noted.seq}",
        "DELETE FROM decision WHERE id = (SELECT max(id) FROM decision)",
    )
    assert report.ok
    report = ward.records.verify_audit(expect_head=noted)
    assert kinds(report) == {"truncated"}


def test_trail_that_grew_still_holds_the_noted_head(ward):
    noted = ward.records.audit_head()
    ward.answer("S1")
    assert ward.records.verify_audit(expect_head=noted).ok


def test_rewritten_trail_shows_only_against_a_noted_head(ward, tampered):
    noted = ward.records.audit_head()
    prev, payload = ward.rows(f"SELECT prev, payload FROM audit_event WHERE seq = {noted.seq}")[0]
    forged = json.dumps(json.loads(payload) | {"actor": "nobody"}).encode()
    leaf = leaf_hash(noted.seq, prev, forged)
    report = tampered(
        f"UPDATE audit_event SET payload = ?, leaf = ? WHERE seq = {noted.seq}", parameters=(forged, leaf)
    )
    assert report.ok
    assert kinds(ward.records.verify_audit(expect_head=noted)) == {"head_differs"}


def test_head_survives_being_written_down(ward):
    head = ward.records.audit_head()
    assert parse_head(f" {head}\n") == head
    assert parse_head(str(head).upper()) == head


@pytest.mark.parametrize("written", ["", "5", "5:abc", "x:" + "0" * 64, "5:" + "g" * 64, "5:" + "0" * 66])
def test_malformed_head_is_refused(written):
    with pytest.raises(HeadMalformed):
        parse_head(written)


def test_empty_head_is_zero():
    assert str(AuditHead(seq=0, leaf="00" * 32)) == "0:" + "0" * 64
