"""Doing something on every rank such that all agree how it ended: none goes on alone or waits for one that failed."""

from collections.abc import Callable
from typing import Final, TypeVar

from torch.distributed.checkpoint.api import CheckpointException

from pellucid.core.errors import PellucidError
from pellucid.training.checkpoints.errors import CheckpointFailed
from pellucid.training.ranks import Ranks

Done = TypeVar("Done")

# torch says RuntimeError where its writer meets a full disk, and CheckpointException is no Exception
_FAILURES: Final = (OSError, RuntimeError, MemoryError, CheckpointException)


def agreed(ranks: Ranks, work: Callable[[], Done]) -> Done:
    """What `work` returns on this rank, once it ended well on every rank.

    Raises:
        CheckpointFailed: the system refused something on some rank; raised on every rank.
        KeyboardInterrupt, SystemExit: as torch met them in `work`.
        PellucidError: the first rank's, in their order, that met a coded error; raised on every rank.
    """
    done: list[Done] = []
    failed: PellucidError | None = None
    try:
        done.append(work())
    except PellucidError as error:
        failed = error
    except _FAILURES as error:
        _let_pass(error)
        failed = CheckpointFailed(told(error, ranks))
    for failure in ranks.gather(failed):
        if failure is not None:
            raise failure
    return done[0]


def on_first(ranks: Ranks, work: Callable[[], Done]) -> Done:
    """What the first rank's `work` returns, on every rank; raises as `agreed` does."""
    done = agreed(ranks, lambda: work() if ranks.is_first else None)
    return ranks.from_first(done)  # type: ignore[return-value]


def _let_pass(error: BaseException) -> None:
    """Raise what is no failure: torch wraps a person's Ctrl-C like an error of the disk."""
    if isinstance(error, CheckpointException):
        for met, _ in error.failures.values():
            if not isinstance(met, Exception):
                raise met


def told(error: BaseException, ranks: Ranks) -> str:
    """An error of the system as a sentence, with the ranks it met where there are several."""
    if isinstance(error, CheckpointException):
        each = {rank: _plain(met[0]) for rank, met in error.failures.items()}
        if ranks.world == 1:
            return "; ".join(each.values())
        return "; ".join(f"rank {rank}: {text}" for rank, text in each.items())
    return _plain(error) if ranks.world == 1 else f"rank {ranks.rank}: {_plain(error)}"


def _plain(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
