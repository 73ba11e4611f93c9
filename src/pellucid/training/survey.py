"""Before the work begins: whether a cohort can be trained on, and which of its scans can be used."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pellucid.domain.cohort import Cohort, ScanEntry, Split
from pellucid.domain.encoder import EncoderSpec
from pellucid.domain.grid import TileGrid
from pellucid.domain.scan import Scale
from pellucid.slides import (
    Slide,
    assess_quality,
    check_resolution,
    find_tissue,
    identify,
    lay_grid,
    open_slide,
    require_scale,
)
from pellucid.training.config import TrainingConfig
from pellucid.training.errors import CohortUntrainable, ScanUnfit, SlidesUnusable
from pellucid.training.scans import Progress, ScanLeftOut, each_scan

_SPLITS = (Split.TRAINING, Split.TUNING)
_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SurveyedScan:
    """A scan that can be used: where its tiles lie, and its numbers of stain and quality."""

    entry: ScanEntry
    label: int
    digest: str
    scale: Scale
    grid: TileGrid
    features: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Survey:
    """The usable scans of both splits, and those left out."""

    training: tuple[SurveyedScan, ...]
    tuning: tuple[SurveyedScan, ...]
    left_out: tuple[ScanLeftOut, ...]


def check_cohort(cohort: Cohort) -> None:
    """Check all that a table alone can tell.

    Raises:
        CohortUntrainable: lists every problem: an empty split, a missing or contradicting label, one class only, a
            patient in more than one split.
    """
    problems = [*_split_problems(cohort), *_label_problems(cohort), *_patient_problems(cohort)]
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise CohortUntrainable(
            f"The cohort {cohort.name!r} can't be trained on: {'; '.join(problems[:_SHOWN])}{more}.", problems=problems
        )


def survey(cohort: Cohort, spec: EncoderSpec, config: TrainingConfig, progress: Progress) -> Survey:
    """Open every training and tuning scan, lay its grid and judge its quality.

    A scan that can't be read, or that the quality gates would escalate, is left out and recorded: the model learns
    from, and is calibrated on, such scans as it will be allowed to answer.

    Raises:
        CohortUntrainable: see `check_cohort`; or one scan's bytes are in both splits.
        SlidesUnusable: more than `config.max_unusable` of the scans are left out, or a class is gone with them.
    """
    check_cohort(cohort)
    entries = [entry for split in _SPLITS for entry in cohort.in_split(split)]
    scans, left_out = each_scan(
        entries,
        lambda entry: survey_scan(entry, spec),
        entry_of=lambda entry: entry,
        stage="survey",
        workers=config.workers,
        progress=progress,
    )
    _require_distinct(scans)
    require_enough(scans, left_out, config)
    by_split = {split: tuple(scan for scan in scans if scan.entry.split is split) for split in _SPLITS}
    return Survey(training=by_split[Split.TRAINING], tuning=by_split[Split.TUNING], left_out=tuple(left_out))


def require_enough(scans: Sequence[SurveyedScan], left_out: Sequence[ScanLeftOut], config: TrainingConfig) -> None:
    """Check that enough scans of each class and split are left.

    Raises:
        SlidesUnusable: they are not; names the scans that are left out.
    """
    problems = []
    share = len(left_out) / max(1, len(scans) + len(left_out))
    if share > config.max_unusable:
        problems.append(f"{len(left_out)} of {len(scans) + len(left_out)} slides are unusable")
    present = {(scan.entry.split, scan.label) for scan in scans}
    problems += [
        f"no {split.value} slide with label {label} is left"
        for split in _SPLITS
        for label in (0, 1)
        if (split, label) not in present
    ]
    if problems:
        named = "; ".join(str(item) for item in left_out[:_SHOWN])
        raise SlidesUnusable(f"{'; '.join(problems)}. Left out: {named or 'none'}", left_out=len(left_out))


def survey_scan(entry: ScanEntry, spec: EncoderSpec) -> SurveyedScan:
    """Open one scan, which must have a label, lay its grid and judge its quality.

    Raises:
        ScanUnfit: the quality gates would escalate it.
        PellucidError: of the slides, where it can't be read or its scale isn't known.
    """
    assert entry.label is not None
    with open_slide(entry.path, mpp=entry.mpp, mpp_detail="cohort table") as slide:
        scale = require_scale(slide.info)
        check_resolution(scale, mpp=spec.mpp, tolerance=spec.mpp_tolerance)
        grid, features = _judge(slide, spec)
    return SurveyedScan(
        entry=entry,
        label=entry.label,
        digest=identify(entry.path).digest,
        scale=scale,
        grid=grid,
        features=features,
    )


def _judge(slide: Slide, spec: EncoderSpec) -> tuple[TileGrid, dict[str, float]]:
    tissue = find_tissue(slide)
    grid = lay_grid(slide.info, tissue, tile_px=spec.tile_px, mpp=spec.mpp)
    report = assess_quality(slide, tissue, grid)
    findings = report.quality.findings(scan="")
    if len(grid) == 0 or findings:
        reasons = "; ".join(finding.detail for finding in findings) or "no tile holds enough tissue"
        raise ScanUnfit(f"The scan is not fit to learn from: {reasons}.")
    return grid, report.features


def _split_problems(cohort: Cohort) -> Iterator[str]:
    for split in _SPLITS:
        if not cohort.in_split(split):
            yield f"no row is in the split {split.value}"


def _label_problems(cohort: Cohort) -> Iterator[str]:
    for split in _SPLITS:
        entries = cohort.in_split(split)
        for entry in entries:
            if entry.label is None:
                yield f"{_where(entry)} is in the split {split.value} and has no label"
        labels = {entry.label for entry in entries} - {None}
        if len(labels) == 1:
            yield f"every label of the split {split.value} is {labels.pop()}"
    for specimen, entries in cohort.specimens().items():
        if len({entry.label for entry in entries}) > 1:
            yield f"the scans of specimen {specimen} have different labels"


def _patient_problems(cohort: Cohort) -> Iterator[str]:
    splits = defaultdict(set)
    for entry in cohort.entries:
        if entry.split is not None:
            splits[entry.patient].add(entry.split.value)
    for patient, names in splits.items():
        if len(names) > 1:
            yield f"patient {patient} is in the splits {', '.join(sorted(names))}"


def _require_distinct(scans: Sequence[SurveyedScan]) -> None:
    counts = Counter(scan.digest for scan in scans)
    doubles = sorted(_where(scan.entry) for scan in scans if counts[scan.digest] > 1)
    if doubles:
        raise CohortUntrainable(f"The same scan is in the cohort more than once: {', '.join(doubles)}.")


def _where(entry: ScanEntry) -> str:
    return f"slide {entry.slide}" if entry.row is None else f"row {entry.row} (slide {entry.slide})"
