import numpy as np
import pytest

from pellucid.training.joint import slide_weights


def test_classes_weigh_the_same_and_scans_of_a_specimen_share_the_weight_of_one():
    labels = [1, 0, 0, 0, 0]
    weights = slide_weights(labels, ["a", "b", "c", "d", "d"])
    assert weights.sum() == pytest.approx(5)
    assert weights[0] == pytest.approx(2.5)
    assert weights[1:].sum() == pytest.approx(2.5)
    assert weights[3] == weights[4] == pytest.approx(weights[1] / 2)


def test_one_class_alone_weighs_by_specimens():
    np.testing.assert_allclose(slide_weights([1, 1, 1], ["a", "b", "b"]), [1.5, 0.75, 0.75])
