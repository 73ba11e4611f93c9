"""Pages and tables of an output folder, from its records; can be made again at any time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from pellucid.core.clock import utc_now
from pellucid.core.files import write_json
from pellucid.core.serial import to_plain
from pellucid.domain.reference import ReferenceProfile
from pellucid.exports import Belief, Licence, Origin, ScanRow, SpecimenRow, write_results
from pellucid.monitoring import MonitoringReport, monitor, policies_of
from pellucid.records import Records, Run, RunState, TaskState
from pellucid.reports.collect import Collection
from pellucid.reports.pages import write_index, write_monitoring_page, write_specimen_page
from pellucid.reports.views import FailureLine, ResultFile, RunView, ScanView, SpecimenLine, SpecimenView

_FILES = {
    "results.csv": "one row a specimen",
    "results.parquet": "the same, every bit of every number",
    "results.json": "specimens and scans together",
    "scans.csv": "one row a scan",
    "scans.parquet": "the same, every bit of every number",
    "monitoring.json": "the monitoring report for programs",
    "metrics.prom": "Prometheus metrics of the last run",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What was published: the index page and what it is made of."""

    index: Path
    specimens: tuple[SpecimenView, ...]
    monitoring: MonitoringReport


def publish(
    records: Records, folder: Path, *, reference: ReferenceProfile, model: str, model_card: str = ""
) -> Published:
    """Write a page for each decided specimen, the index, the monitoring page and the result tables.

    Args:
        records: the records of an output folder with at least one run.
        folder: that folder.
        reference: the reference profile of the bundle, for drift.
        model: the digest of the model it belongs to.
        model_card: what the bundle says of its model.

    Raises:
        StorageFull: no space is left; what was published before stays.
    """
    collection = Collection(records, folder)
    run = list(collection.runs.values())[-1]
    facts = collection.facts(run)
    views = collection.specimens()
    for view in views:
        write_specimen_page(folder, view)
    report = monitor(
        records.observations(),
        collection.decisions(),
        reference=reference,
        model=model,
        bundle=facts.bundle,
        synthetic=facts.synthetic,
        policies=policies_of(collection.runs.values()),
    )
    page = write_monitoring_page(folder, report)
    write_json(folder / "monitoring.json", to_plain(report))
    _write_tables(folder, views)
    index = write_index(
        folder,
        RunView(
            run=facts,
            policy=collection.policy(run),
            policy_digest=run.versions.policy,
            made_on=utc_now()[:10],
            lines=tuple(SpecimenLine.of(view) for view in views),
            failures=tuple(_failures(views)),
            rates=(*_waiting(records), *_rates(run)),
            files=tuple(ResultFile(path=name, description=text) for name, text in _FILES.items()),
            monitoring_page=page.name,
            model_card=model_card,
        ),
    )
    return Published(index=index, specimens=tuple(views), monitoring=report)


def _failures(views: Sequence[SpecimenView]) -> list[FailureLine]:
    return [
        FailureLine(scan=scan.pseudonym, specimen=view.pseudonym, failure=scan.failure)
        for view in views
        for scan in view.scans
        if scan.failure is not None
    ]


def _waiting(records: Records) -> tuple[tuple[str, str], ...]:
    counts = records.counts()
    waiting = counts[TaskState.QUEUED] + counts[TaskState.LEASED]
    return (("Scans not done yet", f"{waiting}: start the same run again"),) if waiting else ()


def _rates(run: Run) -> tuple[tuple[str, str], ...]:
    summary = run.summary or {}
    if run.state is RunState.RUNNING or not summary.get("seconds"):
        return ()
    hours = summary["seconds"] / 3600
    done = summary["scored"] + summary["failed"]
    return (
        ("Scans in this run", str(done)),
        ("Scans an hour", f"{done / hours:.0f}"),
        ("Tiles a second", f"{summary['tiles'] / summary['seconds']:.0f}"),
    )


def _write_tables(folder: Path, views: Sequence[SpecimenView]) -> None:
    write_results(
        folder,
        [_specimen_row(view) for view in views],
        [_scan_row(view, scan) for view in views for scan in view.scans],
    )


def _origin(view: SpecimenView) -> Origin:
    return Origin(
        run=view.run.run,
        bundle=view.run.bundle,
        bundle_digest=view.run.bundle_digest,
        synthetic=view.run.synthetic,
        versions=view.decision.versions,
    )


def _specimen_row(view: SpecimenView) -> SpecimenRow:
    return SpecimenRow.of(
        view.decision,
        pseudonym=view.pseudonym,
        origin=_origin(view),
        n_scans=len(view.scans),
        n_scans_failed=sum(scan.failure is not None for scan in view.scans),
        strata=dict(view.strata),
        decided_at=view.decided_at,
        decision_version=view.decision_version,
        audit_sequence=view.audit_sequence,
        licence=Licence.of(view.policy, view.certificate),
    )


def _scan_row(view: SpecimenView, scan: ScanView) -> ScanRow:
    info, quality, failure = scan.info, scan.quality, scan.failure
    scale = None if info is None else info.scale
    measures = () if quality is None else quality.measures
    return ScanRow(
        scan=scan.pseudonym,
        specimen=view.pseudonym,
        scan_digest=scan.digest,
        belief=Belief.of(scan.posterior),
        origin=_origin(view),
        width=None if info is None else info.width,
        height=None if info is None else info.height,
        mpp=None if scale is None else scale.mpp,
        mpp_source=None if scale is None else scale.source.value,
        objective_power=None if info is None else info.objective_power,
        scanner=None if info is None else info.scanner,
        vendor=None if info is None else info.vendor,
        reader=None if info is None else info.reader,
        n_tiles=scan.n_tiles,
        n_unreadable=scan.n_unreadable,
        distance=scan.distance,
        quality={measure.name: measure.value for measure in measures},
        quality_missed=tuple(measure.name for measure in measures if not measure.passed),
        timings=scan.timings,
        error=None if failure is None else failure.code,
        error_sentence=None if failure is None else failure.sentence,
        error_remedy=None if failure is None else failure.remedy,
        tumour_share=scan.tumour_share,
        deterministic_logit=scan.deterministic_logit,
        ensemble_mean_logit=fmean(scan.ensemble_logits) if scan.ensemble_logits else None,
    )
