"""What can be wrong with a cohort."""

from dataclasses import dataclass
from typing import Any

from pellucid.core.errors import PellucidError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a table: its line (None: the whole table), its column (None: the whole row) and what."""

    row: int | None
    column: str | None
    message: str

    def __str__(self) -> str:
        """Where and what, in one line."""
        place = "table" if self.row is None else f"row {self.row}"
        return f"{place}{f', column {self.column}' if self.column else ''}: {self.message}"


class CohortInvalid(PellucidError):
    """A cohort table can't be used; every problem is listed at once.

    Args:
        message: one sentence.
        problems: all that was found, in the table's order.
        remedy: what to do about it.
        context: values for logs.
    """

    code = "PEL-COHORT-001"
    remedy = "Correct the rows named above; `pellucid init` writes a commented example."

    def __init__(
        self, message: str, *, problems: tuple[Problem, ...] = (), remedy: str | None = None, **context: object
    ) -> None:
        super().__init__("\n".join([message, *(f"  {problem}" for problem in problems)]), remedy=remedy, **context)
        self.sentence = message
        self.problems = problems

    def __str__(self) -> str:
        """The sentence, each problem on its own line, the remedy."""
        return f"[{self.code}] {self.message}\n{self.remedy}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.sentence, self.problems, self.remedy, self.context))


def _rebuild(message: str, problems: tuple[Problem, ...], remedy: str, context: dict[str, object]) -> CohortInvalid:
    return CohortInvalid(message, problems=problems, remedy=remedy, **context)


class SplitInvalid(PellucidError):
    """The shares of a split make no sense or can't be met by the patients at hand."""

    code = "PEL-COHORT-002"
    remedy = "Give positive shares that add up to 1, such as training=0.6,tuning=0.2,test=0.2, and enough patients."


class SynthesisInvalid(PellucidError):
    """A synthetic cohort or slide with these settings can't be made."""

    code = "PEL-COHORT-003"
    remedy = "Correct the named setting."


class FolderOccupied(PellucidError):
    """A folder holds something other than a synthetic cohort, so none is written over it."""

    code = "PEL-COHORT-004"
    remedy = "Give an empty or a new folder."


class SynthesisInterrupted(PellucidError):
    """A process that draws was ended from outside, most likely because memory ran out."""

    code = "PEL-COHORT-006"
    remedy = "Start the same command again with fewer workers or smaller slides."


class TruthMissing(PellucidError):
    """The truth of a synthetic cohort or of one of its scans is absent."""

    code = "PEL-COHORT-005"
    remedy = "Make the cohort again with `pellucid cohort synthesise`; a real cohort has no truth."
