"""What can stop a cross-validation."""

from pellucid.core.errors import PellucidError


class FoldsImpossible(PellucidError):
    """There are too few patients of a class to be in every fold."""

    code = "PEL-TRAIN-052"
    remedy = "Set fewer folds, or add patients of the class that lacks them."


class StratumUnknown(PellucidError):
    """Folds are to keep a stratum's patients together, but scans don't say which theirs is."""

    code = "PEL-TRAIN-053"
    remedy = "Name a stratum that the cohort table has a column of, fill it in everywhere, or use `patient`."


class SplitForbidden(PellucidError):
    """Scans that are kept for certification or testing were given to a cross-validation."""

    code = "PEL-TRAIN-054"
    remedy = "Give scans of the training and tuning splits only."


class PatientLeaks(PellucidError):
    """A patient, or a stratum that is to stay together, is both learnt from and tested on."""

    code = "PEL-TRAIN-055"
    remedy = "Report this with the configuration: folds are made so that it can't happen."
