"""Folds that keep patients together: which scans estimate, which choose, and which are learnt from."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pellucid.core.seeds import generator
from pellucid.domain.cohort import ScanEntry
from pellucid.training.validation.config import PATIENT, Validation
from pellucid.training.validation.errors import FoldsImpossible, PatientLeaks, StratumUnknown

Fold = tuple[int, ...]
"""Which scans are in a fold: ascending indices into a sequence of scans."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A scan as the folds see it: its patient, label, and what else keeps it together with others, if anything."""

    patient: str
    label: int
    stratum: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterFold:
    """One outer fold of one seed, and how the scans outside it are divided into inner folds.

    A head that is tested on `test` is chosen on `inner` and trained on all of them, `training`.
    """

    seed: int
    number: int
    test: Fold
    inner: tuple[Fold, ...]

    @property
    def training(self) -> Fold:
        """All scans outside the test fold."""
        return tuple(sorted(index for fold in self.inner for index in fold))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Scans that can't be parted, and how many patients of each class they are of: `(2,)`, negative and positive."""

    scans: Fold
    patients: NDArray[np.int64]


def members_of(entries: Sequence[ScanEntry], group: str) -> list[Member]:
    """The scans, which have labels, as the folds see them.

    Raises:
        StratumUnknown: `group` is no patient, and some scans don't say which theirs is.
    """
    if group != PATIENT:
        _require_stratum(entries, group)
    found = []
    for entry in entries:
        assert entry.label is not None
        stratum = None if group == PATIENT else dict(entry.strata)[group]
        found.append(Member(patient=entry.patient, label=entry.label, stratum=stratum))
    return found


def plan_folds(members: Sequence[Member], validation: Validation, seed: int) -> list[OuterFold]:
    """Every outer fold of every seed, made and checked before anything is trained.

    Args:
        members: the scans.
        validation: how many folds and seeds.
        seed: of the shuffles.

    Raises:
        FoldsImpossible: a fold would lack a class; says how many patients of each class are needed.
        PatientLeaks: never, unless the folds are wrong.
    """
    everything = range(len(members))
    plan = []
    for repeat in range(validation.seeds):
        tests = deal(members, everything, validation.outer_folds, parts=("outer", seed, repeat), validation=validation)
        for number, test in enumerate(tests):
            rest = sorted(set(everything) - set(test))
            inner = deal(
                members,
                rest,
                validation.inner_folds,
                parts=("inner", seed, repeat, number),
                validation=validation,
            )
            plan.append(OuterFold(seed=repeat, number=number, test=test, inner=tuple(inner)))
    for fold in plan:
        require_apart(members, [fold.test, *fold.inner])
    return plan


def deal(
    members: Sequence[Member],
    among: Iterable[int],
    n_folds: int,
    *,
    parts: tuple[str | int, ...],
    validation: Validation,
) -> list[Fold]:
    """Deal the scans `among` them to folds, whole groups at a time, so that each class is spread evenly.

    The largest groups come first, equals in random order; each goes where the squared shares of the two classes, summed
    over the folds, grow least, and among such folds to the smallest. Where the groups are patients, the folds' numbers
    of patients of a class differ by one at most. A patient with a positive specimen counts as positive.

    Raises:
        FoldsImpossible: a fold would lack a class.
    """
    groups = _groups(members, among)
    total = np.maximum(sum((group.patients for group in groups), np.zeros(2, dtype=np.int64)), 1)
    shuffled = generator("validation folds", *parts).permutation(len(groups))
    order = sorted(shuffled.tolist(), key=lambda nth: (-groups[nth].patients.sum(), -groups[nth].patients[1]))
    filled = np.zeros((n_folds, 2), dtype=np.int64)
    dealt: list[list[int]] = [[] for _ in range(n_folds)]
    for nth in order:
        group = groups[nth]
        # in whole numbers, as ties have to be ties: ((f + s)^2 - f^2) / total^2, times both totals squared
        growth = ((2 * filled + group.patients) * group.patients * (total[::-1] ** 2)).sum(axis=1)
        costs = list(zip(growth.tolist(), filled.sum(axis=1).tolist(), strict=True))
        fold = costs.index(min(costs))
        filled[fold] += group.patients
        dealt[fold].extend(group.scans)
    if (filled == 0).any():
        raise FoldsImpossible(_too_few(filled, members, validation))
    return [tuple(sorted(fold)) for fold in dealt]


def require_apart(members: Sequence[Member], folds: Sequence[Fold]) -> None:
    """Check that no patient and no stratum is in two of the folds.

    Raises:
        PatientLeaks: one is; the message says how many, and names none.
    """
    homes = defaultdict(set)
    for number, fold in enumerate(folds):
        for index in fold:
            homes["patient", members[index].patient].add(number)
            homes[_tie(members[index])].add(number)
    leaking = sum(len(found) > 1 for found in homes.values())
    if leaking:
        raise PatientLeaks(f"{leaking} patients or strata are in more than one fold.")


def _groups(members: Sequence[Member], among: Iterable[int]) -> list[_Group]:
    """Scans that share a patient or a stratum, however many steps it takes, in an order that is the names' own."""
    root: dict[tuple[str, str], tuple[str, str]] = {}

    def find(key: tuple[str, str]) -> tuple[str, str]:
        while root.setdefault(key, key) != key:
            key = root[key]
        return key

    chosen = list(among)
    for index in chosen:
        member = members[index]
        first, second = find(("patient", member.patient)), find(_tie(member))
        root[max(first, second)] = min(first, second)
    scans = defaultdict(list)
    for index in chosen:
        scans[find(("patient", members[index].patient))].append(index)
    return [_Group(scans=tuple(sorted(found)), patients=_classes(members, found)) for _, found in sorted(scans.items())]


def _tie(member: Member) -> tuple[str, str]:
    return ("patient", member.patient) if member.stratum is None else ("stratum", member.stratum)


def _classes(members: Sequence[Member], scans: Iterable[int]) -> NDArray[np.int64]:
    labels: dict[str, int] = {}
    for index in scans:
        member = members[index]
        labels[member.patient] = max(labels.get(member.patient, 0), member.label)
    positive = sum(labels.values())
    return np.array([len(labels) - positive, positive], dtype=np.int64)


def patients_needed(validation: Validation) -> int:
    """The least number of patients of a class with which every outer and inner fold has one, where patients are alone.

    With k outer and j inner folds: n >= k, and n - ceil(n / k) >= j.
    """
    k, j = validation.outer_folds, validation.inner_folds
    return j if k == 0 else next(n for n in range(max(k, j), 2 * (k + j) + 1) if n - -(-n // k) >= j)


def _too_few(filled: NDArray[np.int64], members: Sequence[Member], validation: Validation) -> str:
    negative, positive = _classes(members, range(len(members))).tolist()
    lacking = int((filled == 0).any(axis=1).sum())
    grouped = "" if validation.group == PATIENT else f", spread over enough values of {validation.group!r}"
    return (
        f"{lacking} of {len(filled)} folds would lack a class with {negative} negative and {positive} positive "
        f"patients; {validation.outer_folds} outer and {validation.inner_folds} inner folds need at least "
        f"{patients_needed(validation)} patients of each class{grouped}."
    )


def _require_stratum(entries: Sequence[ScanEntry], group: str) -> None:
    lacking = [entry.slide for entry in entries if not dict(entry.strata).get(group)]
    if lacking:
        known = sorted({name for entry in entries for name, value in entry.strata if value})
        raise StratumUnknown(
            f"{len(lacking)} of {len(entries)} scans have no {group!r}, such as slide {lacking[0]}; "
            f"known are {', '.join([PATIENT, *known])}."
        )
