import dataclasses
import json
import math

import pytest

from pellucid.core.serial import from_plain, to_plain
from pellucid.core.telemetry.metrics import MetricLabels, scan_metrics
from pellucid.domain.decision import Verdict
from pellucid.domain.reasons import Finding, Reason
from pellucid.monitoring import DriftState, MonitoringReport, monitor, publish_drift, render_text, sparkline


def blurred(specimen, value):
    return Finding(
        reason=Reason.POOR_FOCUS,
        detail=f"Tissue in focus: {value} (limit: at least 0.6)",
        value=value,
        limit=0.6,
        scan=specimen,
    )


@pytest.fixture
def story(make):
    """Sixty scans over three days: two failures, three blurred specimens, one re-scan."""
    observations = [make.observe(i, day=20 + i // 20, probability=i / 60) for i in range(60)]
    observations[7] = make.failure(7, day=20)
    observations[8] = make.failure(8, "PEL-SLIDE-009", day=20)
    observations.append(make.observe(70, day=22, specimen="S5"))
    decisions = [make.decide(f"S{i}", *([blurred(f"S{i}", i / 10)] if i < 3 else [])) for i in range(60)]
    decisions[7] = make.decide(
        "S7", Finding(reason=Reason.PROCESSING_FAILED, detail="/data/Doe.svs is empty.", code="PEL-SLIDE-001", scan="7")
    )
    return observations, decisions


def test_what_the_model_sees(story, make):
    seen = monitor(*story).seen

    assert (seen.n_observations, seen.n_scans, seen.n_specimens) == (61, 61, 60)
    assert {one.name: one.n for one in seen.scanners} == {"GT450": 39, "AT2": 20, "unknown": 2}
    assert {one.name: one.n for one in seen.mpp} == {"0.250": 59, "unknown": 2}
    assert {one.name: one.n for one in seen.strata["specimen_type"]} == {"biopsy": 30, "resection": 31}
    assert (seen.failed.k, seen.failed.n) == (2, 61)
    assert {one.name: one.n for one in seen.failures} == {"PEL-SLIDE-001": 1, "PEL-SLIDE-009": 1}
    assert seen.features["focus_share"].n == 59
    assert seen.seconds["encode"].median == 20.0
    assert seen.tiles.minimum == 100
    assert (seen.first_at[:10], seen.last_at[:10]) == ("2026-11-20", "2026-11-22")


def test_confidence_by_day(story):
    confidence = monitor(*story).confidence

    assert confidence.by == "day"
    assert [(one.label, one.n, one.n_failed) for one in confidence.windows] == [
        ("2026-11-20", 18, 2),
        ("2026-11-21", 20, 0),
        ("2026-11-22", 21, 0),
    ]
    assert confidence.overall.n == sum(confidence.histogram) == 59
    medians = [one.probability.median for one in confidence.windows]
    assert medians[0] < medians[1] < medians[2]
    assert confidence.windows[0].mean_sd_logit == pytest.approx(0.3, abs=0.02)
    assert 0 < confidence.windows[0].mean_interval_width < 0.3


def test_a_specimen_counts_in_the_window_of_its_last_scan(story):
    windows = monitor(*story).confidence.windows

    assert [one.escalated.n for one in windows] == [19, 20, 21]
    assert [one.escalated.k for one in windows] == [19, 20, 21]
    assert [one.escalated_for_slide.k for one in windows] == [4, 0, 0]


def test_few_days_give_windows_of_consecutive_scans(make):
    confidence = monitor([make.observe(i) for i in range(23)]).confidence

    assert confidence.by == "scans"
    assert [one.label for one in confidence.windows] == ["1-5", "6-10", "11-15", "16-20", "21-23"]


def test_many_scans_in_a_day_give_at_most_twelve_windows(make):
    assert len(monitor([make.observe(i) for i in range(500)]).confidence.windows) == 12


def test_the_interval_width_is_that_of_the_normal_logit(make):
    one = make.observe(1, mean_logit=0.0, sd_logit=1.0)

    width = monitor([one]).confidence.overall.mean_interval_width

    assert width == pytest.approx(math.tanh(1.6448536269514722 / 2))


def test_escalations_by_reason_with_intervals(story):
    escalation = monitor(*story).escalation

    assert escalation.n_decided == 60
    assert [(one.reason, one.rate.k, one.rate.n) for one in escalation.reasons] == [
        (Reason.NO_CERTIFICATE, 60, 60),
        (Reason.POOR_FOCUS, 3, 60),
        (Reason.PROCESSING_FAILED, 1, 60),
    ]
    assert (escalation.escalated.k, escalation.escalated_for_slide.k) == (60, 4)
    assert escalation.reasons[1].rate.low < 0.05 < escalation.reasons[1].rate.high
    assert escalation.reasons[0].sentence == Reason.NO_CERTIFICATE.sentence


def test_escalations_by_scanner_and_stratum(story):
    groups = {(one.by, one.group): one for one in monitor(*story).escalation.groups}

    assert {by for by, _ in groups} == {"scanner", "site", "specimen_type"}
    assert groups["scanner", "unknown"].escalated_for_slide.k == 1
    assert groups["specimen_type", "resection"].escalated.n == 31
    assert {one.reason for one in groups["scanner", "AT2"].reasons} == {Reason.NO_CERTIFICATE, Reason.POOR_FOCUS}


def test_missed_limits_are_gathered_and_show_no_path(story):
    limits = {one.what: one for one in monitor(*story).escalation.limits}

    focus = limits["Tissue in focus"]
    assert (focus.n, focus.limit, focus.values.minimum, focus.values.maximum) == (3, 0.6, 0.0, 0.2)
    failed = limits["PEL-SLIDE-001"]
    assert "Doe" not in failed.example
    assert limits[Reason.NO_CERTIFICATE.sentence].n == 60


def test_a_decided_verdict_is_no_escalation(make):
    decisions = [make.decide("S1", verdict=Verdict.NEGATIVE, findings=()), make.decide("S2")]

    escalation = monitor([make.observe(1), make.observe(2)], decisions).escalation

    assert (escalation.escalated.k, escalation.escalated.n) == (1, 2)


def test_only_the_last_decision_of_a_specimen_counts(make):
    decisions = [make.decide("S1", blurred("S1", 0.1)), make.decide("S1")]

    assert monitor([make.observe(1)], decisions).escalation.escalated_for_slide.k == 0


def test_other_models_are_seen_but_not_compared(make):
    other = "b" * 64
    old = [make.observe(i, day=1, model=other, shift=50.0, probability=1.0) for i in range(40)]
    versions = dataclasses.replace(make.decide("S1").versions, model=other)
    decisions = [make.decide(one.specimen, versions=versions) for one in old]

    report = monitor(
        [*old, *(make.observe(i + 100) for i in range(30))],
        [*decisions, make.decide("S100")],
        reference=make.reference(150),
        model=make.model,
    )

    assert report.seen.n_observations == 70
    assert report.confidence.overall.n == 30
    assert report.drift.n_specimens == 30
    assert report.drift.state is DriftState.QUIET
    assert report.escalation.n_decided == 1
    assert report.notes == (
        "40 of 70 scans were read under another model; only those under the named bundle's model are compared.",
    )


def test_without_a_bundle_the_model_last_used_counts(make):
    report = monitor([make.observe(1, model="b" * 64), make.observe(2)])

    assert report.model == make.model
    assert report.drift.state is DriftState.NO_REFERENCE
    assert "model last used" in report.notes[0]


def test_a_bundle_that_was_never_used_says_so(make):
    report = monitor([make.observe(1)], reference=make.reference(14), model="c" * 64)

    assert "No scan was read under the named bundle's model." in report.notes
    assert report.drift.state is DriftState.TOO_FEW
    assert "No scan under this model has an answer yet." in render_text(report)


def test_a_reference_needs_its_model(make):
    with pytest.raises(ValueError, match="digest"):
        monitor([], reference=make.reference(14))


def test_the_order_of_rows_does_not_matter(story):
    observations, decisions = story
    forward, backward = (monitor(rows, decisions, made_at="t") for rows in (observations, observations[::-1]))

    assert forward == backward


def test_nothing_observed_is_a_report_too():
    report = monitor([])

    assert report.notes == ("Nothing has been observed yet.",)
    assert "Nothing has been observed yet." in render_text(report)


def test_json_holds_everything_and_reads_back(story, make):
    report = monitor(*story, reference=make.reference(14), model=make.model, bundle="demo", synthetic=True)

    text = json.dumps(to_plain(report), allow_nan=False)

    assert from_plain(MonitoringReport, json.loads(text)) == report


def test_the_report_names_no_specimen_and_no_scan(story, make):
    report = monitor(*story, reference=make.reference(14), model=make.model)
    text = json.dumps(to_plain(report))

    assert '"S5"' not in text
    assert f"{5:064x}" not in text


def test_the_terminal_answers_the_four_questions(story, make):
    report = monitor(*story, reference=make.reference(14), model=make.model, bundle="demo", synthetic=True)

    text = render_text(report)

    for said in (
        "Monitoring under demo (SYNTHETIC)",
        "What the model sees",
        "GT450 39",
        "How confidence is distributed",
        "2026-11-21",
        "Whether anything drifts",
        "only 14 specimens",
        "hematoxylin_od",
        "What is escalated, and why",
        "poor_focus",
        "3/60",
        "Tissue in focus",
    ):
        assert said in text
    assert max(map(len, text.splitlines())) <= 110


def test_text_with_brackets_is_shown_as_it_is(make):
    report = monitor([make.observe(1, scanner="[bold]X[/bold] [red]")])

    assert "[bold]X[/bold] [red]" in render_text(report)


@pytest.mark.parametrize(
    ("values", "bounds", "line"),
    [
        ([], {}, ""),
        ([None], {}, ""),
        ([0.0, 1.0], {}, "▁█"),
        ([0.5, 0.5], {}, "▁▁"),
        ([0.0, None, 0.5, 1.0], {"low": 0, "high": 1}, "▁ ▅█"),
        ([-5, 9], {"low": 0, "high": 1}, "▁█"),
    ],
)
def test_sparkline(values, bounds, line):
    assert sparkline(values, **bounds) in {line, line.replace("▅", "▄")}


def test_drift_is_published_for_the_alert(make):
    reference = make.reference(150)
    stream = [make.observe(i, shift=1.5 if i >= 100 else 0.0) for i in range(220)]
    report = monitor(stream, reference=reference, model=make.model)
    labels = MetricLabels(stages=(), verdicts=(), dispositions=(), reasons=(), features=tuple(reference.features))
    metrics = scan_metrics(labels, software_version="1")

    publish_drift(report.drift, metrics)

    value = metrics.registry.get_sample_value
    assert value("pellucid_drift_log_evidence", {"feature": "all"}) == report.drift.peak_log_evidence
    assert value("pellucid_drift_log_evidence", {"feature": "all"}) > value("pellucid_drift_log_evidence_limit")
