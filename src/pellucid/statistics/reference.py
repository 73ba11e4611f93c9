"""How unlike the slides a model was built on a slide is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pellucid.domain.reference import ReferenceProfile
from pellucid.statistics.errors import EmbeddingsInvalid, ReferenceDegenerate

_MIN_SLIDES = 8
_SLIDES_PER_COMPONENT = 4


class WhiteningLike(Protocol):
    """What `distance` needs to know: a `Whitening`, or a bundle's `ReferenceProfile`."""

    @property
    def mean(self) -> Sequence[float]:
        """`(dim,)`."""

    @property
    def components(self) -> Sequence[Sequence[float]]:
        """`(n_components, dim)`."""

    @property
    def residual_scale(self) -> float:
        """Standard deviation of what the components leave over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whitening:
    """The map that makes the embeddings of familiar slides white, in the terms of `ReferenceProfile`.

    Attributes:
        mean: `(dim,)`.
        components: `(n_components, dim)`, principal axes divided by their standard deviation, strongest first.
        residual_scale: standard deviation of the part outside the components.
        shrinkage: weight of the uniform variance that was mixed in, 0 to 1.
        n: number of slides it was fitted on.
    """

    mean: tuple[float, ...]
    components: tuple[tuple[float, ...], ...]
    residual_scale: float
    shrinkage: float
    n: int


def fit_whitening(embeddings: ArrayLike, *, max_components: int = 16) -> Whitening:
    """Whiten slide embeddings by their principal components.

    The covariance is shrunk towards a uniform one (Ledoit and Wolf, 2004), so that few slides don't make directions
    look forbidden which were merely not seen. The number of components is at most a quarter of the slides. The part r
    outside them enters the squared distance as |r|^2 / residual_scale^2 with residual_scale^2 = sum v^2 / sum v over
    the remaining variances v: so it behaves as a chi-square of as many degrees as there are independent directions left
    (Box, 1954), neither drowning the components nor being drowned.

    Args:
        embeddings: `(n_slides, dim)`, at least 8.
        max_components: upper limit of the number of components.

    Raises:
        EmbeddingsInvalid: not a finite matrix.
        ReferenceDegenerate: fewer than 8 slides, or all embeddings the same.
    """
    matrix = _finite_matrix(embeddings)
    n, dim = matrix.shape
    if n < _MIN_SLIDES:
        raise ReferenceDegenerate(f"{n} slides are too few for a reference: at least {_MIN_SLIDES} are needed.")
    mean = matrix.mean(axis=0)
    centred = matrix - mean
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    variances = np.zeros(dim)
    variances[: singular.size] = singular**2 / n
    average = float(variances.mean())
    if average <= np.finfo(np.float64).eps * (1.0 + float(np.mean(mean**2))):
        raise ReferenceDegenerate(f"The embeddings of all {n} slides are the same.")
    shrinkage = _ledoit_wolf(centred, variances)
    shrunk = (1 - shrinkage) * variances + shrinkage * average
    n_components = max(
        1, min(max_components, n // _SLIDES_PER_COMPONENT, int(np.sum(variances > 1e-12 * variances[0])))
    )
    rest = shrunk[n_components:]
    # without a remainder the last component's variance keeps rounding errors small
    residual_variance = float(np.sum(rest**2) / np.sum(rest)) if rest.sum() > 0 else float(shrunk[n_components - 1])
    kept = _signed(axes[:n_components]) / np.sqrt(shrunk[:n_components])[:, None]
    return Whitening(
        mean=tuple(mean.tolist()),
        components=tuple(tuple(row) for row in kept.tolist()),
        residual_scale=float(np.sqrt(residual_variance)),
        shrinkage=shrinkage,
        n=n,
    )


def fit_reference(
    embeddings: ArrayLike,
    *,
    distance_limit: float,
    sd_limit: float,
    features: Mapping[str, ArrayLike],
    max_components: int = 16,
) -> ReferenceProfile:
    """A bundle's reference profile from slide embeddings and limits that were found elsewhere.

    Take the limits from slides that `embeddings` doesn't hold, with `fit_whitening` and `distances`: slides that a
    whitening was fitted on lie nearer to it than new ones.

    Args:
        embeddings: `(n_specimens, dim)`.
        distance_limit: largest distance of a slide still called familiar.
        sd_limit: largest standard deviation of the calibrated logit.
        features: reference values of each monitored feature, in any order.
        max_components: upper limit of the number of components.

    Raises:
        EmbeddingsInvalid: not a finite matrix, or a feature with values that aren't finite.
        ReferenceDegenerate: see `fit_whitening`.
    """
    whitening = fit_whitening(embeddings, max_components=max_components)
    return ReferenceProfile(
        mean=whitening.mean,
        components=whitening.components,
        residual_scale=whitening.residual_scale,
        distance_limit=distance_limit,
        sd_limit=sd_limit,
        features={name: _sorted_values(name, features[name]) for name in sorted(features)},
        n_specimens=whitening.n,
    )


def distance(profile: WhiteningLike, embedding: ArrayLike) -> tuple[float, NDArray[np.float64]]:
    """Mahalanobis distance of one slide to the reference, and its whitened leading components.

    The squared distance is the sum of the squared components plus |r|^2 / residual_scale^2, r the part outside them.

    Args:
        profile: a `Whitening` or `ReferenceProfile`.
        embedding: `(dim,)`.

    Returns:
        The distance and the components, `(n_components,) float64`.

    Raises:
        EmbeddingsInvalid: not a finite vector of the reference's length.
    """
    squared, white = _project(profile, np.asarray(embedding, dtype=np.float64)[None])
    return float(np.sqrt(squared[0])), white[0]


def distances(profile: WhiteningLike, embeddings: ArrayLike) -> NDArray[np.float64]:
    """The distance of each slide: `(n_slides, dim)` to `(n_slides,)`.

    Raises:
        EmbeddingsInvalid: not a finite matrix of the reference's width.
    """
    squared, _ = _project(profile, np.asarray(embeddings, dtype=np.float64))
    return np.asarray(np.sqrt(squared), dtype=np.float64)


def _project(profile: WhiteningLike, matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean = np.asarray(profile.mean, dtype=np.float64)
    components = np.asarray(profile.components, dtype=np.float64)
    centred = _finite_matrix(matrix, width=mean.size) - mean
    white = centred @ components.T
    lengths = np.linalg.norm(components, axis=1, keepdims=True)
    axes = components / lengths
    residual = centred - (white / lengths.T) @ axes
    return np.sum(white**2, axis=1) + np.sum(residual**2, axis=1) / profile.residual_scale**2, white


def _ledoit_wolf(centred: NDArray[np.float64], variances: NDArray[np.float64]) -> float:
    n, dim = centred.shape
    spread = float(np.sum((variances - variances.mean()) ** 2)) / dim
    if spread == 0:
        return 1.0
    fourth = float(np.sum(np.sum(centred**2, axis=1) ** 2)) / n
    noise = (fourth - float(np.sum(variances**2))) / (n * dim)
    return float(np.clip(noise / spread, 0.0, 1.0))


def _signed(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    # an axis has no direction of its own; its largest entry is made positive
    largest = np.argmax(np.abs(axes), axis=1)
    signs = np.sign(axes[np.arange(len(axes)), largest])
    return np.asarray(axes * signs[:, None], dtype=np.float64)


def _finite_matrix(embeddings: ArrayLike, *, width: int | None = None) -> NDArray[np.float64]:
    matrix = np.asarray(embeddings, dtype=np.float64)
    if matrix.ndim != 2 or (width is not None and matrix.shape[1] != width):
        raise EmbeddingsInvalid(
            f"Embeddings of shape {matrix.shape} were given; (n_slides, {width or 'dim'}) is needed."
        )
    if not np.isfinite(matrix).all():
        raise EmbeddingsInvalid(
            f"{int((~np.isfinite(matrix)).any(axis=1).sum())} of {len(matrix)} embeddings hold NaN or infinity."
        )
    return matrix


def _sorted_values(name: str, values: ArrayLike) -> tuple[float, ...]:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise EmbeddingsInvalid(f"The reference values of {name} are no finite vector.")
    return tuple(np.sort(vector).tolist())
