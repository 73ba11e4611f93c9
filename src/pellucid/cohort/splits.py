"""Splits by patient."""

import dataclasses
from collections.abc import Mapping

from pellucid.cohort.errors import SplitInvalid
from pellucid.core.seeds import generator
from pellucid.domain.cohort import Cohort, ScanEntry, Split


def split_by_patient(cohort: Cohort, fractions: Mapping[Split, float], seed: int) -> Cohort:
    """Give every patient's scans to one split, with the labels in like proportion everywhere.

    Patients with a mutated, a wild-type and no known specimen are shuffled apart, then each in turn goes to the split
    that is furthest behind its share. Splits that the cohort already has are replaced.

    Args:
        cohort: the scans.
        fractions: the share of patients of each split, adding up to 1.
        seed: of the shuffle.

    Returns:
        The cohort with its splits set and no digest: that is of a table, and this one isn't written yet.

    Raises:
        SplitInvalid: the shares don't add up to 1, or a split would stay empty.
    """
    shares = {split: float(fractions[split]) for split in Split if fractions.get(split, 0.0) != 0.0}
    total = sum(shares.values())
    if any(share < 0.0 for share in shares.values()) or not abs(total - 1.0) <= 1e-6:
        raise SplitInvalid(f"The shares {_spelled(shares)} add up to {total:g}, not to 1, or are negative.")
    assigned = _assign(_shuffled(cohort, seed), shares)
    empty = sorted(split.value for split in shares if split not in assigned.values())
    if empty:
        raise SplitInvalid(f"{len(assigned)} patients are too few: nobody would be in {' or '.join(empty)}.")
    entries = tuple(dataclasses.replace(entry, split=assigned[entry.patient]) for entry in cohort.entries)
    return dataclasses.replace(cohort, entries=entries, digest="")


def _shuffled(cohort: Cohort, seed: int) -> list[str]:
    """Patients, those of a label together, in random order within."""
    scans: dict[str, list[ScanEntry]] = {}
    for entry in cohort.entries:
        scans.setdefault(entry.patient, []).append(entry)
    groups: dict[int, list[str]] = {1: [], 0: [], -1: []}
    for patient in sorted(scans):
        groups[max((-1 if scan.label is None else scan.label) for scan in scans[patient])].append(patient)
    order: list[str] = []
    for label, patients in groups.items():
        draw = generator("split by patient", seed, label)
        order += [patients[index] for index in draw.permutation(len(patients)).tolist()]
    return order


def _assign(patients: list[str], shares: Mapping[Split, float]) -> dict[str, Split]:
    counts = dict.fromkeys(shares, 0)
    assigned = {}
    for nth, patient in enumerate(patients, start=1):
        behind = max(shares, key=lambda split: shares[split] * nth - counts[split])
        counts[behind] += 1
        assigned[patient] = behind
    return assigned


def _spelled(shares: Mapping[Split, float]) -> str:
    return ", ".join(f"{split.value}={share:g}" for split, share in shares.items()) or "(none)"
