from dataclasses import replace

import numpy as np
import pytest

from pellucid.core.seeds import generator
from pellucid.domain.cohort import Cohort, Split
from pellucid.domain.tumour import TumourHead
from pellucid.encoders import SMALL_SPEC
from pellucid.statistics import distance
from pellucid.training import TrainingConfig
from pellucid.training.calibrate import Answer, calibrate, describe_reference
from pellucid.training.card import Findings, findings_as_plain, measure, split_size, write_card

CONFIG = TrainingConfig(n_passes=10)


def answers(bags, start, count, split):
    draw = generator("answers", start)
    items = [bags(n, n % 2, split) for n in range(start, start + count)]
    return [
        Answer(
            item=item,
            logits=3 * (2 * item.scan.label - 1) + 4 * draw.normal() + draw.normal(size=10),
            embedding=draw.normal(size=16).astype(np.float32),
        )
        for item in items
    ]


def tuning_answers(bags):
    found = answers(bags, 100, 30, Split.TUNING)
    rescan = bags(200, 0, Split.TUNING, specimen="C100-A", patient="P100")
    return [*found, Answer(item=rescan, logits=found[0].logits + 2, embedding=found[0].embedding)]


@pytest.fixture(scope="module")
def tuning(bags):
    return tuning_answers(bags)


@pytest.fixture(scope="module")
def findings(bags, tuning):
    training = answers(bags, 0, 40, Split.TRAINING)
    calibration, tuned = calibrate(tuning, CONFIG)
    reference = describe_reference(training, tuning, tuned, calibration, CONFIG)
    size = split_size([(a.item.scan.entry.patient, a.item.scan.entry.specimen, a.item.scan.label) for a in tuning])
    return tuned, Findings(
        training=size,
        tuning=size,
        figures=measure(tuned, CONFIG),
        calibration=calibration,
        reference=reference,
        tumour=None,
        specimens=(),
        left_out=(),
    )


def test_overconfident_logits_are_cooled_and_scans_of_a_specimen_are_one_case(tuning):
    calibration, tuned = calibrate(tuning, CONFIG)
    assert calibration.temperature > 1
    assert calibration.nll_after < calibration.nll_before
    assert (calibration.n_specimens, calibration.n_positive) == (30, 15)
    both = next(one for one in tuned if one.specimen == "C100-A")
    assert both.posterior.n_scans == 2
    np.testing.assert_allclose(both.posterior.logits, tuning[0].logits + 1)


def test_limits_come_from_the_tuning_split(findings, tuning):
    tuned, found = findings
    spreads = [one.posterior.sd_logit for one in tuned]
    assert np.mean(np.array(spreads) > found.reference.sd_limit) <= 0.1
    away = [distance(found.reference, answer.embedding)[0] for answer in tuning]
    assert found.reference.distance_limit == pytest.approx(np.quantile(away, 0.975) * 1.1)
    assert distance(found.reference, np.full(16, 30.0))[0] > found.reference.distance_limit


def test_monitored_values_are_one_a_specimen_and_sorted(findings):
    _, found = findings
    features = found.reference.features
    assert set(features) == {"focus", "mean_logit", "sd_logit", "distance"}
    assert all(len(values) == 30 and list(values) == sorted(values) for values in features.values())


def test_feature_that_some_scans_lack_is_not_monitored(bags):
    tuning = tuning_answers(bags)
    tuning[3].item.scan.features["only here"] = 1.0
    tuning[4].item.scan.features["focus"] = float("nan")
    calibration, tuned = calibrate(tuning, CONFIG)
    reference = describe_reference(answers(bags, 0, 40, Split.TRAINING), tuning, tuned, calibration, CONFIG)
    assert set(reference.features) == {"mean_logit", "sd_logit", "distance"}


def test_card_states_figures_with_intervals_data_and_limits(findings):
    cohort = Cohort(entries=(), name="demo", synthetic=True, digest="ab" * 32)
    card = write_card(cohort, SMALL_SPEC, findings[1], CONFIG)
    interval = findings[1].figures["AUROC"]
    assert f"| AUROC | {interval.estimate:.3f} | {interval.low:.3f} to {interval.high:.3f} |" in card
    assert "Research use only" in card
    assert "**synthetic**" in card
    assert "knows nothing of real tissue" in card
    assert "ab" * 32 in card
    assert SMALL_SPEC.licence in card


def test_card_states_how_calibrated_the_logits_are(findings):
    figures = findings[1].figures
    card = write_card(Cohort(entries=(), name="demo"), SMALL_SPEC, findings[1], CONFIG)
    for name in ("Calibration slope", "Calibration intercept", "Calibration error (bias removed)"):
        interval = figures[name]
        assert interval.n_patients == 30
        assert interval.low <= interval.estimate <= interval.high
        assert f"| {name} | {interval.estimate:.3f} | {interval.low:.3f} to {interval.high:.3f} |" in card
    assert figures["Calibration slope"].low < 1 < figures["Calibration slope"].high
    assert figures["Calibration slope"].estimate == pytest.approx(findings[1].calibration.slope, abs=1e-3)


def test_figure_that_cannot_be_computed_is_said_to_be(findings):
    figures = {name: figure for name, figure in findings[1].figures.items() if name != "Calibration slope"}
    card = write_card(Cohort(entries=(), name="demo"), SMALL_SPEC, replace(findings[1], figures=figures), CONFIG)
    assert "| Calibration slope | not computable | |" in card


def test_card_states_tumour_head_and_ensemble_or_that_there_is_none(findings):
    head = TumourHead(weights=(0.0,) * 192, bias=0.0, threshold=0.5, limit=0.125, n_tiles=4321, auroc=0.987)
    cohort = Cohort(entries=(), name="demo")
    card = write_card(cohort, SMALL_SPEC, replace(findings[1], tumour=head), CONFIG)
    assert all(text in card for text in ("4 more heads", "4321 tiles", "0.987", "less than 12.5%"))
    bare = write_card(cohort, SMALL_SPEC, findings[1], replace(CONFIG, ensemble_heads=0))
    assert all(text in bare for text in ("No ensemble", "No tumour head"))


def test_record_is_plain_json(findings):
    import json

    plain = json.loads(json.dumps(findings_as_plain(findings[1]), allow_nan=False))
    assert plain["tuning"]["specimens"] == 30
    assert plain["tuning"]["scans"] == 31
    assert plain["figures"]["AUROC"]["n_patients"] == 30
