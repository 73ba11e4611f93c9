"""Chance that is the same each time a chunk is encoded, and doesn't touch torch's global generators."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pellucid.training.determinism import step_seed


@contextmanager
def replayed(device: torch.device, *, seed: int, step: int, chunk: int) -> Iterator[None]:
    """Set torch's generators of CPU and `device` from (seed, step, chunk) for the length of the context.

    An encoder's dropout and stochastic depth draw from the global generators. So the second pass meets the same
    network as the first, on whichever rank; afterwards the generators are as if nothing had been drawn.
    """
    index = (
        (device.index if device.index is not None else torch.cuda.current_device()) if device.type == "cuda" else None
    )
    with torch.random.fork_rng(devices=[] if index is None else [index]):
        number = step_seed("joint-chunk", seed, step, chunk)
        torch.default_generator.manual_seed(number)
        if index is not None:
            torch.cuda.default_generators[index].manual_seed(number)
        yield
