"""Doing the same work on many scans: in order, a few at a time, with every failure kept."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from pellucid.core.errors import PellucidError
from pellucid.domain.cohort import ScanEntry

Progress = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done, and how much there is."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanLeftOut:
    """A scan that a training goes without, and why."""

    slide: str
    row: int | None
    split: str
    stage: str
    code: str
    message: str

    @classmethod
    def because(cls, entry: ScanEntry, stage: str, error: PellucidError) -> "ScanLeftOut":
        """The record of a scan's coded error."""
        return cls(
            slide=entry.slide,
            row=entry.row,
            split=entry.split.value if entry.split else "",
            stage=stage,
            code=error.code,
            message=error.message,
        )

    def __str__(self) -> str:
        where = self.slide if self.row is None else f"{self.slide} (row {self.row})"
        return f"{where}: [{self.code}] {self.message}"


def each_scan(
    items: Sequence[Item],
    work: Callable[[Item], Result],
    *,
    entry_of: Callable[[Item], ScanEntry],
    stage: str,
    workers: int,
    progress: Progress,
) -> tuple[list[Result], list[ScanLeftOut]]:
    """Do `work` on each item, `workers` at a time, and return the results in the items' order.

    A coded error leaves that scan out and is recorded; any other exception ends all.

    Args:
        items: one a scan.
        work: what to do; runs in a thread.
        entry_of: an item's row of the cohort.
        stage: name of the work, for progress and records.
        workers: number of threads.
        progress: told after each scan.
    """
    results: list[Result] = []
    left_out: list[ScanLeftOut] = []
    with _threads(workers) as executor:
        futures: list[Future[Result]] = [executor.submit(work, item) for item in items]
        for done, (item, future) in enumerate(zip(items, futures, strict=True), start=1):
            try:
                results.append(future.result())
            except PellucidError as error:
                left_out.append(ScanLeftOut.because(entry_of(item), stage, error))
            progress(stage, done, len(items))
    return results, left_out


@contextmanager
def _threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    executor = ThreadPoolExecutor(workers, thread_name_prefix="pellucid-training")
    try:
        yield executor
    finally:
        # an interrupted training must not go on through all scans that were queued
        executor.shutdown(wait=True, cancel_futures=True)
