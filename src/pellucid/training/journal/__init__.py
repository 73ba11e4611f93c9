"""The journal of a training: events, metrics, curves, heartbeat, alarms; and what they say, read without torch."""

from pellucid.training.journal.errors import TrainingMissing
from pellucid.training.journal.journal import Journal
from pellucid.training.journal.lines import read_lines
from pellucid.training.journal.seams import Telling
from pellucid.training.journal.status import TrainingState, TrainingStatus, read_status

__all__ = [
    "Journal",
    "Telling",
    "TrainingMissing",
    "TrainingState",
    "TrainingStatus",
    "read_lines",
    "read_status",
]
