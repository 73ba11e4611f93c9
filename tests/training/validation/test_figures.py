import numpy as np
import pytest

from pellucid.aggregators import GatedAttention, GatedAttentionConfig
from pellucid.core.seeds import generator
from pellucid.statistics import auroc, average_precision, brier, log_loss, patient_bootstrap
from pellucid.training.validation import scores_by_patient
from pellucid.training.validation.cases import Case
from pellucid.training.validation.figures import METRICS, mean_over_seeds, roc_band


def cases(n=60, shift=1.5):
    draw = generator("figures", n)
    labels = np.arange(n) % 2
    logits = draw.normal(size=(3, n)) + shift * (labels - 0.5)
    found = [
        Case(patient=f"P{nth // 2 if nth < 10 else nth}", specimens=(f"A{nth}",), label=int(label), logit=0.0)
        for nth, label in enumerate(labels)
    ]
    return logits, found


def test_one_seed_is_the_plain_bootstrap_by_patient():
    logits, found = cases()
    labels, names = [one.label for one in found], [one.patient for one in found]
    figure = mean_over_seeds("AUROC", logits[:1], found, seed=7)
    expected = patient_bootstrap(auroc, logits[0], labels, names, seed=7)
    assert figure.sd is None
    assert figure.interval.estimate == expected.estimate == figure.by_seed[0]
    assert figure.interval.n_patients == 55
    # ties among patients' orders aside, the same resamples give the same quantiles
    assert figure.interval.low == pytest.approx(expected.low, abs=1e-12)
    assert figure.interval.high == pytest.approx(expected.high, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "metric"),
    [("AUROC", auroc), ("AUPRC", average_precision), ("Brier score", brier), ("Log loss (nats)", log_loss)],
)
def test_several_seeds_are_averaged_and_their_spread_is_told(name, metric):
    logits, found = cases()
    labels = [one.label for one in found]
    predicted = 1 / (1 + np.exp(-logits))
    each = [metric(row, labels) for row in predicted]
    figure = mean_over_seeds(name, logits, found, seed=0)
    assert figure.by_seed == pytest.approx(each)
    assert figure.interval.estimate == pytest.approx(np.mean(each))
    assert figure.sd == pytest.approx(np.std(each, ddof=1))
    assert figure.interval.low < figure.interval.estimate < figure.interval.high


def test_band_holds_the_curve_whose_area_is_the_metric():
    logits, found = cases(200)
    band = roc_band(logits, found, seed=0)
    labels = np.array([one.label for one in found])
    assert all(
        low <= rate <= high for low, rate, high in zip(band.low, band.true_positive_rate, band.high, strict=True)
    )
    area = np.trapezoid(band.true_positive_rate, band.false_positive_rate)
    assert area == pytest.approx(np.mean([auroc(row, labels) for row in logits]), abs=0.02)
    assert band.true_positive_rate[-1] == 1
    assert roc_band(logits, found, seed=0) == band


def test_figures_of_any_set_of_scans_count_patients_once(bags):
    head = GatedAttention(GatedAttentionConfig(input_dim=8, trunk_dim=16, gate_dim=8), seed=1)
    items = [bags(n, n % 2) for n in range(20)]
    items.append(bags(40, 0, patient="P0", specimen="C0-B"))
    scores = scores_by_patient(head, items, temperature=2.0)
    assert len(scores.cases) == 20
    assert set(scores.figures) == set(METRICS)
    assert scores.figures["AUROC"].n_patients == 20
    labels = [case.label for case in scores.cases]
    expected = brier([1 / (1 + np.exp(-case.logit / 2)) for case in scores.cases], labels)
    assert scores.figures["Brier score"].estimate == pytest.approx(expected)


def test_figure_without_an_interval_is_absent(bags):
    head = GatedAttention(GatedAttentionConfig(input_dim=8, trunk_dim=16, gate_dim=8), seed=1)
    scores = scores_by_patient(head, [bags(n, 0) for n in range(6)])
    assert "AUROC" not in scores.figures
    assert "Brier score" in scores.figures
