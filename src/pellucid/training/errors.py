"""What can stop a training."""

from pellucid.core.errors import PellucidError


class CohortUntrainable(PellucidError):
    """A cohort lacks what a training needs; all of it is listed."""

    code = "PEL-TRAIN-001"
    remedy = "Mend the named rows of the cohort table; `pellucid cohort check` shows them too."


class SlidesUnusable(PellucidError):
    """Too many slides of a cohort can't be used, or what is left doesn't suffice."""

    code = "PEL-TRAIN-002"
    remedy = "Mend or replace the named slides, or take them out of the cohort table on purpose."


class TrainingDiverged(PellucidError):
    """A loss is NaN or infinite."""

    code = "PEL-TRAIN-003"
    remedy = "Train again with a lower learning rate."


class TrainingConfigInvalid(PellucidError):
    """A setting of the training can't be used."""

    code = "PEL-TRAIN-004"
    remedy = "Correct the named setting."


class ScanUnfit(PellucidError):
    """A scan that would be escalated for its quality; nothing is learnt from it."""

    code = "PEL-TRAIN-005"
    remedy = "Scan the slide again, or leave it out."
