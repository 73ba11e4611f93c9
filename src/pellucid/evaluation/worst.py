"""The most confident errors, for a person to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pellucid.domain.decision import Verdict
from pellucid.domain.reasons import Reason
from pellucid.evaluation.measures import is_wrong
from pellucid.evaluation.specimens import AssessedSpecimen
from pellucid.records import ScanResult

MOST_CASES = 8
MOST_SCANS = 2

_THUMBNAIL = "thumbnail.png"
_ATTENTION = "attention.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPictures:
    """Where a scan's pictures lie, relative to the run's folder, with their SHA-256 as recorded.

    `width` and `height` are the scan's level-0 pixels, over which the attention's tiles lie.
    """

    thumbnail: str
    thumbnail_digest: str
    attention: str
    attention_digest: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCase:
    """A specimen whose probability lies on the wrong side of one half, or that was decided wrongly.

    `decided_wrongly` says that it got a wrong answer without a person. `low` and `high` are its interval. `pictures`
    are of the first scans that have any.
    """

    pseudonym: str
    label: int
    probability: float
    low: float
    high: float
    level: float
    sd_logit: float
    verdict: Verdict
    decided_wrongly: bool
    reasons: tuple[Reason, ...]
    strata: tuple[tuple[str, str], ...]
    scanners: tuple[str, ...]
    n_scans: int
    pictures: tuple[ScanPictures, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCases:
    """The `MOST_CASES` worst of `n_wrong`: wrongly decided ones first, then the most confident."""

    n_wrong: int
    cases: tuple[WorstCase, ...]


def find_worst(specimens: Sequence[AssessedSpecimen]) -> WorstCases:
    """Choose the errors that a person should look at first."""
    wrong = [one for one in specimens if is_wrong(one) or _decided_wrongly(one)]
    wrong.sort(key=lambda one: (not _decided_wrongly(one), -_confidence(one), one.pseudonym))
    return WorstCases(n_wrong=len(wrong), cases=tuple(_case(one) for one in wrong[:MOST_CASES]))


def _decided_wrongly(one: AssessedSpecimen) -> bool:
    right = {0: Verdict.NEGATIVE, 1: Verdict.POSITIVE}.get(-1 if one.label is None else one.label)
    return right is not None and one.decision.verdict not in {right, Verdict.UNDETERMINED}


def _confidence(one: AssessedSpecimen) -> float:
    return 0.0 if one.posterior is None else abs(one.posterior.mean_logit)


def _case(one: AssessedSpecimen) -> WorstCase:
    assert one.posterior is not None
    assert one.label is not None
    pictures = [found for result in one.results if (found := _pictures(result)) is not None]
    return WorstCase(
        pseudonym=one.pseudonym,
        label=one.label,
        probability=one.posterior.probability,
        low=one.posterior.low,
        high=one.posterior.high,
        level=one.posterior.level,
        sd_logit=one.posterior.sd_logit,
        verdict=one.decision.verdict,
        decided_wrongly=_decided_wrongly(one),
        reasons=one.decision.reasons,
        strata=tuple(sorted((name, value) for name, value in one.strata.items() if value)),
        scanners=tuple(value for value in one.scanners if value),
        n_scans=len(one.evidence.scans),
        pictures=tuple(pictures[:MOST_SCANS]),
    )


def _pictures(result: ScanResult) -> ScanPictures | None:
    named = {PurePosixPath(path).name: (path, digest) for path, digest in result.artefacts.items()}
    if result.info is None or not {_THUMBNAIL, _ATTENTION} <= named.keys():
        return None
    (thumbnail, thumbnail_digest), (attention, attention_digest) = named[_THUMBNAIL], named[_ATTENTION]
    return ScanPictures(
        thumbnail=thumbnail,
        thumbnail_digest=thumbnail_digest,
        attention=attention,
        attention_digest=attention_digest,
        width=result.info.width,
        height=result.info.height,
    )
