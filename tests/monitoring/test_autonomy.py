"""Answers under certificates: their rates over time, and the check that none lacks a certificate."""

import dataclasses
import json

import pytest

from pellucid.core.serial import to_plain
from pellucid.core.telemetry.metrics import MetricLabels, scan_metrics
from pellucid.domain.certificate import Certificate
from pellucid.domain.decision import Disposition, Verdict, Versions
from pellucid.domain.policy import SitePolicy
from pellucid.domain.reasons import Finding, Reason
from pellucid.monitoring import monitor, policies_of, publish_autonomy, render_text
from pellucid.records import Run, RunState

CERTIFICATE = Certificate(
    claims=(),
    negative=-1.0,
    positive=1.5,
    n_specimens=200,
    n_passed=150,
    n_positive=40,
    prevalence_low=0.15,
    prevalence_high=0.26,
    delta=0.1,
)


@pytest.fixture
def policy(make):
    return SitePolicy(name="north", certificates=(CERTIFICATE,), model=make.model, autonomous_positive=True)


def answer(make, specimen, verdict=Verdict.NEGATIVE, **changes):
    return make.decide(specimen, verdict=verdict, **{"findings": (), "disposition": Disposition.SILENT, **changes})


def under(policy):
    """Policies as the records hold them: by the digest on every decision of these tests."""
    return {"p" * 64: policy}


def test_the_share_answered_is_told_over_time_and_by_scanner_and_site(make):
    observations = [make.observe(i, day=20 + i // 10) for i in range(30)]
    decisions = [answer(make, f"S{i}") if i >= 20 and i % 3 else make.decide(f"S{i}") for i in range(30)]

    found = monitor(observations, decisions).autonomy

    assert (found.overall.answered.k, found.overall.answered.n) == (7, 30)
    assert [(one.label, one.answered.k, one.answered.n) for one in found.windows] == [
        ("2026-11-20", 0, 10),
        ("2026-11-21", 0, 10),
        ("2026-11-22", 7, 10),
    ]
    groups = {(one.by, one.rates.label): one for one in found.groups}
    assert set(groups) == {("scanner", "GT450"), ("scanner", "AT2"), ("site", "north")}
    assert groups["scanner", "AT2"].rates.answered.k == 0
    assert [one.k for one in groups["scanner", "GT450"].over_time] == [0, 0, 7]
    assert sum(one.rates.answered.n for key, one in groups.items() if key[0] == "scanner") == 30


def test_every_verdict_and_disposition_is_counted_also_at_none(make):
    decisions = [answer(make, "S1"), answer(make, "S2", disposition=Disposition.REPORTED), make.decide("S3")]

    rates = monitor([make.observe(i) for i in (1, 2, 3)], decisions).autonomy.overall

    assert {name: one.k for name, one in rates.verdicts.items()} == {"negative": 2, "positive": 0, "undetermined": 1}
    assert {name: one.k for name, one in rates.dispositions.items()} == {"silent": 1, "for_review": 1, "reported": 1}


def test_answers_that_a_certificate_allows_are_no_defect_and_the_report_says_that_it_looked(make, policy):
    decisions = [answer(make, "S1"), answer(make, "S2", Verdict.POSITIVE), make.decide("S3")]

    report = monitor([make.observe(1)], decisions, policies=under(policy))

    check = report.autonomy.check
    assert (check.looked, check.n_decisions, check.n_answered, check.n_defects) == (True, 3, 2, 0)
    assert "3 decisions looked through, 2 of them negative or positive: none without" in render_text(report)


@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        ({"certificates": ()}, Verdict.NEGATIVE, "holds no certificate"),
        ({"model": "b" * 64}, Verdict.NEGATIVE, "another model"),
        ({"autonomous_positive": False}, Verdict.POSITIVE, "gives no positive answers"),
        ({"certificates": (dataclasses.replace(CERTIFICATE, negative=None),)}, Verdict.NEGATIVE, "has a threshold"),
        ({"certificates": (dataclasses.replace(CERTIFICATE, positive=None),)}, Verdict.POSITIVE, "has a threshold"),
    ],
)
def test_an_answer_that_its_policy_does_not_allow_is_a_defect(make, policy, changes, verdict, said):
    decisions = [answer(make, "S1", verdict), make.decide("S2")]

    report = monitor([make.observe(1)], decisions, policies=under(dataclasses.replace(policy, **changes)))

    (defect,) = report.autonomy.check.defects
    assert defect.n == 1
    assert said in defect.name
    assert "defect of the software" in render_text(report)
    assert f"1 times: {defect.name}" in render_text(report)


def test_an_answer_beside_a_reason_or_under_an_unknown_policy_is_a_defect(make, policy):
    held = answer(make, "S1", findings=(Finding(reason=Reason.POOR_FOCUS, detail=""),))

    assert monitor([], [held], policies=under(policy)).autonomy.check.defects[0].name.startswith("reasons against")
    assert "no run's record" in monitor([], [answer(make, "S1")], policies={}).autonomy.check.defects[0].name


def test_an_earlier_version_and_another_model_are_looked_at_too(make, policy):
    other = answer(make, "S1", versions=dataclasses.replace(make.decide("S1").versions, model="b" * 64))

    check = monitor([make.observe(1)], [other, make.decide("S1")], policies=under(policy)).autonomy.check

    assert (check.n_decisions, check.n_defects) == (2, 1)


def test_without_policies_the_report_says_that_nothing_was_looked_at(make):
    report = monitor([make.observe(1)], [answer(make, "S1")])

    assert not report.autonomy.check.looked
    assert "Not looked at" in render_text(report)


def test_policies_are_found_by_the_digest_that_decisions_carry(make, policy):
    versions = Versions(model=make.model, policy="p" * 64, software="s" * 64, software_version="0.1.0")
    run = Run(
        run_id="r1",
        purpose="run",
        state=RunState.COMPLETED,
        versions=versions,
        settings=json.loads(json.dumps({"policy": to_plain(policy)})),
        command="",
        started_at="",
        finished_at=None,
        summary=None,
    )

    assert policies_of([run, run]) == {"p" * 64: policy}


def test_defects_are_published_for_the_alert_only_where_they_were_looked_for(make, policy):
    labels = MetricLabels(stages=(), verdicts=(), dispositions=(), reasons=())
    metrics = scan_metrics(labels, software_version="1")
    value = metrics.registry.get_sample_value
    bare = dataclasses.replace(policy, certificates=())

    publish_autonomy(monitor([], [answer(make, "S1")]).autonomy, metrics)
    assert value("pellucid_autonomy_without_certificate") == 0
    publish_autonomy(monitor([], [answer(make, "S1")], policies=under(bare)).autonomy, metrics)
    assert value("pellucid_autonomy_without_certificate") == 1
