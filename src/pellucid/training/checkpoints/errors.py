"""What can go wrong with the checkpoints and the lock of a training."""

from pellucid.core.errors import PellucidError


class CheckpointsInvalid(PellucidError):
    """A training has checkpoints, and none of them is whole: it would have to start from scratch."""

    code = "PEL-TRAIN-020"
    remedy = "Bring the folder back from its copy; to begin anew on purpose, train into a new folder."


class CheckpointForeign(PellucidError):
    """A checkpoint is of another configuration, software or cohort than the training that would go on from it."""

    code = "PEL-TRAIN-021"
    remedy = "Train into a new folder, or go on from it on purpose with --force: that is recorded."


class RunLocked(PellucidError):
    """Another process writes to this run folder."""

    code = "PEL-TRAIN-022"
    remedy = "Let the other training end or stop it, then start this one again; or train into another folder."


class RunLockLost(PellucidError):
    """Another process took over this run folder while this one was silent; nothing more is written here."""

    code = "PEL-TRAIN-023"
    remedy = "Leave the folder to the other training, which goes on from the newest checkpoint."


class CheckpointFailed(PellucidError):
    """A checkpoint could not be written; the training goes on, and a kill would cost more."""

    code = "PEL-TRAIN-024"
    remedy = "Free space on that file system, or mend it, before the next checkpoint is due."


class CheckpointUnfit(PellucidError):
    """The state in a checkpoint is not that of this model or optimiser."""

    code = "PEL-TRAIN-025"
    remedy = "Use the software and configuration that wrote it, or train into a new folder."


class CheckpointDamaged(PellucidError):
    """A checkpoint on disk is not what was written there."""

    code = "PEL-TRAIN-026"
    remedy = "Check that disk; a training falls back to the newest checkpoint that is whole."


class CheckpointUnreadable(PellucidError):
    """A checkpoint was verified by the first rank, and can't be read by every rank."""

    code = "PEL-TRAIN-027"
    remedy = "Keep the run folder on storage that every rank sees, then start the same command again."
