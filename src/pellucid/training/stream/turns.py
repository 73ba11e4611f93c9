"""Whose turn it is at each step: the scan of the epoch's order, or who stands in for one that failed."""

import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache

from pellucid.core.errors import PellucidError
from pellucid.training.draws import epoch_order, epoch_steps, substitute
from pellucid.training.stream.errors import SlidesFailing
from pellucid.training.stream.failures import FailureBook, SlideFailure
from pellucid.training.stream.plan import StreamPlan
from pellucid.training.survey import SurveyedScan

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Turn:
    """A scan at a step. `attempt` is 0 for the scan of the epoch's order, above it for one that stands in."""

    step: int
    epoch: int
    position: int
    attempt: int
    scan: SurveyedScan


class Turns:
    """A pure function of the step, the plan, the scans' digests, and the failures recorded at earlier steps.

    A scan that failed isn't a substitute in the rest of its epoch. When its own turn comes again it is tried again, as
    it is in later epochs: a share that was away for an hour must not cost a slide for twenty epochs.
    """

    def __init__(self, scans: Sequence[SurveyedScan], plan: StreamPlan, book: FailureBook) -> None:
        self._scans, self._plan, self._book = tuple(scans), plan, book
        self._digests = [scan.digest for scan in scans]
        self.epoch_steps = epoch_steps(len(self._scans), plan.share)
        self.n_steps = self.epoch_steps * plan.epochs
        self._order = lru_cache(maxsize=4)(self._order_of)

    def of(self, step: int, failed: Set[str] = frozenset()) -> Turn:
        """Whose turn it is.

        Args:
            step: from 0.
            failed: digests of scans that failed at this step beside those in the book.

        Raises:
            SlidesFailing: nobody is left to stand in.
        """
        epoch, position = divmod(step, self.epoch_steps)
        failed = failed | self._book.at(step)
        scan = self._scans[self._order(epoch)[position]]
        tried = [scan]
        while scan.digest in failed:
            scan = self._substitute(step, len(tried), tried)
            tried.append(scan)
        return Turn(step, epoch, position, len(tried) - 1, scan)

    def check(self, found: Sequence[SlideFailure]) -> None:
        """Check that a training may go on with these new failures of one step; they are not in the book yet.

        Raises:
            SlidesFailing: it may not.
        """
        last = found[-1]
        named = "; ".join(f"{one.slide}: [{one.code}] {one.message}" for one in found[-_SHOWN:])
        if len(found) >= self._plan.in_a_row:
            raise SlidesFailing(f"{len(found)} slides in a row can't be read at step {last.step}: {named}")
        failed = self._book.between(last.epoch * self.epoch_steps, last.step + 1) | {one.scan for one in found}
        limit = math.ceil(self._plan.max_failed * self.epoch_steps)
        if len(failed) > limit:
            which = f"{len(failed)} scans failed in epoch {last.epoch} of {self.epoch_steps} steps"
            raise SlidesFailing(f"{which}, more than {limit}. The last: {named}")

    def _substitute(self, step: int, attempt: int, tried: Sequence[SurveyedScan]) -> SurveyedScan:
        epoch, position = divmod(step, self.epoch_steps)
        for candidates in self._candidates(step, epoch, tried):
            if candidates:
                digests = [scan.digest for scan in candidates]
                return candidates[substitute(self._plan.seed, epoch, position, attempt, digests)]
        raise SlidesFailing(f"At step {step} no scan is left that could stand in for {tried[0].entry.slide}.")

    def _candidates(self, step: int, epoch: int, tried: Sequence[SurveyedScan]) -> Iterator[list[SurveyedScan]]:
        """Who may stand in, the best first: of the same label and not seen in this epoch, of the same label, any."""
        out = {scan.digest for scan in tried} | self._book.between(epoch * self.epoch_steps, step)
        left = [scan for scan in self._scans if scan.digest not in out]
        alike = [scan for scan in left if scan.label == tried[0].label]
        seen = {self._digests[nth] for nth in self._order(epoch)}
        yield [scan for scan in alike if scan.digest not in seen]
        yield alike
        yield left

    def _order_of(self, epoch: int) -> list[int]:
        return epoch_order(self._plan.seed, epoch, self._digests, self._plan.share)


def failure_of(turn: Turn, error: PellucidError) -> SlideFailure:
    """The record of a scan that failed when it was its turn."""
    return SlideFailure(
        step=turn.step,
        epoch=turn.epoch,
        position=turn.position,
        attempt=turn.attempt,
        scan=turn.scan.digest,
        slide=turn.scan.entry.slide,
        code=error.code,
        message=error.message,
    )
