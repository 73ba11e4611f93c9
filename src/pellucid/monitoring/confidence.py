"""How confidence is distributed, and how that went over time."""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from pellucid.domain.decision import Decision, Verdict
from pellucid.domain.observation import Observation
from pellucid.domain.reasons import Reason
from pellucid.monitoring.rates import Rate, Spread, rate, spread

INTERVAL_LEVEL = 0.9
_Z_INTERVAL = 1.6448536269514722
N_BINS = 10
N_WINDOWS = 12
MIN_WINDOW = 5
MIN_DAYS = 3
BEYOND_THE_SLIDE = frozenset({Reason.NO_CERTIFICATE, Reason.MONITORING_HOLD})
"""Reasons that hold for every specimen of a site at a time, whatever its slides look like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceWindow:
    """One day, or one run of consecutive scans; `label` says which.

    `n` scans gave an answer and `n_failed` none. `probability` is their spread, `mean_sd_logit` and
    `mean_interval_width` (the 90% interval of the probability, normal on the logit) are means; None of no scan.
    `escalated` is the rate among the specimens whose last scan of the series falls in here; `escalated_for_slide`
    leaves out those whose only reasons hold for every specimen of the site, such as a missing certificate.
    """

    label: str
    start: str
    end: str
    n: int
    n_failed: int
    probability: Spread | None
    mean_sd_logit: float | None
    mean_interval_width: float | None
    escalated: Rate
    escalated_for_slide: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """All scans together, and the windows in the order of time.

    `histogram` counts probabilities in ten equal bins from 0 to 1. `by` is "day" or "scans".
    """

    overall: ConfidenceWindow | None
    histogram: tuple[int, ...]
    sd_logit: Spread | None
    by: str
    windows: tuple[ConfidenceWindow, ...]


def describe_confidence(observations: Sequence[Observation], decisions: Sequence[Decision]) -> Confidence:
    """Confidence of one model's observations, in the order of their time, and its decisions, one a specimen.

    Windows are days where the scans spread over at least 3 days of 5 or more each, otherwise up to 12 runs of
    consecutive scans.
    """
    last = last_scans(observations, decisions)
    by, groups = windows_of(observations)
    probabilities = [one.probability for one in observations if one.probability is not None]
    filled = Counter(min(int(value * N_BINS), N_BINS - 1) for value in probabilities)
    everything = range(len(observations))
    return Confidence(
        overall=_window("all", everything, observations, last) if observations else None,
        histogram=tuple(filled[index] for index in range(N_BINS)),
        sd_logit=spread(one.sd_logit for one in observations if one.sd_logit is not None),
        by=by,
        windows=tuple(_window(label, members, observations, last) for label, members in groups),
    )


def is_escalated(decision: Decision) -> bool:
    """Whether the specimen went to a person: its verdict is undetermined."""
    return decision.verdict is Verdict.UNDETERMINED


def is_escalated_for_slide(decision: Decision) -> bool:
    """Whether it did for more than what holds for every specimen of the site."""
    return is_escalated(decision) and not BEYOND_THE_SLIDE.issuperset(decision.reasons)


def last_scans(observations: Sequence[Observation], decisions: Sequence[Decision]) -> dict[int, Decision]:
    """The decisions by the index of their specimen's last observation, which says in which window they count."""
    decided = {decision.specimen: decision for decision in decisions}
    ends = {observation.specimen: index for index, observation in enumerate(observations)}
    return {index: decided[specimen] for specimen, index in ends.items() if specimen in decided}


def windows_of(observations: Sequence[Observation]) -> tuple[str, list[tuple[str, Sequence[int]]]]:
    """Windows over time as (label, indices of observations), and by what they are: "day" or "scans"."""
    days = [
        (day, [index for index, _ in members])
        for day, members in itertools.groupby(enumerate(observations), key=lambda item: item[1].at[:10])
    ]
    if len(days) >= MIN_DAYS and median(len(members) for _, members in days) >= MIN_WINDOW:
        return "day", [(day, members) for day, members in days]
    size = max(MIN_WINDOW, math.ceil(len(observations) / N_WINDOWS))
    starts = range(0, len(observations), size)
    runs = [range(start, min(start + size, len(observations))) for start in starts]
    return "scans", [(f"{run.start + 1}-{run.stop}", run) for run in runs]


def _window(
    label: str, members: Sequence[int], observations: Sequence[Observation], last: Mapping[int, Decision]
) -> ConfidenceWindow:
    scans = [observations[index] for index in members]
    decisions = [last[index] for index in members if index in last]
    probabilities = [one.probability for one in scans if one.probability is not None]
    deviations = [one.sd_logit for one in scans if one.sd_logit is not None]
    widths = [width for one in scans if (width := _interval_width(one)) is not None]
    return ConfidenceWindow(
        label=label,
        start=scans[0].at,
        end=scans[-1].at,
        n=len(probabilities),
        n_failed=sum(one.error is not None for one in scans),
        probability=spread(probabilities),
        mean_sd_logit=fmean(deviations) if deviations else None,
        mean_interval_width=fmean(widths) if widths else None,
        escalated=rate(sum(map(is_escalated, decisions)), len(decisions)),
        escalated_for_slide=rate(sum(map(is_escalated_for_slide, decisions)), len(decisions)),
    )


def _interval_width(observation: Observation) -> float | None:
    if observation.mean_logit is None or observation.sd_logit is None:
        return None
    reach = _Z_INTERVAL * observation.sd_logit
    return _logistic(observation.mean_logit + reach) - _logistic(observation.mean_logit - reach)


def _logistic(logit: float) -> float:
    return 0.5 * (1.0 + math.tanh(0.5 * logit))
