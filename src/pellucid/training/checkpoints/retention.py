"""Which checkpoints stay."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The last `keep_last` checkpoints stay (at least one), every `keep_every`-th (0: none) and the best by score."""

    keep_last: int = 3
    keep_every: int = 0

    def __post_init__(self) -> None:
        if self.keep_last < 1 or self.keep_every < 0:
            raise ValueError(f"keep_last is {self.keep_last} and keep_every {self.keep_every}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What decides whether a checkpoint stays; `number` counts those of a task from 1."""

    step: int
    number: int
    score: float | None


def steps_kept(found: Collection[Kept], retention: Retention) -> set[int]:
    """The steps of those that stay: the newest, each m-th by number, the best (the newest of several) by score."""
    newest = sorted((one.step for one in found), reverse=True)[: retention.keep_last]
    kept = set(newest)
    if retention.keep_every:
        kept |= {one.step for one in found if one.number % retention.keep_every == 0}
    scored = [(one.score, one.step) for one in found if one.score is not None]
    if scored:
        kept.add(max(scored)[1])
    return kept
