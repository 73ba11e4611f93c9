"""Tiles straight from the slides while a training goes on: drawn, read ahead, dealt to the ranks; failures replayed."""

from pellucid.training.stream.errors import (
    FailureBookDamaged,
    SlideKillsReaders,
    SlidesFailing,
    StreamPlanInvalid,
    TilesUnreadable,
)
from pellucid.training.stream.failures import FailureBook, SlideFailure, read_failures
from pellucid.training.stream.plan import StreamPlan
from pellucid.training.stream.slide_tiles import SlideTiles
from pellucid.training.stream.stream import TileStream

__all__ = [
    "FailureBook",
    "FailureBookDamaged",
    "SlideFailure",
    "SlideKillsReaders",
    "SlideTiles",
    "SlidesFailing",
    "StreamPlan",
    "StreamPlanInvalid",
    "TileStream",
    "TilesUnreadable",
    "read_failures",
]
