import math

import numpy as np
import pytest

from pellucid.records import RecordsRefused, RunUnknown, SpecimenUnknown, TaskState, ValueUnrecordable, process_owner


def test_result_comes_back_as_it_went_in(ward):
    ward.enqueue("S1")
    task = ward.claim()
    ward.complete(task)
    (result,) = ward.records.scan_results("S1")
    assert (result.task_key, result.specimen, result.scan, result.run) == (task.key, "S1", ward.digest("S1"), "run-1")
    assert result.logits == ward.logits
    assert result.posterior == ward.posterior()
    assert result.quality == ward.quality()
    assert result.info == ward.info()
    assert result.findings[0].detail == "blurred"
    assert (result.n_tiles, result.n_unreadable) == (120, 2)
    assert result.artefacts == {"pages/heatmap.png": "a" * 64}
    assert result.versions == ward.versions
    assert result.observation == ward.observation("S1")


def test_logits_keep_every_bit(ward):
    logits = np.array([0.1, -0.0, 5e-324, 1.7976931348623157e308, 1 / 3])
    ward.enqueue("S1")
    ward.complete(ward.claim(), logits=logits)
    stored = ward.records.scan_results()[0].logits
    assert np.array(stored).tobytes() == logits.tobytes()


def test_scan_without_an_answer_is_recorded_too(ward):
    ward.enqueue("S1")
    ward.records.complete(ward.claim(), observation=ward.observation("S1", n_tiles=0))
    (result,) = ward.records.scan_results("S1")
    assert (result.logits, result.posterior, result.quality, result.info) == ((), None, None, None)
    assert ward.records.verify_audit().ok


def test_results_of_a_specimen_are_those_it_expects(ward):
    ward.answer("S1", "S2")
    assert [result.specimen for result in ward.records.scan_results("S1")] == ["S1"]
    ward.records.register_specimen("S1", "case S1", "patient S1", [ward.key("S1"), ward.key("S2")], {"site": "A"})
    assert [result.specimen for result in ward.records.scan_results("S1")] == ["S1", "S2"]
    assert len(ward.records.scan_results()) == len(ward.records.scan_results(run_id="run-1")) == 2
    with pytest.raises(SpecimenUnknown):
        ward.records.scan_results("S9")


@pytest.mark.parametrize("table", ["observation", "scan_result", "audit_event", "pseudonym"])
def test_completion_that_breaks_midway_leaves_nothing(ward, table):
    ward.enqueue("S1")
    task = ward.claim()
    if table == "pseudonym":
        ward.sql("DELETE FROM pseudonym")
    before = ward.records.audit_head()
    ward.fault(table)
    with pytest.raises(RecordsRefused, match="fault"):
        ward.complete(task)
    ward.mend(table)
    assert ward.records.tasks()[0].state is TaskState.LEASED
    assert ward.records.scan_results() == []
    assert ward.records.observations() == []
    assert ward.records.audit_head() == before
    ward.complete(task)
    assert ward.records.verify_audit().ok


@pytest.mark.parametrize("table", ["observation", "audit_event"])
def test_failure_that_breaks_midway_leaves_nothing(ward, table):
    ward.enqueue("S1")
    task = ward.claim()
    ward.fault(table)
    with pytest.raises(RecordsRefused):
        ward.records.fail(task, code="PEL-SLIDE-001", message="m", observation=ward.observation("S1"))
    assert ward.records.tasks()[0].state is TaskState.LEASED
    assert ward.records.observations() == []


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused_wherever_they_stand(ward, number):
    ward.enqueue("S1")
    task = ward.claim()
    broken = (
        {"logits": [0.0, number]},
        {"posterior": ward.posterior(probability=number)},
        {"observation": ward.observation("S1", features={"saturation": number})},
    )
    for changes in broken:
        with pytest.raises(ValueUnrecordable):
            ward.complete(task, **changes)
    assert ward.records.tasks()[0].state is TaskState.LEASED


def test_result_of_a_run_that_never_started_is_refused(ward):
    ward.enqueue("S1")
    with pytest.raises(RunUnknown, match="ghost"):
        ward.complete(ward.claim(), observation=ward.observation("S1", run="ghost"))


def test_failure_is_recorded_with_its_observation(ward):
    ward.enqueue("S1", "S2")
    failed = ward.observation("S1", error="PEL-SLIDE-003", probability=None)
    ward.records.fail(ward.claim(), code="PEL-SLIDE-003", message="/secret/S1.svs is damaged", observation=failed)
    ward.records.fail(ward.claim(), code="PEL-SLIDE-001", message="no file")
    first, second = ward.records.tasks(state=TaskState.FAILED)
    assert (first.error_code, first.error_message) == ("PEL-SLIDE-003", "/secret/S1.svs is damaged")
    assert second.error_code == "PEL-SLIDE-001"
    assert ward.records.observations() == [failed]
    assert ward.records.verify_audit().ok


def test_last_attempt_is_the_observation_that_counts(ward):
    ward.enqueue("S1")
    failed = ward.observation("S1", error="PEL-SLIDE-003")
    ward.records.fail(ward.claim(), code="PEL-SLIDE-003", message="m", observation=failed)
    ward.records.retry_failed()
    ward.complete(ward.claim())
    assert ward.records.observations() == [ward.observation("S1")]
    assert ward.records.observations(latest_only=False) == [failed, ward.observation("S1")]


def test_observations_are_chosen_by_time_model_and_run(ward):
    ward.enqueue("S1", "S2")
    old = ward.observation("S1", at="2026-11-01T00:00:00.000Z")
    late = ward.observation("S2", model="n" * 64)
    ward.complete(ward.claim(), observation=old)
    ward.complete(ward.claim(), observation=late)
    assert ward.records.observations(since="2026-11-02T00:00:00.000Z") == [late]
    assert ward.records.observations(model="m" * 64) == [old]
    assert ward.records.observations(run_id="run-1") == [old, late]
    assert ward.records.observations(run_id="run-2") == []


def test_more_unreadable_tiles_than_tiles_is_refused(ward):
    ward.enqueue("S1")
    with pytest.raises(RecordsRefused):
        ward.complete(ward.claim(), n_tiles=1, n_unreadable=2)
    assert ward.records.claim(process_owner()) is None
