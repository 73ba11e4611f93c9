"""Weights of a network's true names and shapes, drawn so that every part of it matters and nothing overflows."""

import torch
from torch import Tensor

from pellucid.encoders import build_network


def drawn_state(architecture: str, *, seed: int = 0) -> dict[str, Tensor]:
    """Every tensor of the network, float32."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: _draw(name, tuple(empty.shape), generator)
        for name, empty in build_network(architecture).state_dict().items()
    }


def _draw(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if name.endswith("gamma"):  # the published layer scales are not as small as the initial 1e-5
        return torch.full(shape, 0.1)
    noise = torch.empty(shape).normal_(0.0, 0.02, generator=generator)
    return noise + 1.0 if "norm" in name and name.endswith("weight") else noise
