"""What can be wrong with the record of a training."""

from pellucid.core.errors import PellucidError


class TrainingMissing(PellucidError):
    """A folder holds no record of a training."""

    code = "PEL-TRAIN-060"
    remedy = "Give the run folder of a training: the one that holds its status.json and events.jsonl."
