"""What can go wrong with records, each with a stable code."""

from pellucid.core.errors import PellucidError


class RecordsUnavailable(PellucidError):
    """The records can't be opened: no file, no permission, or no database that this version can use."""

    code = "PEL-RECORD-001"
    remedy = "Check the path and that its folder can be written to, on a local disk; or that the server can be reached."


class RecordsNewer(PellucidError):
    """The records were written by a newer version of the software."""

    code = "PEL-RECORD-002"
    remedy = "Use the version of Pellucid that wrote them, or a later one."


class RecordsOlder(PellucidError):
    """The records have an older schema and may not be changed here."""

    code = "PEL-RECORD-003"
    remedy = "Open them once with a command that writes, such as `pellucid run`; it brings the schema up to date."


class RecordsLocked(PellucidError):
    """Another process held the database longer than the waiting time."""

    code = "PEL-RECORD-004"
    remedy = "Wait for the other process to end, or end it, and start the same command again."


class RecordsDamaged(PellucidError):
    """The database is none that can be read, or its pages are damaged."""

    code = "PEL-RECORD-005"
    remedy = "Restore it from a backup and run `pellucid audit verify`."


class RecordsRefused(PellucidError):
    """The database refused a change that breaks one of its rules; nothing was written."""

    code = "PEL-RECORD-006"
    remedy = "Report this with the message: the software asked for something inconsistent."


class LeaseLost(PellucidError):
    """The task was taken over by another worker, or is finished; nothing was written."""

    code = "PEL-RECORD-007"
    remedy = "Delete what this attempt produced and claim the next task."


class RunUnknown(PellucidError):
    """The run was never started in these records, or is named twice."""

    code = "PEL-RECORD-008"
    remedy = "Start the run first, under an identifier of its own."


class SpecimenUnknown(PellucidError):
    """The specimen was never registered in these records."""

    code = "PEL-RECORD-009"
    remedy = "Register the specimen with its case before its scans, tasks and decisions."


class SpecimenConflict(PellucidError):
    """One specimen is named under two cases or two patients."""

    code = "PEL-RECORD-010"
    remedy = "Give each specimen an identifier of its own in the cases table (case and part), or use other records."


class ValueUnrecordable(PellucidError):
    """A value can't be recorded exactly: not a finite number, or not plain JSON."""

    code = "PEL-RECORD-011"
    remedy = "Leave out what could not be measured, or record None for it."


class WorkerDied(PellucidError):
    """Each process that worked on a task, and on nothing else, died: the task is quarantined."""

    code = "PEL-RECORD-012"
    remedy = "Look at the scan and the worker's log (memory?); then requeue the task."


class HeadMalformed(PellucidError):
    """A noted head of the audit trail is not of the form SEQ:LEAF."""

    code = "PEL-RECORD-013"
    remedy = "Give the head as `pellucid audit verify` printed it: a number, a colon and 64 hexadecimal digits."


class Quarantined(PellucidError):
    """A task was taken out of the queue: it ended the processes that worked on it, or a person said so."""

    code = "PEL-RECORD-014"
    remedy = "Look at the scan and at the cause that is recorded with the task; then requeue it."


class DeltaSpent(PellucidError):
    """Certifications on some of these patients have spent the error chance (delta) that the site allows them."""

    code = "PEL-RECORD-015"
    remedy = "Certify on patients that no certification has used, or ask for a smaller delta."


class CertificationUnknown(PellucidError):
    """The certification was never entered in the account of these records."""

    code = "PEL-RECORD-016"
    remedy = "Spend its delta first, in the same records; a result without an entry counts for nothing."


class CertificationConflict(PellucidError):
    """An earlier certification has the same fingerprint but other patients or another delta."""

    code = "PEL-RECORD-017"
    remedy = "Let the fingerprint cover everything that decides the result: patients, delta, model, gates and targets."
