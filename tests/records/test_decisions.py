import math

import pytest

from pellucid.domain.decision import Disposition
from pellucid.records import RunUnknown, SpecimenUnknown, ValueUnrecordable


def test_decision_comes_back_as_it_went_in(ward):
    ward.register("S1")
    decision = ward.decision("S1")
    assert ward.records.save_decision(decision, run_id="run-1") == 1
    recorded = ward.records.decision("S1")
    assert (recorded.decision, recorded.version, recorded.run) == (decision, 1, "run-1")


def test_decision_without_a_posterior_is_kept(ward):
    ward.register("S1")
    decision = ward.decision("S1", posterior=None, scans=())
    ward.records.save_decision(decision, run_id="run-1")
    assert ward.records.decision("S1").decision == decision


def test_equal_decision_adds_no_version_and_no_event(ward):
    ward.register("S1")
    ward.records.save_decision(ward.decision("S1"), run_id="run-1")
    head = ward.records.audit_head()
    assert ward.records.save_decision(ward.decision("S1"), run_id="run-1") == 1
    assert ward.records.audit_head() == head


def test_other_decision_is_a_new_version_and_the_old_one_stays(ward):
    ward.register("S1")
    first, second = ward.decision("S1"), ward.decision("S1", disposition=Disposition.SILENT)
    versions = [ward.records.save_decision(decision, run_id="run-1") for decision in (first, second, first)]
    assert versions == [1, 2, 3]
    assert [recorded.decision for recorded in ward.records.decisions(latest_only=False)] == [first, second, first]
    assert [recorded.version for recorded in ward.records.decisions()] == [3]
    assert ward.records.verify_audit().ok


def test_decisions_of_several_specimens_have_versions_of_their_own(ward):
    ward.answer("S1", "S2")
    assert [(item.decision.specimen, item.version) for item in ward.records.decisions()] == [("S1", 1), ("S2", 1)]
    assert ward.records.decisions(run_id="other") == []


def test_unknown_specimen_or_run_is_refused(ward):
    ward.register("S1")
    with pytest.raises(SpecimenUnknown, match="S9"):
        ward.records.save_decision(ward.decision("S9"), run_id="run-1")
    with pytest.raises(RunUnknown, match="ghost"):
        ward.records.save_decision(ward.decision("S1"), run_id="ghost")
    assert ward.records.decision("S1") is None


def test_decision_with_a_number_that_is_none_is_refused(ward):
    ward.register("S1")
    decision = ward.decision("S1", posterior=ward.posterior(high=math.nan))
    with pytest.raises(ValueUnrecordable, match="decision"):
        ward.records.save_decision(decision, run_id="run-1")
    assert ward.records.decisions() == []
