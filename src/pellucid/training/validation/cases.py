"""What heads say of patients: scans make up specimens, and specimens patients."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.aggregators import GatedAttention
from pellucid.core.seeds import generator
from pellucid.training.bags import EmbeddedScan
from pellucid.uncertainty import run_deterministic


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanScore:
    """A head's raw logit of one scan, without dropout."""

    slide: str
    specimen: str
    patient: str
    label: int
    logit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the metrics count once: a patient, by the specimens that `specimens` names, with their mean raw logit."""

    patient: str
    specimens: tuple[str, ...]
    label: int
    logit: float


def score_scans(
    head: GatedAttention, scans: Sequence[EmbeddedScan], *, max_tiles: int | None = None, seed: int = 0
) -> list[ScanScore]:
    """The raw logit of each scan without dropout.

    Args:
        head: the trained head.
        scans: the scans.
        max_tiles: at most so many tiles of a bag, drawn at random; all where omitted.
        seed: of the draw, which depends on the scan besides.
    """
    return [
        ScanScore(
            slide=item.scan.entry.slide,
            specimen=item.scan.entry.specimen,
            patient=item.scan.entry.patient,
            label=item.scan.label,
            logit=_logit(head, item, max_tiles, seed),
        )
        for item in scans
    ]


def cases_of(scores: Sequence[ScanScore]) -> tuple[Case, ...]:
    """The cases of some scans, sorted by patient.

    A specimen's logit is the mean over its scans. A patient whose specimens all have one label is one case, with the
    mean over the specimens; the specimens of a patient with both labels are cases of their own, as no one answer could
    be right about all of them. Either way a bootstrap by patient keeps them together.
    """
    specimens: dict[str, list[ScanScore]] = defaultdict(list)
    for score in scores:
        specimens[score.specimen].append(score)
    patients: dict[str, list[Case]] = defaultdict(list)
    for name, group in sorted(specimens.items()):
        first = group[0]
        logit = _mean([score.logit for score in group])
        patients[first.patient].append(Case(patient=first.patient, specimens=(name,), label=first.label, logit=logit))
    return tuple(case for _, found in sorted(patients.items()) for case in _merge(found))


def _merge(found: list[Case]) -> list[Case]:
    if len({case.label for case in found}) > 1:
        return found
    return [
        Case(
            patient=found[0].patient,
            specimens=tuple(case.specimens[0] for case in found),
            label=found[0].label,
            logit=_mean([case.logit for case in found]),
        )
    ]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _logit(head: GatedAttention, item: EmbeddedScan, max_tiles: int | None, seed: int) -> float:
    features = item.bag.features
    if max_tiles is not None and len(features) > max_tiles:
        drawn = generator("validation tiles", seed, item.scan.digest).choice(len(features), max_tiles, replace=False)
        features = features[np.sort(drawn)]
    return run_deterministic(head, features).dropout_free_logit
