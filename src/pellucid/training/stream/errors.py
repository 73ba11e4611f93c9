"""What can go wrong with tiles that are read while a training goes on."""

from pellucid.core.errors import PellucidError


class StreamPlanInvalid(PellucidError):
    """A setting of the tile stream can't be used."""

    code = "PEL-TRAIN-040"
    remedy = "Correct the named setting."


class TilesUnreadable(PellucidError):
    """Too many of the tiles drawn from a slide can't be decoded."""

    code = "PEL-TRAIN-041"
    remedy = "Copy the slide from its source again, or leave it out of the cohort."


class SlideKillsReaders(PellucidError):
    """Reading a slide ended its reader process again and again, or hung each time."""

    code = "PEL-TRAIN-042"
    remedy = (
        "Copy the slide from its source again, or leave it out of the cohort; the log has the process's last lines."
    )


class SlidesFailing(PellucidError):
    """So many slides fail in the middle of a training that it would not be the one that was asked for."""

    code = "PEL-TRAIN-043"
    remedy = (
        "Bring the storage back or mend the named slides, then start the same command again: what failed at the last "
        "step was not recorded, and is tried again."
    )


class FailureBookDamaged(PellucidError):
    """The record of slides that failed in mid-training can't be read, so that the training can't be replayed."""

    code = "PEL-TRAIN-044"
    remedy = "Bring failures.jsonl back from a copy of the run's folder, or start a new run."
