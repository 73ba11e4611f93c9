"""The processes that train together: which of them this one is, and how they agree."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from pellucid.core.errors import PellucidError, SystemRefused
from pellucid.training.errors import RanksInvalid

Value = TypeVar("Value")

_NAMES = (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"))
_PORT = "29411"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This process among `world` that train together; alone, nothing is sent anywhere.

    Everything here but the attributes is collective: every rank calls it, in the same order. It goes over the CPU, so
    that it doesn't wait for an accelerator's work.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes what is written once."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set on any rank."""
        return bool(self.highest(int(flag)))

    def highest(self, value: int) -> int:
        """The highest of all ranks' values."""
        if self.world == 1:
            return value
        box = torch.tensor([value], dtype=torch.int64)
        dist.all_reduce(box, op=dist.ReduceOp.MAX)
        return int(box.item())

    def once(self, work: Callable[[], Value]) -> Value:
        """What the first rank's `work` returns, on every rank; a coded error of it is raised on every rank."""
        if self.world == 1:
            return work()
        given = self.from_first(_outcome(work) if self.is_first else None)
        if isinstance(given, PellucidError):
            raise given
        return given  # type: ignore[return-value]

    def first_alone(self, work: Callable[[], Value]) -> Value | None:
        """What `work` returns, on the first rank; None on the others.

        A coded error of it is raised on every rank.
        """
        done: list[Value] = []

        def do() -> None:
            done.append(work())

        self.once(do)
        return done[0] if done else None

    def agreed(self, work: Callable[[], Value]) -> Value:
        """What `work` returns on this rank, once it ended well on every rank.

        A coded error is raised on every rank, that of the lowest rank where there are several: none goes on alone to
        wait for one that failed.
        """
        if self.world == 1:
            return work()
        done = _outcome(work)
        for failed in self.gather(done if isinstance(done, PellucidError) else None):
            if failed is not None:
                raise failed
        return done  # type: ignore[return-value]

    def from_first(self, value: Value) -> Value:
        """The first rank's value, on every rank; it is pickled, and stays among the processes of one training."""
        if self.world == 1:
            return value
        box: list[Any] = [value if self.is_first else None]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        given: Value = box[0]
        return given

    def gather(self, value: Value) -> list[Value]:
        """Every rank's value, in the order of ranks, on every rank."""
        if self.world == 1:
            return [value]
        box: list[Any] = [None] * self.world
        dist.all_gather_object(box, value)
        return box

    def wait(self) -> None:
        """Until every rank is here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def joined_ranks(environ: Mapping[str, str] = os.environ, *, timeout_s: float = 86400.0) -> Iterator[Ranks]:
    """Join the processes that `torchrun` or Slurm's `srun` started; alone where neither did.

    Args:
        environ: torchrun's RANK, WORLD_SIZE and LOCAL_RANK, or Slurm's SLURM_PROCID, SLURM_NTASKS and SLURM_LOCALID;
            with more than one rank also MASTER_ADDR and MASTER_PORT.
        timeout_s: a rank that waits longer for another ends with an error: the other hangs. One that died is noticed at
            once; the first alone surveys thousands of slides for hours while the others wait.

    Raises:
        RanksInvalid: the variables contradict each other, no address is given for more than one rank, or the ranks
            can't meet there.
    """
    rank, world, local = _numbers(environ)
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", local % torch.cuda.device_count())
        torch.cuda.set_device(device)
    if world == 1:
        yield Ranks(device=device)
        return
    address = environ.get("MASTER_ADDR", "")
    if not address:
        raise RanksInvalid(f"There are {world} ranks but no MASTER_ADDR at which they meet.")
    place = f"{address}:{environ.get('MASTER_PORT', _PORT)}"
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            init_method=f"tcp://{place}",
            rank=rank,
            world_size=world,
            timeout=timedelta(seconds=timeout_s),
        )
    except (RuntimeError, ValueError) as error:
        told = (str(error).splitlines() or [type(error).__name__])[0]
        raise RanksInvalid(f"Rank {rank} of {world} can't join the others at {place}: {told}") from error
    try:
        yield Ranks(rank=rank, world=world, local_rank=local, device=device)
    finally:
        dist.destroy_process_group()


def _outcome(work: Callable[[], Value]) -> Value | PellucidError:
    """What `work` returns, or the coded error that it raises; a refusal of the system is one too."""
    try:
        return work()
    except PellucidError as error:
        return error
    except OSError as error:
        return SystemRefused(f"{error.filename or 'A file'} can't be used: {error.strerror or error}.")


def _numbers(environ: Mapping[str, str]) -> tuple[int, int, int]:
    for names in _NAMES:
        given = [environ.get(name, "") for name in names]
        if not (given[0] and given[1]):
            continue
        if not all(text.isdigit() for text in given if text):
            raise RanksInvalid(f"{', '.join(names)} are {given}, which are no numbers of ranks.")
        rank, world, local = int(given[0]), int(given[1]), int(given[2] or given[0])
        if not rank < world:
            raise RanksInvalid(f"{names[0]} is {rank}, but there are {world} ranks.")
        return rank, world, local
    return 0, 1, 0
