import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import mahalanobis

from pellucid.core.serial import from_plain, to_plain
from pellucid.domain.reference import ReferenceProfile
from pellucid.statistics.errors import EmbeddingsInvalid, ReferenceDegenerate
from pellucid.statistics.reference import distance, distances, fit_reference, fit_whitening


def slides(n, dim=40, seed=0, decay=0.8):
    """Embeddings whose variance falls from direction to direction."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(np.random.default_rng(99).normal(size=(dim, dim)))[0]
    return 3.0 + (rng.normal(size=(n, dim)) * decay ** np.arange(dim)) @ basis


def test_with_every_component_and_many_slides_it_is_the_mahalanobis_distance():
    matrix = slides(50_000, dim=5)
    whitening = fit_whitening(matrix)
    inverse = np.linalg.inv(np.cov(matrix.T, bias=True))
    assert len(whitening.components) == 5
    for point in slides(5, dim=5, seed=1):
        expected = mahalanobis(point, matrix.mean(0), inverse)
        assert distance(whitening, point)[0] == pytest.approx(expected, rel=1e-3)


def test_leading_components_of_new_slides_are_white():
    whitening = fit_whitening(slides(4000), max_components=6)
    white = np.array([distance(whitening, point)[1] for point in slides(3000, seed=1)])
    assert white.shape == (3000, 6)
    np.testing.assert_allclose(white.mean(0), 0, atol=0.08)
    np.testing.assert_allclose(np.cov(white.T), np.eye(6), atol=0.1)


def test_the_residual_counts_as_the_independent_directions_it_holds():
    decay = 0.8
    whitening = fit_whitening(slides(4000), max_components=6)
    rest = decay ** (2 * np.arange(6, 40))
    directions = rest.sum() ** 2 / (rest**2).sum()
    squared = distances(whitening, slides(3000, seed=1)) ** 2
    assert squared.mean() == pytest.approx(6 + directions, rel=0.05)
    assert squared.var() == pytest.approx(2 * (6 + directions), rel=0.15)


def test_a_shift_is_far_inside_and_outside_the_components():
    whitening = fit_whitening(slides(400), max_components=6)
    familiar = distances(whitening, slides(400, seed=1))
    limit = np.quantile(familiar, 0.99)
    axes = np.array(whitening.components)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    outside = np.random.default_rng(3).normal(size=40)
    outside -= axes.T @ (axes @ outside)
    outside /= np.linalg.norm(outside)
    points = slides(200, seed=2)
    assert np.mean(distances(whitening, points + 8 * axes[0]) > limit) > 0.9
    assert np.mean(distances(whitening, points + 2 * outside) > limit) > 0.9


def test_shrinkage_keeps_new_slides_near_where_slides_are_few():
    whitening = fit_whitening(slides(40, dim=200, decay=0.97))
    assert len(whitening.components) == 10
    assert 0 < whitening.shrinkage < 1
    near, new = (distances(whitening, slides(40, dim=200, seed=seed, decay=0.97)) for seed in (0, 1))
    assert new.mean() < 1.6 * near.mean()


def test_uniform_noise_is_shrunk_to_a_sphere():
    assert fit_whitening(np.random.default_rng(0).normal(size=(30, 100))).shrinkage > 0.9


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(8, 30), st.integers(1, 30)), elements=st.floats(-100, 100, width=32)),
    st.integers(1, 20),
)
def test_any_embeddings_give_finite_distances_or_a_coded_error(matrix, max_components):
    try:
        whitening = fit_whitening(matrix, max_components=max_components)
    except ReferenceDegenerate:
        assert np.ptp(matrix, axis=0).max() < 1e-4
        return
    assert 1 <= len(whitening.components) <= min(max_components, matrix.shape[1], len(matrix) // 4)
    assert whitening.residual_scale > 0
    assert np.isfinite(distances(whitening, matrix)).all()
    centre, white = distance(whitening, matrix.mean(0))
    assert centre == pytest.approx(0, abs=1e-4)
    assert white.shape == (len(whitening.components),)


def test_one_slide_and_many_agree_and_so_do_repeated_fits():
    matrix, new = slides(60), slides(7, seed=1)
    whitening = fit_whitening(matrix)
    assert fit_whitening(matrix) == whitening
    np.testing.assert_allclose(distances(whitening, new), [distance(whitening, point)[0] for point in new], rtol=1e-12)


def test_a_channel_that_was_always_off_is_noticed_when_it_is_on():
    matrix = slides(100)
    matrix[:, 7] = 0
    whitening = fit_whitening(matrix)
    odd = slides(1, seed=1)[0]
    odd[7] = 0
    before = distance(whitening, odd)[0]
    odd[7] = 3.0
    assert distance(whitening, odd)[0] > before + 5


def test_the_profile_carries_limits_and_sorted_features_and_survives_json():
    matrix = slides(50)
    profile = fit_reference(matrix, distance_limit=7.5, sd_limit=0.9, features={"logit": [3, 1, 2], "focus": [0.5]})
    assert profile.features == {"focus": (0.5,), "logit": (1.0, 2.0, 3.0)}
    assert (profile.distance_limit, profile.sd_limit, profile.n_specimens) == (7.5, 0.9, 50)
    stored = from_plain(ReferenceProfile, to_plain(profile))
    point = slides(1, seed=1)[0]
    assert distance(stored, point)[0] == distance(profile, point)[0] == distance(fit_whitening(matrix), point)[0]


def test_what_gives_no_reference_is_refused():
    with pytest.raises(ReferenceDegenerate, match="7 slides"):
        fit_whitening(slides(7))
    with pytest.raises(ReferenceDegenerate, match="same"):
        fit_whitening(np.full((20, 4), 0.1))
    with pytest.raises(EmbeddingsInvalid):
        fit_whitening(np.full((20, 4), np.nan))
    with pytest.raises(EmbeddingsInvalid, match="logit"):
        fit_reference(slides(20), distance_limit=1, sd_limit=1, features={"logit": [np.inf]})


def test_an_embedding_of_another_model_is_refused():
    whitening = fit_whitening(slides(20))
    with pytest.raises(EmbeddingsInvalid, match="39"):
        distance(whitening, np.zeros(39))
    with pytest.raises(EmbeddingsInvalid, match="NaN"):
        distance(whitening, np.full(40, np.nan))
    with pytest.raises(EmbeddingsInvalid):
        distances(whitening, np.zeros(40))
