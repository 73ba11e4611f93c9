"""Ways in which a scan ends without an answer, and in which an engine can't go on."""

import importlib

from pellucid.core.errors import PellucidError, known_errors
from pellucid.domain.reasons import Reason


class ScanUnanswerable(PellucidError):
    """A scan that could be opened and looked at, but gives no answer; every gate that fails is listed."""

    reason: Reason


class NoTissue(ScanUnanswerable):
    """No tile of the scan holds enough tissue."""

    code = "PEL-RUN-001"
    reason = Reason.TOO_LITTLE_TISSUE
    remedy = "Look at the overlay of `pellucid slide tiles`; re-scan, or take another section of the block."


class NothingReadable(ScanUnanswerable):
    """No tile of the scan could be decoded."""

    code = "PEL-RUN-002"
    reason = Reason.UNREADABLE_TILES
    remedy = "Copy the file again from its source, or re-scan the glass slide."


class UnexpectedFailure(PellucidError):
    """A fault in Pellucid, met on one scan; the run went on."""

    code = "PEL-RUN-005"
    remedy = "The traceback is in the run's log. Please report it; `pellucid run --retry-failed` tries again."


class ProcessesDie(PellucidError):
    """The engine's processes can't be started, or end before they are ready, again and again."""

    code = "PEL-ENGINE-010"
    remedy = "The run's log has their last lines. Check memory, the installation (`pellucid doctor`) and the bundle."


class OutputGone(PellucidError):
    """The place that embeddings or results go to can't be written to at the moment."""

    code = "PEL-ENGINE-011"
    remedy = "Bring the disk or share back; the run goes on by itself."


class LeaseGone(PellucidError):
    """Another worker took a scan over; what this one did of it counts for nothing."""

    code = "PEL-ENGINE-012"
    remedy = "Nothing is to be done: the other worker sees the scan to its end."


class StorageHangs(PellucidError):
    """Processes hang in the system: the storage of the scans, or an accelerator's driver, doesn't answer."""

    code = "PEL-ENGINE-013"
    remedy = "Bring the share or disk that holds the scans back; the run goes on by itself."


_ROOMS = ("slides", "encoders", "uncertainty", "bundle")


def error_of(code: str, message: str, remedy: str | None) -> PellucidError:
    """The coded error that another process met; an unexpected failure where the code is unknown or empty."""
    kinds = known_errors()
    if code and code not in kinds:
        for room in _ROOMS:
            importlib.import_module(f"pellucid.{room}.errors")
        kinds = known_errors()
    kind = kinds.get(code)
    return UnexpectedFailure(message) if kind is None else kind(message, remedy=remedy)
