import itertools
import math
import re
import urllib.request

import pytest

from pellucid.core.telemetry.metrics import (
    PROBABILITY_BUCKETS,
    QUEUE_STATES,
    TILE_STAGES,
    MetricLabels,
    scan_metrics,
    serve,
    write_textfile,
)
from pellucid.domain.decision import Disposition, Verdict
from pellucid.domain.reasons import Reason

STAGES = ("open", "tissue", "quality", "read", "encode", "passes")
CODES = ("PEL-SLIDE-001", "PEL-MODEL-002")
FEATURES = ("mean_logit", "distance")


@pytest.fixture
def metrics():
    labels = MetricLabels(
        stages=STAGES,
        verdicts=tuple(Verdict),
        dispositions=tuple(Disposition),
        reasons=tuple(Reason),
        codes=CODES,
        features=FEATURES,
    )
    return scan_metrics(labels, software_version="1.2.3")


def samples(metrics):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
    }


def combinations():
    yield from (("pellucid_slides_failed_total", ("code", code)) for code in (*CODES, "other"))
    yield from (("pellucid_slide_duration_seconds_count", ("stage", stage)) for stage in STAGES)
    yield from (("pellucid_tiles_total", ("stage", stage)) for stage in TILE_STAGES)
    yield from (
        ("pellucid_triage_decisions_total", ("disposition", disposition.value), ("verdict", verdict.value))
        for verdict, disposition in itertools.product(Verdict, Disposition)
    )
    yield from (("pellucid_escalations_total", ("reason", reason.value)) for reason in Reason)
    yield from (("pellucid_queue_depth", ("state", state)) for state in QUEUE_STATES)
    yield from (("pellucid_queue_oldest_age_seconds", ("class", name)) for name in ("routine", "stat"))
    yield from (("pellucid_drift_log_evidence", ("feature", feature)) for feature in (*FEATURES, "all"))
    for name in (
        "slides_received_total",
        "slides_completed_total",
        "audit_verify_failures_total",
        "audit_last_verified_timestamp_seconds",
        "probability_count",
        "sd_logit_count",
        "drift_log_evidence_limit",
        "certificate_expiry_timestamp_seconds",
        "autonomy_without_certificate",
    ):
        yield (f"pellucid_{name}",)


@pytest.mark.parametrize("key", list(combinations()), ids=str)
def test_every_combination_is_there_at_zero(metrics, key):
    assert samples(metrics)[key] == 0.0


def test_nothing_but_information_and_the_start_is_above_zero(metrics):
    above = {key[0] for key, value in samples(metrics).items() if value}

    assert above == {"pellucid_build_info", "pellucid_last_progress_timestamp_seconds"}


def test_use_adds_no_series(metrics):
    before = set(samples(metrics))

    metrics.slides_received.inc()
    metrics.slide_completed({"open": 0.5, "encode": 40.0})
    metrics.slide_failed("PEL-SLIDE-001")
    metrics.slide_failed("PEL-NEVER-999")
    metrics.count_tiles("encoded", 7)
    metrics.decided("undetermined", "for_review", ["no_certificate", "poor_focus"])
    metrics.answered(0.4, 0.2)
    metrics.set_queue({"waiting": 3}, oldest_age_s=5.0, oldest_stat_age_s=2.0)
    metrics.set_drift({"all": 2.0, "distance": 3.0}, limit=9.9)
    metrics.audit_verified(ok=True)
    metrics.audit_verified(ok=False)
    metrics.set_certificates(held=True, expires_on="2027-05-22")

    after = samples(metrics)
    assert set(after) == before
    assert after["pellucid_slides_failed_total", ("code", "other")] == 1
    assert after["pellucid_tiles_total", ("stage", "encoded")] == 7
    assert after["pellucid_escalations_total", ("reason", "poor_focus")] == 1
    assert after["pellucid_queue_depth", ("state", "waiting")] == 3
    assert after["pellucid_queue_depth", ("state", "running")] == 0
    assert after["pellucid_queue_oldest_age_seconds", ("class", "routine")] == 5
    assert after["pellucid_queue_oldest_age_seconds", ("class", "stat")] == 2
    assert after["pellucid_slide_duration_seconds_bucket", ("le", "30.0"), ("stage", "encode")] == 0
    assert after["pellucid_slide_duration_seconds_bucket", ("le", "60.0"), ("stage", "encode")] == 1
    assert after["pellucid_audit_last_verified_timestamp_seconds",] > 1e9
    assert after["pellucid_audit_verify_failures_total",] == 1


@pytest.mark.parametrize(
    "misuse",
    [
        lambda metrics: metrics.slide_completed({"lunch": 1.0}),
        lambda metrics: metrics.decided("maybe", "silent", []),
        lambda metrics: metrics.decided("negative", "silent", ["bored"]),
        lambda metrics: metrics.set_queue({"lost": 1}),
        lambda metrics: metrics.count_tiles("eaten", 1),
        lambda metrics: metrics.set_drift({"weather": 1.0}, limit=9.9),
    ],
)
def test_a_label_outside_its_closed_set_is_refused(metrics, misuse):
    before = set(samples(metrics))

    with pytest.raises(ValueError, match="metrics were made for"):
        misuse(metrics)
    assert set(samples(metrics)) == before


@pytest.mark.parametrize(
    ("held", "expires_on", "until"),
    [
        (False, None, 0.0),
        (True, None, math.inf),
        (True, "2027-05-22", 1811030400.0),  # 2027-05-23 00:00 UTC: the whole last day counts
    ],
)
def test_certificates_hold_until_the_end_of_their_last_day(metrics, held, expires_on, until):
    metrics.set_certificates(held=held, expires_on=expires_on)

    assert samples(metrics)["pellucid_certificate_expiry_timestamp_seconds",] == until


def test_registries_are_apart(metrics):
    other = scan_metrics(metrics.labels, software_version="1.2.3")

    other.slides_received.inc()

    assert samples(metrics)["pellucid_slides_received_total",] == 0


def test_probability_has_twenty_bins_up_to_one():
    assert len(PROBABILITY_BUCKETS) == 20
    assert PROBABILITY_BUCKETS[-1] == 1.0


def test_only_one_model_is_stated_at_a_time(metrics):
    metrics.set_model(model="aa", bundle="bb", name="first", synthetic=True)
    metrics.set_model(model="cc", bundle="dd", name="second", synthetic=False)

    stated = [key for key in samples(metrics) if key[0] == "pellucid_model_info"]
    assert [dict(key[1:])["name"] for key in stated] == ["second"]


def test_textfile_is_whole_and_readable_by_the_collector(metrics, tmp_path):
    path = tmp_path / "textfile" / "pellucid.prom"

    write_textfile(metrics, path)
    metrics.slides_received.inc(3)
    write_textfile(metrics, path)

    assert "pellucid_slides_received_total 3.0\n" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == ["pellucid.prom"]


def test_no_created_series_and_few_in_all(metrics, tmp_path):
    write_textfile(metrics, tmp_path / "pellucid.prom")
    lines = [line for line in (tmp_path / "pellucid.prom").read_text().splitlines() if not line.startswith("#")]

    assert not re.search(r"_created[ {]", "\n".join(lines))
    assert len(lines) < 300


def test_served_on_this_machine_only_and_the_port_is_freed(metrics):
    with serve(metrics, 0) as server:
        port = server.port
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert b"pellucid_slides_received_total 0.0" in answer.read()
        assert server._server.server_address[0] == "127.0.0.1"

    with serve(metrics, port) as again:
        assert again.port == port
