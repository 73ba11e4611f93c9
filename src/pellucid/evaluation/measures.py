"""Numbers with their interval, or with the reason why there is none."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from pellucid.core.errors import PellucidError
from pellucid.core.seeds import generator
from pellucid.evaluation.specimens import AssessedSpecimen
from pellucid.statistics.bootstrap import patient_bootstrap
from pellucid.statistics.errors import BootstrapImpossible, CalibrationImpossible, OneClass
from pellucid.statistics.exact import clopper_pearson

LEVEL = 0.95
"""How often an interval of the report holds the truth."""

Rows = NDArray[np.int64]
RowMetric = Callable[[Rows], float]
"""A number from the rows, repeated where a patient was drawn twice, that it is to be computed on."""


class IntervalKind(StrEnum):
    """How an interval was made."""

    EXACT = "exact"
    """Clopper and Pearson's, where every patient has one specimen."""
    BY_PATIENT = "by_patient"
    """Percentiles over resampled patients, where some have several specimens."""
    EXACT_OVER_PATIENTS = "exact_over_patients"
    """Clopper and Pearson's with each patient counted once: no resample of "none" or "all" shows any spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How often patients are drawn anew, and from which seed."""

    n: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """`k` of `n` specimens of `n_patients` patients, with the 95 % interval of the share behind it.

    `value` is None of none; the share may then be anything.
    """

    k: int
    n: int
    n_patients: int
    value: float | None
    low: float
    high: float
    interval: IntervalKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A number and its 95 % interval over resampled patients.

    `value` is None where it can't be computed, `low` and `high` where patients can't be resampled; `note` says why.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    n_patients: int
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answered:
    """The specimens with a molecular outcome and a posterior, as arrays `(n,)`.

    `labels` are 0 and 1 as float64, `logits` the calibrated mean logits, `sds` their standard deviations.
    """

    specimens: tuple[AssessedSpecimen, ...]
    labels: NDArray[np.float64]
    logits: NDArray[np.float64]
    sds: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    patients: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.specimens)


def answered(specimens: Sequence[AssessedSpecimen]) -> Answered:
    """Those of `specimens` that can be compared with their outcome."""
    kept = [(one, one.posterior) for one in specimens if one.label is not None and one.posterior is not None]
    return Answered(
        specimens=tuple(one for one, _ in kept),
        labels=np.array([one.label for one, _ in kept], dtype=np.float64),
        logits=np.array([posterior.mean_logit for _, posterior in kept], dtype=np.float64),
        sds=np.array([posterior.sd_logit for _, posterior in kept], dtype=np.float64),
        probabilities=np.array([posterior.probability for _, posterior in kept], dtype=np.float64),
        patients=tuple(one.patient for one, _ in kept),
    )


def is_wrong(one: AssessedSpecimen) -> bool:
    """Whether deciding the specimen at a probability of one half would contradict its outcome."""
    return one.posterior is not None and one.label is not None and (one.posterior.mean_logit >= 0) != (one.label == 1)


def share(of: Sequence[AssessedSpecimen], hit: Callable[[AssessedSpecimen], bool], resampling: Resampling) -> Share:
    """The share of the specimens `of` that are a `hit`; see `IntervalKind` for its interval."""
    hits = np.array([hit(one) for one in of], dtype=np.float64)
    patients = [one.patient for one in of]
    n, k, n_patients = len(hits), int(hits.sum()), len(set(patients))
    if n == n_patients:
        kind, (low, high) = IntervalKind.EXACT, clopper_pearson(k, n, level=LEVEL)
    elif k in (0, n):
        kind = IntervalKind.EXACT_OVER_PATIENTS
        low, high = clopper_pearson(n_patients if k else 0, n_patients, level=LEVEL)
    else:
        kind, (low, high) = IntervalKind.BY_PATIENT, _resampled_share(hits, patients, resampling)
    return Share(
        k=k, n=n, n_patients=n_patients, value=k / n if n else None, low=float(low), high=float(high), interval=kind
    )


def measure(metric: RowMetric, labels: NDArray[np.float64], patients: Sequence[str], resampling: Resampling) -> Measure:
    """A metric on all rows, with its interval over resampled patients.

    Args:
        metric: from row numbers to the number; it may raise OneClass or CalibrationImpossible.
        labels: `(n,)` of 0 and 1, any that tell the rows apart.
        patients: `(n,)`, whose each row is.
        resampling: how often, from which seed.
    """
    n, n_patients = len(labels), len(set(patients))
    if not n:
        return Measure(value=None, low=None, high=None, n=0, n_patients=0, note="there is no such specimen")
    try:
        value = float(metric(np.arange(n)))
    except (OneClass, CalibrationImpossible) as error:
        return Measure(value=None, low=None, high=None, n=n, n_patients=n_patients, note=_note(error))
    if n_patients < 2:
        note = "one patient alone shows no spread"
        return Measure(value=value, low=None, high=None, n=n, n_patients=n_patients, note=note)
    try:
        found = patient_bootstrap(
            lambda rows, _: metric(rows.astype(np.int64)),
            np.arange(n),
            labels,
            patients,
            seed=resampling.seed,
            n_resamples=resampling.n,
            level=LEVEL,
        )
    except (BootstrapImpossible, OneClass, CalibrationImpossible) as error:
        return Measure(value=value, low=None, high=None, n=n, n_patients=n_patients, note=_note(error))
    return Measure(value=value, low=found.low, high=found.high, n=n, n_patients=n_patients)


def resamples(patients: Sequence[str], resampling: Resampling) -> Iterator[Rows]:
    """The rows of each resample, whole patients drawn with replacement; what a curve's band is made from."""
    groups: dict[str, list[int]] = {}
    for row, patient in sorted(enumerate(patients), key=lambda pair: pair[1]):
        groups.setdefault(patient, []).append(row)
    members = [np.array(rows, dtype=np.int64) for rows in groups.values()]
    rng = generator("evaluation_resamples", resampling.seed)
    for _ in range(resampling.n):
        yield np.concatenate([members[index] for index in rng.integers(len(members), size=len(members))])


def _note(error: PellucidError) -> str:
    # the classes of some metrics are right and wrong answers, so the error's own words would mislead
    if type(error) is OneClass:
        return "only one of the two kinds that it compares is there"
    return error.message.rstrip(".")


def _resampled_share(hits: NDArray[np.float64], patients: Sequence[str], resampling: Resampling) -> tuple[float, float]:
    if len(set(patients)) < 2:
        return 0.0, 1.0
    found = patient_bootstrap(
        lambda _, truth: float(truth.mean()),
        hits,
        hits,
        patients,
        seed=resampling.seed,
        n_resamples=resampling.n,
        level=LEVEL,
    )
    return found.low, found.high
