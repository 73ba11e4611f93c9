"""An engine's snapshots become metrics: closed label sets, counters that only grow, nothing that names a scan."""

import itertools
from dataclasses import replace

import pytest

from pellucid.core.telemetry import engine_metrics
from pellucid.core.telemetry.engine_metrics import CHILD_ROLES, RESTART_CAUSES, ROLES, WAITS
from pellucid.core.telemetry.metrics import MetricLabels, scan_metrics
from pellucid.engine.messages import Role
from pellucid.engine.snapshot import (
    SUPERVISOR,
    EngineSnapshot,
    EngineState,
    ProcessState,
    RestartCause,
    Restarts,
    ScanProgress,
    Slots,
    WaitedFor,
)

SNAPSHOT = EngineSnapshot(
    at=1_000.0,
    run_id="run-1",
    owner="host:1:a-1-2",
    state=EngineState.RUNNING,
    device_busy_share=0.75,
    waited_for={WaitedFor.TILES: 4.0, WaitedFor.SCANS: 1.0},
    slots=Slots(free=2, filling=1, ready=4, at_device=1),
    tiles_per_s=500.0,
    slides_per_h=30.0,
    readers=3,
    readers_target=4,
    restarts=(Restarts(role="reader", cause=RestartCause.SIGSEGV, count=2),),
    queue={"queued": 5, "leased": 2, "backoff": 1, "quarantined": 3, "done": 700, "failed": 4},
    oldest_waiting_s=90.0,
    oldest_stat_s=10.0,
    scans=(
        ScanProgress(name="F-1", stage="read", durable_s=3.0),
        ScanProgress(name="F-2", stage="read", durable_s=8.0),
    ),
    processes=(
        ProcessState(role="reader", number=1, pid=10, rss_bytes=100, n_files=5),
        ProcessState(role="reader", number=2, pid=11, rss_bytes=200, n_files=6),
        ProcessState(role=SUPERVISOR, number=0, pid=9, rss_bytes=50, n_files=40),
    ),
)


@pytest.fixture
def metrics():
    labels = MetricLabels(stages=("read",), verdicts=("negative",), dispositions=("silent",), reasons=("uncertain",))
    return scan_metrics(labels, software_version="1.2.3")


def samples(metrics):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
    }


def test_the_closed_sets_are_those_of_the_engine():
    assert set(engine_metrics.ENGINE_STATES) == set(EngineState)
    assert set(WAITS) == set(WaitedFor)
    assert set(RESTART_CAUSES) == set(RestartCause)
    assert set(CHILD_ROLES) == set(Role)
    assert set(ROLES) == {*Role, SUPERVISOR}
    assert {name: getattr(SNAPSHOT.slots, name) for name in engine_metrics.SLOT_STATES} == {
        "free": 2,
        "filling": 1,
        "ready": 4,
        "at_device": 1,
    }


def test_every_combination_is_there_at_zero(metrics):
    at_zero = samples(metrics)

    for role, cause in itertools.product(Role, RestartCause):
        assert at_zero["pellucid_restarts_total", ("cause", cause), ("role", role)] == 0.0
    for what in WaitedFor:
        assert at_zero["pellucid_device_waited_seconds_total", ("for", what)] == 0.0
    assert at_zero["pellucid_engine_heartbeat_timestamp_seconds",] == 0.0
    assert at_zero["pellucid_paused",] == 0.0


def test_a_snapshot_is_shown_without_a_new_series(metrics):
    before = set(samples(metrics))

    metrics.show(SNAPSHOT)

    after = samples(metrics)
    assert set(after) == before
    shown = {
        ("pellucid_engine_state", ("state", "running")): 1,
        ("pellucid_engine_state", ("state", "ended")): 0,
        ("pellucid_engine_heartbeat_timestamp_seconds",): 1000,
        ("pellucid_device_busy_share",): 0.75,
        ("pellucid_device_waited_seconds_total", ("for", "tiles")): 4,
        ("pellucid_device_waited_seconds_total", ("for", "slots")): 0,
        ("pellucid_slots", ("state", "ready")): 4,
        ("pellucid_tiles_per_second",): 500,
        ("pellucid_slides_per_hour",): 30,
        ("pellucid_readers", ("kind", "target")): 4,
        ("pellucid_restarts_total", ("cause", "SIGSEGV"), ("role", "reader")): 2,
        ("pellucid_process_resident_bytes", ("role", "reader")): 300,
        ("pellucid_process_open_files", ("role", "supervisor")): 40,
        ("pellucid_process_open_files", ("role", "device")): 0,
        ("pellucid_scans_in_hand",): 2,
        ("pellucid_checkpoint_age_seconds",): 8,
        ("pellucid_queue_depth", ("state", "waiting")): 5,
        ("pellucid_queue_depth", ("state", "running")): 2,
        ("pellucid_queue_depth", ("state", "backoff")): 1,
        ("pellucid_queue_depth", ("state", "quarantined")): 3,
        ("pellucid_queue_oldest_age_seconds", ("class", "routine")): 90,
        ("pellucid_queue_oldest_age_seconds", ("class", "stat")): 10,
    }
    assert {key: after[key] for key in shown} == shown


def test_counters_grow_by_the_difference_and_outlive_a_new_engine(metrics):
    waited = ("pellucid_device_waited_seconds_total", ("for", "tiles"))

    metrics.show(SNAPSHOT)
    metrics.show(SNAPSHOT)
    assert samples(metrics)[waited] == 4
    metrics.show(replace(SNAPSHOT, waited_for={WaitedFor.TILES: 5.5}))
    assert samples(metrics)[waited] == 5.5
    metrics.show(replace(SNAPSHOT, waited_for={WaitedFor.TILES: 0.5}))
    assert samples(metrics)[waited] == 6


def test_what_ended_leaves_its_gauges(metrics):
    metrics.show(SNAPSHOT)
    metrics.show(replace(SNAPSHOT, state=EngineState.PAUSED, paused_because="asked", processes=(), scans=(), queue={}))

    after = samples(metrics)
    assert after["pellucid_paused",] == 1
    assert after["pellucid_engine_state", ("state", "running")] == 0
    assert after["pellucid_process_resident_bytes", ("role", "reader")] == 0
    assert after["pellucid_checkpoint_age_seconds",] == 0
    assert after["pellucid_queue_depth", ("state", "waiting")] == 0


def test_a_label_outside_its_set_counts_as_other_and_a_foreign_role_not_at_all(metrics):
    before = set(samples(metrics))
    odd = replace(
        SNAPSHOT,
        waited_for={"weather": 2.0, WaitedFor.OTHER: 1.0},
        restarts=(Restarts(role="reader", cause="boredom", count=3), Restarts(role="cat", cause="exit", count=1)),
    )

    metrics.show(odd)

    after = samples(metrics)
    assert set(after) == before
    assert after["pellucid_device_waited_seconds_total", ("for", "other")] == 3
    assert after["pellucid_restarts_total", ("cause", "other"), ("role", "reader")] == 3
