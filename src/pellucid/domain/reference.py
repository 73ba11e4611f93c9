"""The profile of the slides a model was built on, against which a new slide and a stream of slides are held."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceProfile:
    """Reference of slide embeddings and of monitored features, from the tuning split.

    `mean` is `(dim,)`; `components` is `(n_components, dim)`, rows already divided by their standard deviation, so
    that `components @ (x - mean)` is white. `residual_scale` is the standard deviation of the part outside them.
    `distance_limit` bounds the distance of a slide still called familiar; `sd_limit` the sd of the calibrated logit.
    `features` maps a monitored feature to its sorted reference values.
    """

    mean: tuple[float, ...]
    components: tuple[tuple[float, ...], ...]
    residual_scale: float
    distance_limit: float
    sd_limit: float
    features: dict[str, tuple[float, ...]]
    n_specimens: int
