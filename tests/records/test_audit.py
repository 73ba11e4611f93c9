import hashlib
import json
import math
import re
import sqlite3
import subprocess
import sys
import uuid

import psycopg
import pytest

from pellucid.records import Action, RunUnknown, ValueUnrecordable, open_records
from pellucid.records.audit_export import export_trail

APPENDER = """
import sys
from pellucid.records import open_records
with open_records(sys.argv[1]) as records:
    for number in range(int(sys.argv[2])):
        records.audit_append("config.change", object_type="test", object_id=sys.argv[3], payload={"number": number})
        print(number, flush=True)
"""


@pytest.fixture
def start_appender(ward):
    processes = []

    def start(number, name):
        command = [sys.executable, "-c", APPENDER, ward.address, str(number), name]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def append(ward, **changes):
    values = {"action": Action.CONFIG_CHANGE, "actor": "user:7", "object_type": "setting", "object_id": "site"}
    return ward.records.audit_append(**(values | changes))


def test_event_tells_what_who_where_and_under_which_versions(ward):
    event = append(ward, payload={"from": 1, "to": 2}, run_id="run-1")
    assert ward.records.audit_events()[-1] == event
    content = event.content
    assert (content["schema"], content["action"], content["actor"]) == (1, "config.change", "user:7")
    assert content["object"] == {"type": "setting", "id": "site"}
    assert content["details"] == {"from": 1, "to": 2}
    assert (content["run"], content["versions"]["software_version"]) == ("run-1", "0.1.0")
    assert uuid.UUID(content["event"]).version == 4
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", content["at"])


def test_chain_follows_its_formula(ward):
    ward.answer("S1")
    prev = bytes(32)
    for number, event in enumerate(ward.records.audit_events(), start=1):
        assert (event.seq, bytes.fromhex(event.prev)) == (number, prev)
        prev = hashlib.sha256(b"\x00" + number.to_bytes(8, "big") + prev + event.payload).digest()
        assert event.leaf == prev.hex()


def test_events_are_paged(ward):
    ward.answer("S1")
    everything = ward.records.audit_events()
    assert ward.records.audit_events(after=2, limit=3) == everything[2:5]


def test_trail_holds_no_names_paths_or_commands(ward):
    ward.enqueue("MUELLER-1975")
    ward.records.fail(ward.claim(), code="PEL-SLIDE-001", message="/secret/MUELLER-1975.svs: gone")
    ward.records.retry_failed()
    ward.complete(ward.claim())
    ward.records.save_decision(ward.decision("MUELLER-1975"), run_id="run-1")
    text = b"".join(event.payload for event in ward.records.audit_events())
    for secret in (b"MUELLER", b"secret", b".svs", b"patient", b"t.csv", b"heatmap"):
        assert secret not in text
    pseudonym = ward.records.pseudonym("specimen", "MUELLER-1975")
    assert pseudonym.encode() in text


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), 2**60])
def test_payload_that_json_cannot_hold_is_refused(ward, value):
    head = ward.records.audit_head()
    with pytest.raises(ValueUnrecordable):
        append(ward, payload={"x": value})
    assert ward.records.audit_head() == head


def test_unknown_action_and_run_are_refused(ward):
    with pytest.raises(ValueUnrecordable, match=r"slide\.delete"):
        append(ward, action="slide.delete")
    with pytest.raises(RunUnknown):
        append(ward, run_id="ghost")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET payload = leaf WHERE seq = 1",
        "UPDATE audit_event SET seq = 99 WHERE seq = 1",
        "DELETE FROM audit_event",
        "INSERT INTO audit_event SELECT seq + 5, leaf, leaf, leaf FROM audit_event WHERE seq = 2",
        "INSERT INTO audit_event SELECT seq + 1, payload, payload, leaf FROM audit_event WHERE seq = 2",
    ],
)
def test_database_refuses_changes_of_the_trail(ward, statement):
    with pytest.raises(ward.refused, match="audit"):
        ward.sql(statement)
    assert ward.records.verify_audit().ok


def test_file_refuses_a_replaced_event(file_ward):
    with pytest.raises(sqlite3.IntegrityError, match="audit"):
        file_ward.sql("INSERT OR REPLACE INTO audit_event SELECT seq, prev, leaf, leaf FROM audit_event WHERE seq = 1")
    assert file_ward.records.verify_audit().ok


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE audit_event",
        "INSERT INTO audit_event SELECT * FROM audit_event ON CONFLICT (seq) DO UPDATE SET payload = excluded.payload",
    ],
)
def test_server_refuses_what_only_servers_know(server_ward, statement):
    with pytest.raises(psycopg.errors.IntegrityError, match="audit"):
        server_ward.sql(statement)
    assert server_ward.records.verify_audit().ok


def test_session_that_calls_itself_a_replica_meets_the_guards_too(server_ward):
    with pytest.raises(psycopg.errors.IntegrityError, match="audit"):
        server_ward.sql("SET session_replication_role = replica", "DELETE FROM audit_event")


def test_three_writers_make_one_chain_without_a_gap(ward, start_appender):
    before = ward.records.audit_head().seq
    processes = [start_appender(30, f"writer {number}") for number in range(3)]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    report = ward.records.verify_audit()
    assert report.ok
    assert report.head.seq == report.n_events == before + 90
    told = [
        (event.content["object"]["id"], event.content["details"]["number"])
        for event in ward.records.audit_events(after=before)
    ]
    for number in range(3):
        assert [count for name, count in told if name == f"writer {number}"] == list(range(30))


def test_trail_verifies_after_a_writer_is_killed(ward, start_appender):
    for round_number in range(2):
        process = start_appender(100_000, f"round {round_number}")
        for _ in range(3 + 7 * round_number):
            acknowledged = int(process.stdout.readline())
        process.kill()
        process.wait()
        with open_records(ward.address) as records:
            assert records.verify_audit().ok
            last = records.audit_events(after=records.audit_head().seq - 1)[0].content
            assert last["object"]["id"] == f"round {round_number}"
            assert last["details"]["number"] >= acknowledged


def test_export_can_be_checked_without_the_database(ward, tmp_path):
    ward.answer("S1")
    head = export_trail(ward.records, tmp_path / "copy")
    assert head == ward.records.audit_head()
    prev = bytes(32)
    lines = (tmp_path / "copy" / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        event = json.loads(line)
        prev = hashlib.sha256(b"\x00" + number.to_bytes(8, "big") + prev + event["payload"].encode()).digest()
        assert (event["seq"], event["leaf"]) == (number, prev.hex())
    written = json.loads((tmp_path / "copy" / "audit-head.json").read_text())
    assert written == {"seq": len(lines), "leaf": prev.hex()}
    assert json.loads(json.loads(lines[-1])["payload"])["action"] == "export"
