"""Whether the slides, or the answers to them, have drifted from the bundle's reference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from pellucid.core.seeds import generator
from pellucid.domain.observation import Observation
from pellucid.domain.reference import ReferenceProfile
from pellucid.monitoring.comparison import permutation_p_value
from pellucid.monitoring.rates import Spread, spread
from pellucid.statistics.conformal import folded, online_p_values
from pellucid.statistics.edetectors import ALARM_LEVEL, combine, first_alarm, log_evidence, log_mean

FEWEST_TO_ALARM = 25
"""The fewest specimens after which evidence can reach the alarm level at all, were each stranger than all before."""
SMALL_REFERENCE = 100
"""Below so many reference specimens a difference that is there from the first scan is learned before it is shown."""
RECENT = 200
"""The latest specimens that quantiles, shift and hint are taken from; evidence uses all."""
MAX_PATH_POINTS = 400

_OUTPUTS = ("mean_logit", "sd_logit")
_EMBEDDING = ("distance",)


class DriftState(StrEnum):
    """What can be said about drift."""

    NO_REFERENCE = "no_reference"
    TOO_FEW = "too_few"
    QUIET = "quiet"
    ALARM = "alarm"


class FeatureGroup(StrEnum):
    """The groups whose evidence is averaged; each weighs the same."""

    OUTPUT = "output"
    EMBEDDING = "embedding"
    INPUT = "input"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidencePoint:
    """The combined log evidence (natural logarithm, not below 0) after the `index`-th specimen, from 1."""

    index: int
    at: str
    log_evidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """One feature: its reference, its latest values, and the evidence of all values in their order.

    `shift_sd` is the difference of means in standard deviations of the reference (None where that is 0 or unknown).
    `hint_p` is a permutation p-value of the Kolmogorov-Smirnov distance; it is computed at every look at every feature,
    so small values come by chance: a hint where to look, not a statement. `log_evidence` is the present, and
    `peak_log_evidence` the highest log evidence; both are 0 where there is none.
    """

    feature: str
    group: FeatureGroup
    n_reference: int
    n_evidence: int
    reference: Spread
    current: Spread | None
    shift_sd: float | None
    hint_p: float | None
    log_evidence: float
    peak_log_evidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What can be said about drift, and from what.

    `sentence` says it in words; `caveats` say what can't be seen. The evidence of all features together raises the
    alarm at `alarm_level`: at most one false alarm is expected in so many specimens. `alarm_index` and `alarm_at` say
    when it did first; an alarm stays, for the detector learns the new state as its own. The reference's feature values
    come from `n_reference` specimens (the fewest, where features differ). `only_in_reference` and `not_in_reference`
    are features that could not be compared.
    """

    state: DriftState
    sentence: str
    caveats: tuple[str, ...]
    n_specimens: int
    n_reference: int
    n_recent: int
    alarm_level: float
    log_limit: float
    log_evidence: float
    peak_log_evidence: float
    alarm_index: int | None
    alarm_at: str | None
    path: tuple[EvidencePoint, ...]
    features: tuple[FeatureDrift, ...]
    only_in_reference: tuple[str, ...]
    not_in_reference: tuple[str, ...]


def describe_drift(observations: Sequence[Observation], reference: ReferenceProfile | None, *, seed: str) -> Drift:
    """Hold one model's observations, in the order of their time, against its reference.

    The first answered scan of each specimen counts: the scans of one specimen are alike, which is not drift.

    Args:
        observations: of the reference's model only.
        reference: None where no bundle is at hand.
        seed: names the random tie-breaks, such as the model digest; the same seed gives the same evidence.
    """
    stream = _one_a_specimen(observations)
    if reference is None:
        return _nothing_to_compare(len(stream))
    seen = {name for observation in stream for name in _values(observation)}
    names = sorted(seen & {name for name, values in reference.features.items() if values}, key=_by_group)
    if not names or not stream:
        return _nothing_compared(len(stream), reference, seen)
    values = np.array([[_values(one).get(name, math.nan) for name in names] for one in stream], dtype=np.float64)
    per_feature, combined = _evidence(values, names, reference, seed)
    features = tuple(
        _feature(name, reference.features[name], values[:, column], per_feature[:, column], seed)
        for column, name in enumerate(names)
    )
    return _stated(stream, reference, seen, features, combined)


def feature_group(name: str) -> FeatureGroup:
    """The group a feature's evidence is averaged in."""
    if name in _OUTPUTS:
        return FeatureGroup.OUTPUT
    return FeatureGroup.EMBEDDING if name in _EMBEDDING else FeatureGroup.INPUT


def _by_group(name: str) -> tuple[int, str]:
    return list(FeatureGroup).index(feature_group(name)), name


def _one_a_specimen(observations: Sequence[Observation]) -> list[Observation]:
    first: dict[str, Observation] = {}
    for observation in observations:
        if observation.error is None and observation.mean_logit is not None:
            first.setdefault(observation.specimen, observation)
    return list(first.values())


def _values(observation: Observation) -> dict[str, float]:
    own = {
        "mean_logit": observation.mean_logit,
        "sd_logit": observation.sd_logit,
        "distance": observation.distance,
    }
    return observation.features | {name: value for name, value in own.items() if value is not None}


def _evidence(
    values: NDArray[np.float64], names: Sequence[str], reference: ReferenceProfile, seed: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log evidence by feature `(n, k)`, each the mean of its level's and its spread's, and combined `(n,)`."""
    ranks = np.stack(
        [
            online_p_values(reference.features[name], values[:, column], generator("monitoring", seed, name))
            for column, name in enumerate(names)
        ],
        axis=1,
    )
    level, width = log_evidence(ranks), log_evidence(folded(ranks))
    per_feature = log_mean(np.stack([level, width], axis=-1))
    groups = [
        [column for column, name in enumerate(names) if feature_group(name) is group]
        for group in FeatureGroup
        if any(feature_group(name) is group for name in names)
    ]
    return per_feature, combine(per_feature, groups)


def _feature(
    name: str, reference: Sequence[float], values: NDArray[np.float64], evidence: NDArray[np.float64], seed: str
) -> FeatureDrift:
    present = values[np.isfinite(values)]
    recent = present[-RECENT:]
    reference_spread, current = spread(reference), spread(recent)
    assert reference_spread is not None
    return FeatureDrift(
        feature=name,
        group=feature_group(name),
        n_reference=len(reference),
        n_evidence=present.size,
        reference=reference_spread,
        current=current,
        shift_sd=_shift(reference_spread, current),
        hint_p=permutation_p_value(reference, recent, generator("monitoring", "hint", seed, name)),
        log_evidence=_shown(evidence[-1]),
        peak_log_evidence=_shown(evidence.max()),
    )


def _shift(reference: Spread, current: Spread | None) -> float | None:
    if current is None or not reference.sd:
        return None
    return (current.mean - reference.mean) / reference.sd


def _shown(log_value: float) -> float:
    return max(0.0, float(log_value))


def _stated(
    stream: Sequence[Observation],
    reference: ReferenceProfile,
    seen: set[str],
    features: tuple[FeatureDrift, ...],
    combined: NDArray[np.float64],
) -> Drift:
    alarm = first_alarm(combined, level=ALARM_LEVEL)
    n = len(stream)
    state = DriftState.QUIET if n >= FEWEST_TO_ALARM else DriftState.TOO_FEW
    if alarm is not None:
        state = DriftState.ALARM
    peak = _shown(combined.max())
    return Drift(
        state=state,
        sentence=_sentence(state, n, peak, None if alarm is None else (alarm + 1, stream[alarm].at)),
        caveats=_caveats(reference),
        n_specimens=n,
        n_reference=_n_reference(reference),
        n_recent=min(n, RECENT),
        alarm_level=ALARM_LEVEL,
        log_limit=math.log(ALARM_LEVEL),
        log_evidence=_shown(combined[-1]),
        peak_log_evidence=peak,
        alarm_index=None if alarm is None else alarm + 1,
        alarm_at=None if alarm is None else stream[alarm].at,
        path=_path(stream, combined),
        features=features,
        only_in_reference=_only_in_reference(reference, seen),
        not_in_reference=_not_in_reference(reference, seen),
    )


def _n_reference(reference: ReferenceProfile) -> int:
    """How many specimens the features' values come from; `n_specimens` may count others, of the embeddings."""
    return min((len(values) for values in reference.features.values() if values), default=0)


def _only_in_reference(reference: ReferenceProfile, seen: set[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name, values in reference.features.items() if values and name not in seen))


def _not_in_reference(reference: ReferenceProfile, seen: set[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in seen if not reference.features.get(name)))


def _path(stream: Sequence[Observation], combined: NDArray[np.float64]) -> tuple[EvidencePoint, ...]:
    """The whole path, or the highest point of each of so many stretches."""
    stretches = np.array_split(np.arange(len(stream)), min(len(stream), MAX_PATH_POINTS))
    tops = [int(stretch[np.argmax(combined[stretch])]) for stretch in stretches]
    return tuple(EvidencePoint(index=top + 1, at=stream[top].at, log_evidence=_shown(combined[top])) for top in tops)


def _sentence(state: DriftState, n: int, peak: float, alarm: tuple[int, str] | None) -> str:
    level = f"{ALARM_LEVEL:,.0f}"
    highest = f"The highest evidence so far is {math.exp(min(peak, 700.0)):,.3g}; {level} is an alarm."
    if state is DriftState.ALARM and alarm is not None:
        return (
            f"Drift: the evidence reached {level} at specimen {alarm[0]} of {n} ({alarm[1]}). "
            f"Without drift that is expected at most once in {level} specimens."
        )
    if state is DriftState.TOO_FEW:
        return f"Too few scans to tell: {n} specimens, and an alarm takes at least {FEWEST_TO_ALARM}."
    return f"No drift is shown over {n} specimens, which does not prove that there is none. {highest}"


def _caveats(reference: ReferenceProfile) -> tuple[str, ...]:
    n = _n_reference(reference)
    if n >= SMALL_REFERENCE:
        return ()
    return (
        f"The reference holds only {n} specimens: quantiles, shifts and p-values are rough.",
        "A difference that was there from the first scan may then never raise the alarm; a later change can.",
    )


def _nothing_to_compare(n: int) -> Drift:
    return _empty(DriftState.NO_REFERENCE, "No bundle was named, so there is no reference to compare with.", n)


def _nothing_compared(n: int, reference: ReferenceProfile, seen: set[str]) -> Drift:
    if n == 0:
        empty = _empty(DriftState.TOO_FEW, "Too few scans to tell: no scan under this model has an answer yet.", n)
    else:
        empty = _empty(DriftState.NO_REFERENCE, "The bundle's reference has none of the features observed.", n)
    return replace(
        empty,
        n_reference=_n_reference(reference),
        only_in_reference=_only_in_reference(reference, seen),
        not_in_reference=_not_in_reference(reference, seen),
    )


def _empty(state: DriftState, sentence: str, n: int) -> Drift:
    return Drift(
        state=state,
        sentence=sentence,
        caveats=(),
        n_specimens=n,
        n_reference=0,
        n_recent=0,
        alarm_level=ALARM_LEVEL,
        log_limit=math.log(ALARM_LEVEL),
        log_evidence=0.0,
        peak_log_evidence=0.0,
        alarm_index=None,
        alarm_at=None,
        path=(),
        features=(),
        only_in_reference=(),
        not_in_reference=(),
    )
