"""What goes into records and comes out: frozen, plain, without a trace of the database."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from pellucid.domain.decision import Decision, Versions
from pellucid.domain.observation import Observation
from pellucid.domain.posterior import Posterior
from pellucid.domain.quality import Quality
from pellucid.domain.reasons import Finding
from pellucid.domain.scan import ScanInfo

PseudonymKind = Literal["specimen", "case", "scan"]


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Action(StrEnum):
    """Everything that the audit trail can tell: a closed set."""

    SITE_CREATE = "site.create"
    RUN_START = "run.start"
    RUN_FINISH = "run.finish"
    SPECIMEN_REGISTER = "specimen.register"
    SCAN_REGISTER = "slide.ingest"
    SCAN_CONFLICT = "slide.conflict"
    SCAN_WITHDRAW = "slide.withdraw"
    TASK_RETRY = "task.retry"
    TASK_REQUEUE = "task.requeue"
    TASK_QUARANTINE = "task.quarantine"
    TASK_PRIORITISE = "task.prioritise"
    QUEUE_PAUSE = "queue.pause"
    QUEUE_RESUME = "queue.resume"
    PREDICT = "predict"
    PREDICT_FAIL = "predict.fail"
    DECIDE = "triage.decide"
    MODEL_DEPLOY = "model.deploy"
    POLICY_ACTIVATE = "policy.activate"
    CERTIFY = "threshold.certify"
    CERTIFIED = "threshold.certified"
    CONFIG_CHANGE = "config.change"
    IDENTITY_LOOKUP = "identity.lookup"
    EXPORT = "export"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One start of the main job. `summary` is None while it runs."""

    run_id: str
    purpose: str
    state: RunState
    versions: Versions
    settings: dict[str, Any]
    command: str
    started_at: str
    finished_at: str | None
    summary: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """A specimen as registered. `expected` are the keys of the tasks that its decision waits for.

    `n_expected` says how many scans will come in all, None where those named are all; `deadline` (seconds since 1970,
    by the database's clock) until when those that are missing are waited for, None for ever. `overdue`: the deadline
    passed and scans are still missing.
    """

    specimen: str
    case: str
    patient: str
    strata: dict[str, str]
    expected: tuple[str, ...]
    n_expected: int | None = None
    deadline: float | None = None
    overdue: bool = False

    @property
    def n_missing(self) -> int:
        """How many scans are still to come."""
        return max(0, (self.n_expected or 0) - len(self.expected))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRow:
    """A scan and where it is filed. `digest` is the scan digest; `path` is where it was read."""

    digest: str
    specimen: str
    block: str
    slide: str
    path: str
    size_bytes: int
    n_files: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityConflict:
    """One scan digest that is filed under more than one case: the specimens concerned, all held."""

    digest: str
    specimens: tuple[str, ...]
    cases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """What a finished task answered.

    `logits` are the raw logits of each pass, bit by bit as computed; empty, with `posterior` None, for a scan that
    could be read but gave no answer. `artefacts` maps a file, relative to the run's folder, to its SHA-256.
    `versions` are those of the run.
    """

    task_key: str
    specimen: str
    scan: str
    run: str
    at: str
    logits: tuple[float, ...]
    posterior: Posterior | None
    quality: Quality | None
    info: ScanInfo | None
    findings: tuple[Finding, ...]
    n_tiles: int
    n_unreadable: int
    artefacts: dict[str, str]
    versions: Versions
    observation: Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDecision:
    """A decision as recorded: the `version`th for its specimen, counted from 1."""

    decision: Decision
    version: int
    run: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificationEntry:
    """One certification in the account of delta.

    Attributes:
        seq: the number of the audit event that opened it.
        at: when.
        actor: who.
        fingerprint: what tells this attempt from others.
        delta: what it spent.
        budget: what may be spent in all on any of its patients.
        patients: digests of its patients under the site's salt, sorted.
        details: what was to be certified, as its caller told it.
        policy: the digest of the policy that came of it; None where it ended without one, or hasn't ended.
        summary: what came of it; None where it hasn't ended.
        concluded_at: when it ended; None where it hasn't.
    """

    seq: int
    at: str
    actor: str
    fingerprint: str
    delta: float
    budget: float
    patients: tuple[str, ...]
    details: dict[str, Any]
    policy: str | None = None
    summary: dict[str, Any] | None = None
    concluded_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One event of the trail. `payload` are its canonical bytes as hashed; `prev` and `leaf` 64 hexadecimal digits."""

    seq: int
    prev: str
    leaf: str
    payload: bytes
    content: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditProblem:
    """One thing that is not as the software wrote it. `seq` is the first event concerned, None for the whole trail."""

    seq: int | None
    kind: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHead:
    """The last event's number and leaf, to be noted outside the database."""

    seq: int
    leaf: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.leaf}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What a verification found. `problems` are ordered by event; none means that all checks passed."""

    n_events: int
    n_rows: int
    head: AuditHead
    problems: tuple[AuditProblem, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return not self.problems
