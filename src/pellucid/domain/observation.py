"""What was seen, believed and spent on one scan: the row that monitoring reads."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One row a scan.

    `features` are stain, quality and input numbers by name; `embedding` are the leading whitened principal components
    of the slide embedding under the bundle's reference; `distance` is the Mahalanobis distance to it.
    `timings` are seconds by stage. A failed scan has `error` (a code) and no posterior. `circumstances` say what was
    out of the ordinary while it was processed, such as a process that died or a smaller batch. `deterministic_logit`
    and `ensemble_logits` (one a head) are raw logits without dropout, kept for comparison; no decision rests on them.
    `tumour_share` is the share of tiles that the bundle's tumour head calls tumour.
    """

    scan: str
    specimen: str
    run: str
    at: str
    purpose: str
    scanner: str | None
    strata: dict[str, str]
    mpp: float | None
    mpp_source: str | None
    n_tiles: int
    features: dict[str, float]
    embedding: tuple[float, ...]
    distance: float | None
    mean_logit: float | None
    sd_logit: float | None
    probability: float | None
    mutual_information: float | None
    reasons: tuple[str, ...]
    error: str | None
    timings: dict[str, float]
    model: str
    policy: str
    software: str
    circumstances: dict[str, str] = field(default_factory=dict)
    deterministic_logit: float | None = None
    ensemble_logits: tuple[float, ...] = ()
    tumour_share: float | None = None
