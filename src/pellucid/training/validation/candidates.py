"""The settings among which a cross-validation chooses."""

from dataclasses import dataclass, replace

from pellucid.training.config import HeadTraining
from pellucid.training.validation.config import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to train a head, named by what is special about it."""

    name: str
    head: HeadTraining


def candidates_of(grid: Grid, head: HeadTraining) -> tuple[Candidate, ...]:
    """Every combination of the grid's values, as changes of `head`; `head` itself where there are none."""
    return tuple(
        Candidate(
            name=", ".join(f"{name} {value:g}" for name, value in changes.items()) or "as configured",
            # a combination names fields of the head's settings, each with a value of its type
            head=replace(head, **changes),  # type: ignore[arg-type]
        )
        for changes in grid.combinations()
    )
