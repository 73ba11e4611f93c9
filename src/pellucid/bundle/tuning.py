"""What a bundle holds of its making besides the model: checked when it is written and again when it is read."""

import math
import re
from dataclasses import dataclass

from pellucid.domain.tumour import TumourHead
from pellucid.domain.tuning import PatientDigests, TuningSpecimen

_SALT = re.compile(r"([0-9a-f]{2}){16,64}")
_DIGEST = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRecord:
    """What `tuning.json` holds: digests of the model's patients, and what it said of the tuning specimens."""

    patients: PatientDigests | None = None
    specimens: tuple[TuningSpecimen, ...] = ()


def check_tuning(record: TuningRecord) -> None:
    """Check a tuning record.

    Raises:
        ValueError: a specimen's numbers contradict each other, or the digests are no sorted, disjoint sets of digests.
    """
    for number, specimen in enumerate(record.specimens):
        numbers = (specimen.mean_logit, specimen.sd_logit, specimen.low_logit, specimen.high_logit)
        if not all(math.isfinite(value) for value in numbers):
            raise ValueError(f"tuning specimen {number} holds a number that is not finite")
        if specimen.sd_logit < 0 or specimen.low_logit > specimen.high_logit or specimen.label not in (0, 1):
            raise ValueError(f"the numbers of tuning specimen {number} contradict each other")
    if record.patients is not None:
        _check_patients(record.patients)


def _check_patients(patients: PatientDigests) -> None:
    if not _SALT.fullmatch(patients.salt):
        raise ValueError("the salt of the patients' digests is no hexadecimal text of 16 bytes or more")
    for split, digests in (("training", patients.training), ("tuning", patients.tuning)):
        if not all(_DIGEST.fullmatch(digest) for digest in digests) or list(digests) != sorted(set(digests)):
            raise ValueError(f"the {split} patients are no sorted list of distinct digests")
    if set(patients.training) & set(patients.tuning):
        raise ValueError("a patient is in the training and in the tuning split")


def check_tumour(head: TumourHead, dim: int) -> None:
    """Check a tumour head against the encoder's number of features.

    Raises:
        ValueError: it has another number of weights, a number that is not finite, or one out of its range.
    """
    if len(head.weights) != dim:
        raise ValueError(f"the tumour head has {len(head.weights)} weights, but the encoder gives {dim} features")
    if not all(math.isfinite(value) for value in (*head.weights, head.bias)):
        raise ValueError("the tumour head holds a number that is not finite")
    if not (0 < head.threshold < 1 and 0 <= head.limit <= 1 and head.n_tiles >= 1):
        raise ValueError("the tumour head's threshold, limit or number of tiles is out of range")
    if head.auroc is not None and not 0 <= head.auroc <= 1:
        raise ValueError(f"the tumour head's AUROC is {head.auroc}")
