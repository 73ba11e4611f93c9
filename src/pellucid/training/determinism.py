"""The same numbers each time: torch's settings for the length of a training, put back afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from pellucid.core.seeds import derive_seed


@contextmanager
def deterministic(threads: int) -> Iterator[None]:
    """Deterministic algorithms and a fixed number of threads: how a sum is split between threads decides its bits."""
    settings: Any = torch.utils.deterministic
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), settings.fill_uninitialized_memory
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True)
    # it guards against reading memory that nobody wrote, which costs a third of the time here and mends nothing
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(mode=before[1])
        settings.fill_uninitialized_memory = before[2]


def torch_generator(*parts: str | int) -> torch.Generator:
    """A torch generator keyed by the parts, as `core.seeds.generator` is for NumPy."""
    return torch.Generator().manual_seed(step_seed(*parts))


def step_seed(*parts: str | int) -> int:
    """The seed of a torch generator for one step, or whatever the parts name; `0 <= seed < 2**63`."""
    return derive_seed(*parts) % (1 << 63)
