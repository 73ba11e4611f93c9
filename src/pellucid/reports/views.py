"""What a page shows, all of it: a page is a pure function of its view."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pellucid.domain.certificate import Certificate
from pellucid.domain.decision import Decision, Disposition, Verdict
from pellucid.domain.policy import SitePolicy
from pellucid.domain.posterior import Posterior
from pellucid.domain.quality import Quality
from pellucid.domain.reasons import Reason
from pellucid.domain.scan import ScanInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatmapLegend:
    """The numbers of a heatmap's colour bar, in multiples of an even share (1 / `n_tiles`).

    `low` and `high` are the values of the darkest and the lightest colour; tiles above `high` take its colour, and
    `n_clipped` says how many. `quantiles` are pairs (share, value) of all tiles.
    """

    low: float
    high: float
    n_tiles: int
    n_clipped: int
    quantiles: tuple[tuple[float, float], ...]

    def quantile(self, share: float) -> float | None:
        """The value at `share`, None where it was not computed."""
        return next((value for at, value in self.quantiles if math.isclose(at, share)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePicture:
    """A tile with much attention: its picture, rank from 1 and attention in multiples of an even share."""

    path: str
    rank: int
    attention: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanImages:
    """Pictures of a scan, as paths relative to the run's folder; None where there is none.

    `heatmap` and `heatmap_sd` are transparent overlays that fit `thumbnail` exactly; the others are whole pictures.
    `icon` is a small thumbnail for the index, which may show thousands.
    """

    thumbnail: str | None = None
    icon: str | None = None
    tissue: str | None = None
    heatmap: str | None = None
    heatmap_sd: str | None = None
    tiles: str | None = None
    focus: str | None = None
    pen: str | None = None
    stain: str | None = None
    top_tiles: tuple[TilePicture, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureView:
    """Why a scan could not be processed: the error's code, its sentence and what to do."""

    code: str
    sentence: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanView:
    """One scan on a specimen's page.

    `info` is None where the file could not be opened, `posterior` where there is no answer. `distance` is that to the
    bundle's training slides, with its limit; `tumour_share` the share of tumour tiles, with the least that is allowed
    (None without a tumour head). `deterministic_logit` and `ensemble_logits` (one a head) are calibrated logits, shown
    for comparison. `timings` are seconds by stage, in the order of the stages.
    """

    pseudonym: str
    digest: str
    info: ScanInfo | None
    quality: Quality | None = None
    n_tiles: int = 0
    n_unreadable: int = 0
    posterior: Posterior | None = None
    distance: float | None = None
    distance_limit: float | None = None
    tumour_share: float | None = None
    tumour_limit: float | None = None
    deterministic_logit: float | None = None
    ensemble_logits: tuple[float, ...] = ()
    images: ScanImages = ScanImages()
    legend: HeatmapLegend | None = None
    legend_sd: HeatmapLegend | None = None
    failure: FailureView | None = None
    timings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionVersion:
    """One version of a specimen's decision, for its history."""

    version: int
    at: str
    verdict: Verdict
    disposition: Disposition
    reasons: tuple[Reason, ...]
    run: str
    audit_sequence: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What all pages of a run share.

    `started` and `finished` are UTC as of `core.clock`. `biomarker` completes "the probability of ...".
    """

    run: str
    started: str
    finished: str | None
    software_version: str
    bundle: str
    bundle_digest: str
    encoder: str
    encoder_digest: str
    synthetic: bool
    n_passes: int
    biomarker: str = "an EGFR mutation"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecimenView:
    """All that a specimen's page shows.

    `strata` are sorted pairs such as (`site`, `north`). `expected_scans` is None where nobody said how many to expect.
    `policy` is the one that the decision was made under, `certificate` that of it which covers the specimen, None where
    none does.
    """

    pseudonym: str
    decision: Decision
    scans: tuple[ScanView, ...]
    run: RunFacts
    policy: SitePolicy
    certificate: Certificate | None = None
    strata: tuple[tuple[str, str], ...] = ()
    expected_scans: int | None = None
    decision_version: int = 1
    decided_at: str | None = None
    audit_sequence: int | None = None
    history: tuple[DecisionVersion, ...] = ()

    def scan_named(self, digest: str | None) -> str | None:
        """The pseudonym of the scan with this digest, None where the specimen has no such scan."""
        return next((scan.pseudonym for scan in self.scans if scan.digest == digest), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecimenLine:
    """One specimen in the index; `policy` is the digest of the one that it was decided under."""

    pseudonym: str
    verdict: Verdict
    disposition: Disposition
    reasons: tuple[Reason, ...]
    probability: float | None
    low: float | None
    high: float | None
    n_scans: int
    n_failed: int = 0
    strata: tuple[tuple[str, str], ...] = ()
    icon: str | None = None
    policy: str = ""

    @classmethod
    def of(cls, view: SpecimenView) -> "SpecimenLine":
        """The line of a specimen that has a page."""
        posterior = view.decision.posterior
        return cls(
            pseudonym=view.pseudonym,
            verdict=view.decision.verdict,
            disposition=view.decision.disposition,
            reasons=view.decision.reasons,
            probability=posterior.probability if posterior else None,
            low=posterior.low if posterior else None,
            high=posterior.high if posterior else None,
            n_scans=len(view.scans),
            n_failed=sum(scan.failure is not None for scan in view.scans),
            strata=view.strata,
            policy=view.decision.versions.policy,
            icon=next((icon for scan in view.scans if (icon := scan.images.icon or scan.images.thumbnail)), None),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureLine:
    """One failed scan in the index."""

    scan: str
    specimen: str
    failure: FailureView


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFile:
    """A file beside the index, as a path relative to the run's folder, and what is in it."""

    path: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """All that the index page shows.

    `rates` are pairs (label, text) such as (`Scans an hour`, `42`). `level` is that of every interval.
    `monitoring_page` is relative to the run's folder. `model_card` is plain text. `policy` is the run's and
    `policy_digest` the one recorded with it; `made_on` is the day (UTC, YYYY-MM-DD) that expiry is counted from.
    """

    run: RunFacts
    policy: SitePolicy
    policy_digest: str
    made_on: str
    lines: tuple[SpecimenLine, ...]
    failures: tuple[FailureLine, ...] = ()
    level: float = 0.9
    rates: tuple[tuple[str, str], ...] = ()
    files: tuple[ResultFile, ...] = ()
    monitoring_page: str | None = None
    model_card: str = ""

    @property
    def n_scans(self) -> int:
        """Scans of all specimens, failed ones included."""
        return sum(line.n_scans for line in self.lines)

    @property
    def n_answered(self) -> int:
        """Specimens with a probability."""
        return sum(line.probability is not None for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictCount:
    """How many specimens got a verdict, in all and by disposition."""

    verdict: Verdict
    n: int
    dispositions: tuple[tuple[Disposition, int], ...]


def verdict_counts(lines: Sequence[SpecimenLine]) -> list[VerdictCount]:
    """Every verdict with every disposition, also at none."""
    return [
        VerdictCount(
            verdict=verdict,
            n=sum(line.verdict is verdict for line in lines),
            dispositions=tuple(
                (one, sum(line.verdict is verdict and line.disposition is one for line in lines)) for one in Disposition
            ),
        )
        for verdict in Verdict
    ]


def reason_counts(lines: Sequence[SpecimenLine]) -> list[tuple[Reason, int]]:
    """How many specimens each reason holds back, most frequent first; reasons that no specimen has are left out."""
    counts = [(reason, sum(reason in line.reasons for line in lines)) for reason in Reason]
    return sorted(((reason, n) for reason, n in counts if n), key=lambda pair: -pair[1])


def failure_counts(failures: Sequence[FailureLine]) -> list[tuple[str, int]]:
    """How many scans failed with each code, most frequent first."""
    codes = sorted({line.failure.code for line in failures})
    return sorted(((code, sum(line.failure.code == code for line in failures)) for code in codes), key=lambda p: -p[1])
