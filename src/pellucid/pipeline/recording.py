"""How a scan ends in the records: its answer, why there is none, or its quarantine; and what it leaves on disk."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.core.clock import utc_now
from pellucid.core.errors import PellucidError
from pellucid.core.serial import to_plain
from pellucid.core.telemetry import logs
from pellucid.core.telemetry.metrics import ScanMetrics
from pellucid.core.telemetry.trace import TRACE_NAME, Trace
from pellucid.domain.decision import Versions
from pellucid.domain.observation import Observation
from pellucid.domain.posterior import Posterior
from pellucid.domain.reasons import Finding, Reason
from pellucid.engine.ends import ScanUnanswerable
from pellucid.engine.ledger import Account, Answer, Seen
from pellucid.pipeline.artefacts import ATTENTION, write_attention, write_bag_of, write_pictures, writing
from pellucid.pipeline.decisions import gates_of, scan_findings
from pellucid.pipeline.errors import IdentityConflict, ScanQuarantined
from pellucid.records import ClaimedTask, Records
from pellucid.statistics.posterior import summarise
from pellucid.statistics.reference import distance
from pellucid.triage import ScanEvidence

if TYPE_CHECKING:
    from pellucid.pipeline.models import Model

SCANS = "scans"
BAGS = "bags"
_SHORTEST_NAME = 4  # a shorter one could be part of any word of the message


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a task ended: with a probability, with embeddings alone, or with an error code."""

    probability: float | None = None
    code: str | None = None
    n_tiles: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noted:
    """The part of an observation that depends on how the scan ended."""

    seconds: Mapping[str, float]
    circumstances: Mapping[str, str]
    findings: tuple[Finding, ...]
    seen: Seen | None = None
    posterior: Posterior | None = None
    distance: float | None = None
    components: tuple[float, ...] = ()
    error: str | None = None
    deterministic_logit: float | None = None
    ensemble_logits: tuple[float, ...] = ()
    tumour_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Records scans under one bundle, for one run."""

    records: Records
    bundle: "Model"
    out: Path
    run_id: str
    versions: Versions
    purpose: str
    metrics: ScanMetrics
    keep_bags: bool = False
    bags: Path | None = None

    def folder_of(self, task: ClaimedTask) -> Path:
        """Where a scan's files go, within the output folder: one answer's never overwrite another's."""
        return Path(SCANS) / self.records.pseudonym("scan", scan_of(task)) / task.key[:12]

    def answered(self, task: ClaimedTask, answer: Answer) -> Outcome:
        """A scan's posterior, or its bag where the engine ended with embeddings.

        Raises:
            StorageFull, OutputUnusable: the output folder takes no more.
            RecordsDamaged, RecordsLocked, RecordsUnavailable: the database takes no more.
            LeaseLost: another worker has the task. In each case nothing is recorded.
        """
        files = self._keep(task, answer)
        posterior, away, components = self._believed(answer)
        evidence = ScanEvidence(
            scan=scan_of(task),
            logits=None if posterior is None else posterior.logits,
            quality=answer.seen.quality,
            distance=away,
            synthetic=answer.seen.info.synthetic,
            failure=None,
            tumour_share=self._tumour_share(answer),
        )
        findings = scan_findings(evidence, gates_of(self.bundle))
        passes = answer.passes
        noted = _Noted(
            seconds=answer.seconds,
            circumstances=answer.circumstances,
            findings=findings,
            seen=answer.seen,
            posterior=posterior,
            distance=away,
            components=components,
            deterministic_logit=None if passes is None else passes.dropout_free_logit,
            ensemble_logits=() if passes is None else tuple(passes.ensemble_logits.tolist()),
            tumour_share=evidence.tumour_share,
        )
        self.records.complete(
            task,
            observation=self._observation(task, noted),
            logits=() if posterior is None else posterior.logits,
            posterior=posterior,
            findings=findings,
            artefacts=files,
            **_of(answer.seen),
        )
        self._count(answer, posterior)
        return Outcome(probability=None if posterior is None else posterior.probability, n_tiles=answer.seen.n_tiles)

    def unanswered(self, task: ClaimedTask, error: PellucidError, account: Account) -> Outcome:
        """A scan that was looked at but gives no answer is finished, with what was seen and why; others failed."""
        if account.seen is None or not isinstance(error, ScanUnanswerable):
            return self._failed(task, error, account)
        self._keep_trace(task, account.trace)
        seen, folder = account.seen, self.folder_of(task)
        with writing(self.out):
            pictures = write_pictures(self.out / folder, seen.pictures)
        looked = ScanEvidence(
            scan=scan_of(task),
            logits=None,
            quality=seen.quality,
            distance=None,
            synthetic=seen.info.synthetic,
            failure=None,
        )
        findings = (
            Finding(reason=error.reason, detail=error.message, scan=scan_of(task), code=error.code),
            *scan_findings(looked, gates_of(self.bundle)),
        )
        noted = _Noted(
            seconds=account.seconds,
            circumstances=account.circumstances,
            findings=findings,
            seen=seen,
            error=error.code,
        )
        self.records.complete(
            task,
            observation=self._observation(task, noted),
            findings=findings,
            artefacts={(folder / name).as_posix(): digest for name, digest in pictures.items()},
            **_of(seen),
        )
        self._count_failure(error.code, error.message)
        return Outcome(code=error.code, n_tiles=seen.n_tiles)

    def quarantined(self, task: ClaimedTask, cause: str, account: Account) -> Outcome:
        """A scan that ended its process each time it was alone is kept apart until somebody looks at it."""
        self._keep_trace(task, account.trace)
        error = ScanQuarantined(cause)
        finding = Finding(reason=Reason.PROCESSING_FAILED, detail=cause, scan=scan_of(task), code=error.code)
        noted = _Noted(
            seconds=account.seconds, circumstances=account.circumstances, findings=(finding,), error=error.code
        )
        self.records.quarantine(task, cause, observation=self._observation(task, noted))
        self._count_failure(error.code, cause)
        return Outcome(code=error.code)

    def _failed(self, task: ClaimedTask, error: PellucidError, account: Account) -> Outcome:
        self._keep_trace(task, account.trace)
        reason = Reason.IDENTITY_CONFLICT if isinstance(error, IdentityConflict) else Reason.PROCESSING_FAILED
        message = unnamed(error.message, Path(task.payload["path"]))
        finding = Finding(reason=reason, detail=message, scan=scan_of(task), code=error.code)
        noted = _Noted(
            seconds=account.seconds, circumstances=account.circumstances, findings=(finding,), error=error.code
        )
        self.records.fail(task, code=error.code, message=message, observation=self._observation(task, noted))
        self._count_failure(error.code, message)
        return Outcome(code=error.code)

    def _keep(self, task: ClaimedTask, answer: Answer) -> dict[str, str]:
        """Write the scan's files; their digests by path within the output folder."""
        folder = self.folder_of(task)
        with writing(self.out):
            digests = write_pictures(self.out / folder, answer.seen.pictures)
            if answer.passes is not None:
                digests[ATTENTION] = write_attention(self.out / folder / ATTENTION, answer.grid, answer.passes)
            if self.keep_bags:
                write_bag_of(
                    self.bags or self.out / BAGS, answer, scan=scan_of(task), key=task.key, spec=self.bundle.spec
                )
        self._keep_trace(task, answer.trace)
        return {(folder / name).as_posix(): digest for name, digest in digests.items()}

    def _keep_trace(self, task: ClaimedTask, trace: Trace | None) -> None:
        """Write where the scan's time went. It is no part of the answer: one that can't be written costs nothing."""
        if trace is None or not trace.spans:
            return
        trace.run_id = self.run_id
        try:
            with writing(self.out):
                trace.write(self.out / self.folder_of(task) / TRACE_NAME)
        except PellucidError as error:
            logs.get_logger("pipeline").warning("trace can't be written", code=error.code)

    def _believed(self, answer: Answer) -> tuple[Posterior | None, float | None, tuple[float, ...]]:
        if answer.passes is None:
            return None, None, ()
        calibration = self.bundle.calibration
        posterior = summarise(
            answer.passes.logits, temperature=calibration.temperature, n_scans=1, level=calibration.level
        )
        away, components = distance(self.bundle.reference, answer.passes.embedding)
        return posterior, away, tuple(float(value) for value in components)

    def _tumour_share(self, answer: Answer) -> float | None:
        """The share of the read tiles that the tumour head calls tumour."""
        head, tumour = self.bundle.tumour, None if answer.passes is None else answer.passes.tumour
        if head is None or tumour is None or not len(tumour):
            return None
        return float((tumour >= head.threshold).mean())

    def _count(self, answer: Answer, posterior: Posterior | None) -> None:
        seen = answer.seen
        self.metrics.slide_completed(answer.seconds)
        if posterior is not None:
            self.metrics.answered(posterior.probability, posterior.sd_logit)
        self.metrics.count_tiles("read", seen.n_tiles)
        self.metrics.count_tiles("unreadable", seen.n_unreadable)
        self.metrics.count_tiles("encoded", seen.n_tiles - seen.n_unreadable)
        logs.get_logger("pipeline").info(
            "scan scored" if posterior is not None else "scan embedded",
            probability=None if posterior is None else posterior.probability,
            sd_logit=None if posterior is None else posterior.sd_logit,
            tiles=seen.n_tiles,
            reader=seen.info.reader,
            seconds=round(sum(answer.seconds.values()), 3),
            **answer.circumstances,
        )

    def _count_failure(self, code: str, message: str) -> None:
        self.metrics.slide_failed(code)
        logs.get_logger("pipeline").warning("scan failed", code=code, reason=message)

    def _observation(self, task: ClaimedTask, noted: _Noted) -> Observation:
        seen, posterior = noted.seen, noted.posterior
        info = None if seen is None else seen.info
        scale = None if info is None else info.scale
        return Observation(
            scan=scan_of(task),
            specimen=task.specimen,
            run=self.run_id,
            at=utc_now(),
            purpose=self.purpose,
            scanner=None if info is None else info.scanner,
            strata=self.records.specimen(task.specimen).strata,
            mpp=None if scale is None else scale.mpp,
            mpp_source=None if scale is None else to_plain(scale.source),
            n_tiles=0 if seen is None else seen.n_tiles,
            features={} if seen is None else {n: value for n, value in seen.features.items() if math.isfinite(value)},
            embedding=noted.components,
            distance=noted.distance,
            mean_logit=None if posterior is None else posterior.mean_logit,
            sd_logit=None if posterior is None else posterior.sd_logit,
            probability=None if posterior is None else posterior.probability,
            mutual_information=None if posterior is None else posterior.mutual_information,
            reasons=tuple(dict.fromkeys(finding.reason.value for finding in noted.findings)),
            error=noted.error,
            timings={stage: round(seconds, 6) for stage, seconds in noted.seconds.items()},
            model=self.versions.model,
            policy=self.versions.policy,
            software=self.versions.software,
            circumstances=dict(noted.circumstances),
            deterministic_logit=noted.deterministic_logit,
            ensemble_logits=noted.ensemble_logits,
            tumour_share=noted.tumour_share,
        )


def _of(seen: Seen) -> dict[str, Any]:
    return {"quality": seen.quality, "info": seen.info, "n_tiles": seen.n_tiles, "n_unreadable": seen.n_unreadable}


def scan_of(task: ClaimedTask) -> str:
    """The scan's digest; of a file that was never read, the key of its task."""
    return task.scan_digest or task.key


def unnamed(message: str, path: Path) -> str:
    """The message without the file's name, which may be a patient's."""
    for name in (str(path), path.name) if len(path.name) >= _SHORTEST_NAME else (str(path),):
        message = message.replace(name, "the file")
    return message[:1].upper() + message[1:]
