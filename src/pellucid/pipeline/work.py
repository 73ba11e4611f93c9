"""One task: score the scan, keep what it leaves, and record how it ended."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.core.clock import utc_now
from pellucid.core.errors import PellucidError, StorageFull
from pellucid.core.serial import to_plain
from pellucid.core.telemetry import logs
from pellucid.core.telemetry.metrics import ScanMetrics
from pellucid.domain.decision import Versions
from pellucid.domain.observation import Observation
from pellucid.domain.reasons import Finding, Reason
from pellucid.domain.scan import ScanInfo
from pellucid.pipeline.artefacts import write_artefacts, write_bag_of, write_pictures, writing
from pellucid.pipeline.decisions import gates_of, scan_findings
from pellucid.pipeline.errors import (
    IdentityConflict,
    OutputUnusable,
    ScanUnanswerable,
    TaskSuperseded,
    UnexpectedFailure,
)
from pellucid.pipeline.intake import identify_file
from pellucid.pipeline.scan import ScoredScan, Stopwatch, TileProgress, score
from pellucid.records import (
    ClaimedTask,
    LeaseLost,
    Records,
    RecordsDamaged,
    RecordsLocked,
    RecordsUnavailable,
)
from pellucid.triage import ScanEvidence

if TYPE_CHECKING:
    from pellucid.bundle import Bundle

SCANS = "scans"
BAGS = "bags"
_SHORTEST_NAME = 4  # a shorter one could be part of any word of the message
_ENDS_THE_RUN = (StorageFull, OutputUnusable, RecordsDamaged, RecordsLocked, RecordsUnavailable)
"""Errors of the place that results go to: the next scan would meet them too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a task ended: with a probability, or with an error code."""

    probability: float | None
    code: str | None
    n_tiles: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Does tasks under one bundle.

    `errors` holds, by task key, why a file could not be read at intake; `wanted` the keys that this run asks for.
    """

    records: Records
    bundle: "Bundle"
    out: Path
    run_id: str
    versions: Versions
    purpose: str
    metrics: ScanMetrics
    errors: Mapping[str, PellucidError] = field(default_factory=dict)
    keep_bags: bool = False
    wanted: frozenset[str] = frozenset()

    def pseudonym(self, task: ClaimedTask) -> str:
        """The scan's pseudonym, which names its folder, its log lines and its place on pages."""
        return self.records.pseudonym("scan", task.scan_digest or task.key)

    def carry_out(self, task: ClaimedTask, progress: TileProgress) -> Outcome:
        """Do a task to its recorded end.

        Raises:
            StorageFull, OutputUnusable: the output folder takes no more.
            RecordsDamaged, RecordsLocked, RecordsUnavailable: the database takes no more.
            LeaseLost: another worker has the task.

            In each case nothing is recorded of the task.
        """
        watch = Stopwatch()
        try:
            return self._answer(task, progress, watch)
        except (*_ENDS_THE_RUN, LeaseLost):
            raise
        except PellucidError as error:
            return self._failed(task, error, watch)
        except Exception as error:  # noqa: BLE001 - a fault met on one slide must not end the run of the others
            logs.get_logger("pipeline").error("unexpected failure", exc_info=error)
            return self._failed(task, UnexpectedFailure(f"{type(error).__name__} while processing the scan."), watch)

    def _answer(self, task: ClaimedTask, progress: TileProgress, watch: Stopwatch) -> Outcome:
        self._refuse_superseded(task)
        self._refuse_unreadable(task)
        self._refuse_conflict(task)
        try:
            scored = score(
                Path(task.payload["path"]), self.bundle, mpp=task.payload["mpp"], progress=progress, watch=watch
            )
        except ScanUnanswerable as error:
            return self._unanswered(task, error, watch)
        return self._scored(task, scored, watch)

    def _refuse_superseded(self, task: ClaimedTask) -> None:
        """Refuse what an earlier table asked for and the latest one doesn't, such as a scale since corrected."""
        if task.key not in self.records.specimen(task.specimen).expected and task.key not in self.wanted:
            raise TaskSuperseded("A later table no longer asks for this scan, or asks for it at another scale.")

    def _refuse_unreadable(self, task: ClaimedTask) -> None:
        """Refuse what was never hashed: its bytes could be anybody's."""
        if task.key in self.errors:
            raise self.errors[task.key]
        if task.scan_digest is None:
            identify_file(Path(task.payload["path"]))
            raise UnexpectedFailure(
                "The file could not be read when its table was run.", remedy="Run that table again: it is read anew."
            )

    def _refuse_conflict(self, task: ClaimedTask) -> None:
        for conflict in self.records.identity_conflicts(task.scan_digest):
            raise IdentityConflict(f"The same scan is filed under {len(conflict.cases)} cases.")

    def _folder(self, task: ClaimedTask) -> Path:
        """Where a scan's pictures go, within the output folder: one answer's never overwrite another's."""
        return Path(SCANS) / self.pseudonym(task) / task.key[:12]

    def _scored(self, task: ClaimedTask, scored: ScoredScan, watch: Stopwatch) -> Outcome:
        with watch.stage("artefacts"):
            folder = self._folder(task)
            with writing(self.out):
                digests = write_artefacts(self.out / folder, scored)
                if self.keep_bags:
                    write_bag_of(self.out / BAGS, scored, scan=task.scan_digest or task.key, bundle=self.bundle)
        evidence = ScanEvidence(
            scan=task.scan_digest or task.key,
            logits=scored.posterior.logits,
            quality=scored.quality,
            distance=scored.distance,
            synthetic=scored.info.synthetic,
            failure=None,
        )
        findings = scan_findings(evidence, gates_of(self.bundle))
        observation = self._observation(
            task,
            info=scored.info,
            watch=watch,
            seen=scored.seen,
            findings=findings,
            scored=scored,
            n_tiles=scored.n_tiles,
        )
        self.records.complete(
            task,
            observation=observation,
            logits=scored.posterior.logits,
            posterior=scored.posterior,
            quality=scored.quality,
            info=scored.info,
            findings=findings,
            n_tiles=scored.n_tiles,
            n_unreadable=scored.n_unreadable,
            artefacts={(folder / name).as_posix(): digest for name, digest in digests.items()},
        )
        self._count(scored, watch)
        return Outcome(probability=scored.posterior.probability, code=None, n_tiles=scored.n_tiles)

    def _count(self, scored: ScoredScan, watch: Stopwatch) -> None:
        self.metrics.slide_completed(watch.seconds)
        self.metrics.answered(scored.posterior.probability, scored.posterior.sd_logit)
        self.metrics.count_tiles("read", scored.n_tiles)
        self.metrics.count_tiles("unreadable", scored.n_unreadable)
        self.metrics.count_tiles("encoded", scored.n_tiles - scored.n_unreadable)
        logs.get_logger("pipeline").info(
            "scan scored",
            probability=scored.posterior.probability,
            sd_logit=scored.posterior.sd_logit,
            tiles=scored.n_tiles,
            seconds=round(sum(watch.seconds.values()), 3),
        )

    def _unanswered(self, task: ClaimedTask, error: ScanUnanswerable, watch: Stopwatch) -> Outcome:
        """A scan that was looked at but gives no answer is finished, with what was seen and why."""
        seen, scan = error.seen, task.scan_digest or task.key
        folder = self._folder(task)
        with writing(self.out):
            pictures = write_pictures(self.out / folder, seen.pictures)
        findings = (
            Finding(reason=error.reason, detail=error.message, scan=scan, code=error.code),
            *scan_findings(
                ScanEvidence(
                    scan=scan,
                    logits=None,
                    quality=seen.quality,
                    distance=None,
                    synthetic=seen.info.synthetic,
                    failure=None,
                ),
                gates_of(self.bundle),
            ),
        )
        observation = self._observation(
            task,
            info=seen.info,
            watch=watch,
            seen=seen.features,
            findings=findings,
            error=error.code,
            n_tiles=seen.n_tiles,
        )
        self.records.complete(
            task,
            observation=observation,
            quality=seen.quality,
            info=seen.info,
            findings=findings,
            n_tiles=seen.n_tiles,
            n_unreadable=seen.n_unreadable,
            artefacts={(folder / path.name).as_posix(): digest for path, digest in pictures.items()},
        )
        self._count_failure(error.code, error.message)
        return Outcome(probability=None, code=error.code)

    def _failed(self, task: ClaimedTask, error: PellucidError, watch: Stopwatch) -> Outcome:
        reason = Reason.IDENTITY_CONFLICT if isinstance(error, IdentityConflict) else Reason.PROCESSING_FAILED
        message = _unnamed(error.message, Path(task.payload["path"]))
        finding = Finding(reason=reason, detail=message, scan=task.scan_digest or task.key, code=error.code)
        observation = self._observation(task, info=None, watch=watch, findings=(finding,), error=error.code)
        self.records.fail(task, code=error.code, message=message, observation=observation)
        self._count_failure(error.code, message)
        return Outcome(probability=None, code=error.code)

    def _count_failure(self, code: str, message: str) -> None:
        self.metrics.slide_failed(code)
        logs.get_logger("pipeline").warning("scan failed", code=code, reason=message)

    def _observation(
        self,
        task: ClaimedTask,
        *,
        info: ScanInfo | None,
        watch: Stopwatch,
        findings: tuple[Finding, ...],
        seen: Mapping[str, float] | None = None,
        scored: ScoredScan | None = None,
        error: str | None = None,
        n_tiles: int = 0,
    ) -> Observation:
        scale = None if info is None else info.scale
        posterior = None if scored is None else scored.posterior
        return Observation(
            scan=task.scan_digest or task.key,
            specimen=task.specimen,
            run=self.run_id,
            at=utc_now(),
            purpose=self.purpose,
            scanner=None if info is None else info.scanner,
            strata=self.records.specimen(task.specimen).strata,
            mpp=None if scale is None else scale.mpp,
            mpp_source=None if scale is None else to_plain(scale.source),
            n_tiles=n_tiles,
            features={name: value for name, value in (seen or {}).items() if math.isfinite(value)},
            embedding=() if scored is None else scored.components,
            distance=None if scored is None else scored.distance,
            mean_logit=None if posterior is None else posterior.mean_logit,
            sd_logit=None if posterior is None else posterior.sd_logit,
            probability=None if posterior is None else posterior.probability,
            mutual_information=None if posterior is None else posterior.mutual_information,
            reasons=tuple(dict.fromkeys(finding.reason.value for finding in findings)),
            error=error,
            timings={stage: round(seconds, 6) for stage, seconds in watch.seconds.items()},
            model=self.versions.model,
            policy=self.versions.policy,
            software=self.versions.software,
        )


def _unnamed(message: str, path: Path) -> str:
    """The message without the file's name, which may be a patient's."""
    for name in (str(path), path.name) if len(path.name) >= _SHORTEST_NAME else (str(path),):
        message = message.replace(name, "the file")
    return message[:1].upper() + message[1:]
