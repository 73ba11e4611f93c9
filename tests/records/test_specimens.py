import pytest

from pellucid.records import IdentityConflict, ScanRow, SpecimenConflict, SpecimenUnknown

DIGEST = "d" * 64


def scan(specimen, **changes):
    values = {"digest": DIGEST, "specimen": specimen, "block": "B1", "slide": "1", "path": "/a.svs", "size_bytes": 10}
    return ScanRow(**(values | changes))


def actions(ward):
    return [event.content["action"] for event in ward.records.audit_events()]


def test_specimen_comes_back_as_registered(ward):
    ward.records.register_specimen("S1", "C1", "P1", ["k2", "k1", "k1"], {"site": "A", "scanner": "x"})
    specimen = ward.records.specimen("S1")
    assert (specimen.case, specimen.patient, specimen.expected) == ("C1", "P1", ("k1", "k2"))
    assert specimen.strata == {"site": "A", "scanner": "x"}
    assert ward.records.specimens() == [specimen]


def test_registering_again_without_change_leaves_no_trace(ward):
    ward.register("S1")
    head = ward.records.audit_head()
    ward.register("S1")
    assert ward.records.audit_head() == head


def test_new_expectation_replaces_the_earlier_and_is_recorded(ward):
    ward.register("S1")
    ward.records.register_specimen("S1", "case S1", "patient S1", ["k9"], {"site": "A"})
    assert ward.records.specimen("S1").expected == ("k9",)
    assert actions(ward).count("specimen.register") == 2
    assert ward.records.verify_audit().ok


@pytest.mark.parametrize(("case", "patient"), [("C2", "P1"), ("C1", "P2")])
def test_specimen_under_another_case_or_patient_is_refused(ward, case, patient):
    ward.records.register_specimen("S1", "C1", "P1", [], {})
    with pytest.raises(SpecimenConflict):
        ward.records.register_specimen("S1", case, patient, [], {})


def test_unknown_specimen_is_said(ward):
    for ask in (ward.records.specimen, lambda name: ward.records.register_scan(scan(name))):
        with pytest.raises(SpecimenUnknown, match="S9"):
            ask("S9")


def test_scan_is_filed_once_and_follows_its_file(ward):
    ward.register("S1")
    assert ward.records.register_scan(scan("S1")) is None
    head = ward.records.audit_head()
    assert ward.records.register_scan(scan("S1")) is None
    assert ward.records.audit_head() == head
    assert ward.records.register_scan(scan("S1", path="/b.svs")) is None
    assert [found.path for found in ward.records.scans("S1")] == ["/b.svs"]
    assert ward.records.verify_audit().ok


def test_one_scan_under_two_cases_is_a_conflict_that_holds_both(ward):
    ward.register("S1")
    ward.register("S2")
    assert ward.records.register_scan(scan("S1")) is None
    conflict = IdentityConflict(digest=DIGEST, specimens=("S1", "S2"), cases=("case S1", "case S2"))
    assert ward.records.register_scan(scan("S2")) == conflict
    assert ward.records.register_scan(scan("S1")) == conflict
    assert ward.records.identity_conflicts() == ward.records.identity_conflicts(DIGEST) == [conflict]
    assert ward.records.identity_conflicts("e" * 64) == []
    event = ward.records.audit_events()[-1].content
    assert event["action"] == "slide.conflict"
    assert event["details"]["held"] == [ward.records.pseudonym("specimen", name) for name in ("S1", "S2")]
    assert actions(ward).count("slide.conflict") == 1


def test_one_scan_under_two_specimens_of_a_case_is_no_identity_conflict(ward):
    ward.register("S1", case="C")
    ward.register("S2", case="C")
    assert ward.records.register_scan(scan("S1")) is None
    assert ward.records.register_scan(scan("S2")) is None


def test_withdrawn_scan_ends_the_conflict_and_stays_on_record(ward):
    for name in ("S1", "S2"):
        ward.register(name)
        ward.records.register_scan(scan(name))
    assert ward.records.withdraw_scan(DIGEST, "S2", actor="user:7")
    assert not ward.records.withdraw_scan(DIGEST, "S2", actor="user:7")
    assert ward.records.identity_conflicts() == []
    assert [found.specimen for found in ward.records.scans()] == ["S1"]
    event = ward.records.audit_events()[-1].content
    assert (event["action"], event["actor"]) == ("slide.withdraw", "user:7")
    assert ward.rows("SELECT count(*) FROM scan") == [(2,)]
    assert ward.records.register_scan(scan("S2")) is not None
    assert actions(ward).count("slide.conflict") == 2
    assert ward.records.verify_audit().ok


def register(ward, *keys, **options):
    ward.records.register_specimen("S1", "C1", "P1", keys, {}, **options)
    return ward.records.specimen("S1")


def test_specimen_waits_for_scans_that_are_still_to_come(ward):
    ward.register("complete")
    assert register(ward, "k1").n_expected is None
    assert ward.records.waiting_specimens() == []
    specimen = register(ward, "k1", n_expected=3)
    assert (specimen.n_expected, specimen.n_missing, specimen.deadline, specimen.overdue) == (3, 2, None, False)
    assert ward.records.waiting_specimens() == [specimen]
    specimen = register(ward, "k1", "k2", "k3", n_expected=3)
    assert specimen.n_missing == 0
    assert ward.records.waiting_specimens() == []
    assert ward.records.verify_audit().ok


def test_deadline_counts_from_the_first_registration(ward):
    first = register(ward, "k1", n_expected=2, wait_s=60)
    assert not first.overdue
    ward.sql("UPDATE specimen SET wait_from = wait_from - 61, deadline = deadline - 61")
    late = ward.records.specimen("S1")
    assert late.overdue
    assert ward.records.waiting_specimens() == [late]
    assert register(ward, "k1", n_expected=2, wait_s=600).deadline == pytest.approx(first.deadline - 61 + 540)
    assert not ward.records.specimen("S1").overdue
    complete = register(ward, "k1", "k2", n_expected=2, wait_s=0)
    assert not complete.overdue


def test_registering_what_waits_again_leaves_no_trace(ward):
    register(ward, "k1", n_expected=2, wait_s=60)
    head = ward.records.audit_head()
    register(ward, "k1", n_expected=2, wait_s=60)
    assert ward.records.audit_head() == head
