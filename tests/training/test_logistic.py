"""The logistic regression against an independent minimiser, and what it must not depend on."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit

from pellucid.core.seeds import generator
from pellucid.training import TrainingDiverged
from pellucid.training.logistic import Rows, fit_logistic


def draw(n=400, d=3, scale=(1.0, 20.0, 0.05)):
    rng = generator("logistic")
    features = (rng.normal(size=(n, d)) * scale + 3.0).astype(np.float16)
    wanted = (rng.random(n) < expit(features[:, 0].astype(float) - 3.0 - 0.05 * (features[:, 1] - 3.0))).astype(float)
    return features, wanted, np.where(wanted == 1, 1.5, 0.75)


def rows(features, wanted, weight):
    return Rows(features=torch.from_numpy(features), wanted=torch.tensor(wanted), weight=torch.tensor(weight))


def test_it_finds_the_minimum_that_another_method_finds():
    features, wanted, weight = draw()
    values = features.astype(np.float64)
    scaled = (values - values.mean(axis=0)) / values.std(axis=0)

    def loss(line):
        logits = scaled @ line[:3] + line[3]
        each = np.logaddexp(0, logits) - wanted * logits
        return np.average(each, weights=weight) + 0.5e-3 * np.sum(line[:3] ** 2)

    expected = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-9}).x
    weights, bias = fit_logistic([rows(features, wanted, weight)])
    np.testing.assert_allclose(values @ weights + bias, scaled @ expected[:3] + expected[3], atol=1e-4)


def test_how_the_rows_are_split_into_blocks_makes_no_difference():
    features, wanted, weight = draw()
    whole = fit_logistic([rows(features, wanted, weight)])
    parts = fit_logistic([rows(features[a:b], wanted[a:b], weight[a:b]) for a, b in ((0, 7), (7, 250), (250, 400))])
    np.testing.assert_allclose([*parts[0], parts[1]], [*whole[0], whole[1]], rtol=1e-8)


def test_only_the_proportions_of_the_weights_count():
    features, wanted, weight = draw()
    first, other = (fit_logistic([rows(features, wanted, factor * weight)]) for factor in (1.0, 40.0))
    np.testing.assert_allclose(first[0], other[0], rtol=1e-8)


def test_rows_of_no_weight_teach_nothing():
    features, wanted, weight = draw()
    silenced = np.where(np.arange(400) < 100, 0.0, weight)
    turned = np.where(np.arange(400) < 100, 1 - wanted, wanted)
    first, other = (fit_logistic([rows(features, labels, silenced)]) for labels in (wanted, turned))
    assert first == other


def test_separable_rows_and_a_constant_feature_have_a_minimum_too():
    features = np.array([[0.0, 7.0], [1.0, 7.0], [5.0, 7.0], [6.0, 7.0]], np.float16)
    weights, bias = fit_logistic([rows(features, [0.0, 0.0, 1.0, 1.0], np.ones(4))])
    assert weights[0] > 0
    assert weights[1] == pytest.approx(0)
    logits = features.astype(float) @ weights + bias
    assert (logits > 0).tolist() == [False, False, True, True]


def test_features_that_are_not_finite_are_said():
    features = np.array([[0.0], [np.inf], [1.0]], np.float16)
    with pytest.raises(TrainingDiverged):
        fit_logistic([rows(features, [0.0, 1.0, 1.0], np.ones(3))])
