"""Whether 50 passes are enough, against 2,000."""

import numpy as np
import pytest

from heads import make_bag, make_head
from pellucid.aggregators import GatedAttentionConfig
from pellucid.core.seeds import generator
from pellucid.statistics.posterior import summarise
from pellucid.uncertainty import run_passes

N, WHOLE = 50, 2000
N_SLIDES = 120


@pytest.fixture(scope="module")
def standardised():
    """The passes of some bags less their mean, over their sd: `(n_bags, 2000)`."""
    head = make_head(GatedAttentionConfig(input_dim=16, trunk_dim=32, gate_dim=24))
    logits = np.stack([run_passes(head, make_bag(60, seed), model="m", n_passes=WHOLE).logits for seed in range(4)])
    return (logits - logits.mean(axis=1, keepdims=True)) / logits.std(axis=1, ddof=1, keepdims=True)


@pytest.fixture(scope="module")
def posteriors(standardised):
    """Of each slide the posterior of all passes, and those of 40 runs of 50.

    The slides are such as 50 was chosen for: mean logits around -1.2 with sd 1.5, and sds with a median of 0.35. How
    the passes lie around the mean is the head's own.
    """
    draw = generator("slides")
    means, sds = draw.normal(-1.2, 1.5, N_SLIDES), 0.35 * np.exp(draw.normal(0, 0.4, N_SLIDES))
    slides = means[:, None] + sds[:, None] * standardised[np.arange(N_SLIDES) % len(standardised)]
    return [(of(slide), [of(run) for run in slide.reshape(-1, N)]) for slide in slides]


def of(logits):
    return summarise(logits, temperature=1.0, n_scans=1)


def test_the_probability_of_50_passes_is_within_012_of_that_of_2000(posteriors):
    errors = [[run.mean_probability - whole.mean_probability for run in runs] for whole, runs in posteriors]
    assert 0.005 < np.sqrt(np.mean(np.square(errors))) <= 0.012


def test_the_error_is_that_of_a_mean_of_50(posteriors):
    # so that anyone can tell it for slides of another spread
    errors = [[run.mean_probability - whole.mean_probability for run in runs] for whole, runs in posteriors]
    spread = [np.var(1 / (1 + np.exp(-np.array(whole.logits))), ddof=1) for whole, _ in posteriors]
    assert np.mean(np.square(errors)) == pytest.approx(np.mean(spread) / N, rel=0.2)


def test_mutual_information_is_less_biased_for_its_correction(posteriors):
    truth = np.array([whole.mutual_information for whole, _ in posteriors])
    corrected = np.array([np.mean([run.mutual_information for run in runs]) for _, runs in posteriors])
    plain = corrected * (N - 1) / N
    assert (plain / truth).mean() == pytest.approx(1 - 1 / N, abs=0.006)
    assert (corrected / truth).mean() == pytest.approx(1, abs=0.006)
