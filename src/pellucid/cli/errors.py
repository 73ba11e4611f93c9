"""Ways in which a question at the command line has no answer."""

from pellucid.core.errors import PellucidError


class ScanUnknown(PellucidError):
    """No scan of these records has that key or pseudonym."""

    code = "PEL-CLI-001"
    remedy = "List every scan with `pellucid queue list --all`; give its pseudonym, its key, or the key's beginning."


class TraceMissing(PellucidError):
    """A scan left no trace of its work, or none that can be read."""

    code = "PEL-CLI-002"
    remedy = "Give the scan's pseudonym and the run's output folder; a trace is written when a scan ends."


class LaneUnknown(PellucidError):
    """No lane of these records has that name, or several begin with it."""

    code = "PEL-CLI-003"
    remedy = "See the lanes with `pellucid queue list`; give one in full, or a beginning that only one has."


class PauseUnknown(PellucidError):
    """What should be resumed was not paused."""

    code = "PEL-CLI-004"
    remedy = (
        "See each pause with `pellucid queue list`: one of the whole queue ends without --lane, one of a lane with it."
    )
