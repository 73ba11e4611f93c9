"""What a model bundle tells of the specimens that it was made with, without telling whose they were."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientDigests:
    """Salted digests (see `core.digests.salted_digest`) of a model's patients, sorted.

    The salt keeps digests of two bundles from being matched; it doesn't keep somebody from testing a known name.
    """

    salt: str
    training: tuple[str, ...]
    tuning: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningSpecimen:
    """A tuning specimen's calibrated logits and label, from which a certification plans where to begin.

    `low_logit` and `high_logit` are the ends of the interval; `passed`, whether every gate let it through.
    """

    mean_logit: float
    sd_logit: float
    low_logit: float
    high_logit: float
    label: int
    passed: bool
