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


class RanksInvalid(PellucidError):
    """The processes of a training can't find each other."""

    code = "PEL-TRAIN-006"
    remedy = "Start the ranks with torchrun, or with srun and MASTER_ADDR set to the first node's address."


class TrainingInterrupted(PellucidError):
    """A training was asked to stop; what it had learnt is in its newest checkpoint."""

    code = "PEL-TRAIN-007"
    remedy = "Start the same command again: it goes on where it stopped."


class RunFolderTaken(PellucidError):
    """A run folder holds something that is no training of Pellucid."""

    code = "PEL-TRAIN-008"
    remedy = "Name a new folder with --out."


class EncoderNeeded(PellucidError):
    """A bundle can't be made without the encoder that the bags come from."""

    code = "PEL-TRAIN-009"
    remedy = "Name its spec and weights in [bags], or take the head from the run folder."
