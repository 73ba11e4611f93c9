"""Floor 1: what happened, kept: queue, results, observations, decisions and the audit trail. Never imports torch."""

from typing import TYPE_CHECKING, Any

from pellucid.records.errors import (
    CertificationConflict,
    CertificationUnknown,
    DeltaSpent,
    HeadMalformed,
    LeaseLost,
    Quarantined,
    RecordsDamaged,
    RecordsLocked,
    RecordsNewer,
    RecordsOlder,
    RecordsRefused,
    RecordsUnavailable,
    RunUnknown,
    SpecimenConflict,
    SpecimenUnknown,
    ValueUnrecordable,
    WorkerDied,
)
from pellucid.records.owners import is_dead, process_owner
from pellucid.records.task_types import (
    STAT_PRIORITY,
    ClaimedTask,
    EnqueueResult,
    NewTask,
    Pause,
    QueueSummary,
    Task,
    TaskState,
)
from pellucid.records.types import (
    Action,
    AuditEvent,
    AuditHead,
    AuditProblem,
    AuditReport,
    CertificationEntry,
    IdentityConflict,
    PseudonymKind,
    RecordedDecision,
    Run,
    RunState,
    ScanResult,
    ScanRow,
    Specimen,
)
from pellucid.records.values import task_key

if TYPE_CHECKING:
    from pellucid.records.opening import DATABASE_NAME, open_records
    from pellucid.records.records import Records
    from pellucid.records.verification import LIMITS, parse_head

__all__ = [
    "DATABASE_NAME",
    "LIMITS",
    "STAT_PRIORITY",
    "Action",
    "AuditEvent",
    "AuditHead",
    "AuditProblem",
    "AuditReport",
    "CertificationConflict",
    "CertificationEntry",
    "CertificationUnknown",
    "ClaimedTask",
    "DeltaSpent",
    "EnqueueResult",
    "HeadMalformed",
    "IdentityConflict",
    "LeaseLost",
    "NewTask",
    "Pause",
    "PseudonymKind",
    "Quarantined",
    "QueueSummary",
    "RecordedDecision",
    "Records",
    "RecordsDamaged",
    "RecordsLocked",
    "RecordsNewer",
    "RecordsOlder",
    "RecordsRefused",
    "RecordsUnavailable",
    "Run",
    "RunState",
    "RunUnknown",
    "ScanResult",
    "ScanRow",
    "Specimen",
    "SpecimenConflict",
    "SpecimenUnknown",
    "Task",
    "TaskState",
    "ValueUnrecordable",
    "WorkerDied",
    "is_dead",
    "open_records",
    "parse_head",
    "process_owner",
    "task_key",
]

# SQLAlchemy takes a third of a second to import, which `pellucid --help` doesn't have.
_LAZY = {
    "DATABASE_NAME": "pellucid.records.opening",
    "open_records": "pellucid.records.opening",
    "Records": "pellucid.records.records",
    "LIMITS": "pellucid.records.verification",
    "parse_head": "pellucid.records.verification",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
