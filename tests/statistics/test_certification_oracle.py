"""MAPIE's fixed-sequence learn-then-test as an oracle."""

import numpy as np
import pytest
from mapie.risk_control import BinaryClassificationController, BinaryRisk

from pellucid.statistics.certification import certify_predictive_value
from pellucid.statistics.plan import SidePlan

ALPHA, CONFIDENCE = 0.1, 0.9
DELTA = 1 - CONFIDENCE
# sixteenths, so that scores and their mirror images as probabilities are exact
GRID = np.arange(-48, 1) / 16


def draw(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(60, 400))
    labels = (rng.random(n) < 0.3).astype(int)
    scores = np.clip(np.round(16 * rng.normal(2.2 * labels - 2.2, 1.0)) / 16, -7, 7)
    return scores, labels


def ours(scores, wrong, start):
    plan = SidePlan(grid=tuple(GRID), start=start, predicted_power=0, coverage=(), risk=(), base_risk=0.3, n_tuning=0)
    return certify_predictive_value(plan, scores, wrong, alpha=ALPHA, delta=DELTA)


def mapie_accepts(scores, wrong, start):
    """How many limits MAPIE accepts; it tests its thresholds, upon 1 minus the probability, in the order given."""
    risk = BinaryRisk(
        risk_occurrence=lambda truth, _: truth == 1,
        risk_condition=lambda _, answered: answered == 1,
        higher_is_better=False,
    )

    def probabilities(values):
        likely = (8 - np.asarray(values)[:, 0]) / 16
        return np.column_stack([1 - likely, likely])

    controller = BinaryClassificationController(
        probabilities,
        risk,
        target_level=ALPHA,
        confidence_level=CONFIDENCE,
        best_predict_param_choice=risk,
        list_predict_params=(8 - GRID[start:]) / 16,
        fwer_method="fixed_sequence",
    )
    controller.calibrate(scores[:, None], wrong)
    return len(controller.valid_predict_params)


def counted_exactly(scores, wrong, index):
    """MAPIE rounds n * (k / n) up, and errs by one where that product is a last bit above k."""
    below = scores <= GRID[index]
    n, k = int(below.sum()), int(wrong[below].sum())
    return n > 0 and np.ceil(n * (k / n)) == k


# it warns of an order that it doesn't verify, and where nothing is certified
@pytest.mark.filterwarnings("ignore::UserWarning:mapie")
def test_limits_are_mapies_wherever_it_counts_the_errors_right_and_never_smaller():
    same = larger = certified = 0
    for seed in range(60):
        scores, wrong = draw(seed)
        start = int(np.searchsorted(GRID, np.quantile(scores[scores <= 0], 0.5)))
        result = ours(scores, wrong, start)
        accepted = 0 if result.accepted is None else result.accepted[1] - start + 1
        theirs = mapie_accepts(scores, wrong, start)
        tested = range(start, min(start + accepted + 1, GRID.size))
        certified += accepted > 0
        if all(counted_exactly(scores, wrong, index) for index in tested):
            assert accepted == theirs
            same += 1
        else:
            assert accepted >= theirs
            larger += accepted > theirs
    assert certified > 20
    assert same > 20
    # else the second branch has shown nothing
    assert larger > 0
