"""A small model with buffers, its optimiser, and the bits of a state."""

import hashlib

import torch
from torch import nn

from pellucid.training.checkpoints import RunIdentity

IDENTITY = RunIdentity(config="a" * 64, software="b" * 64, cohort="c" * 64, names={"software": "0.1.0"})


class Counters:
    """A part that is neither module nor optimiser."""

    def __init__(self, values):
        self.values = values

    def state_dict(self):
        return self.values

    def load_state_dict(self, state_dict):
        self.values = state_dict


def make_parts(seed=0, n_steps=0, width=7):
    """A model with BatchNorm buffers and AdamW after some steps."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(5, width), nn.BatchNorm1d(width), nn.Linear(width, 3, bias=False))
    optimiser = torch.optim.AdamW(
        [{"params": model[0].parameters(), "lr": 0.01}, {"params": [*model[1].parameters(), *model[2].parameters()]}]
    )
    parts = {"model": model, "optimiser": optimiser}
    advance(parts, n_steps, seed)
    return parts


def advance(parts, n_steps, seed=0):
    for step in range(n_steps):
        chance = torch.Generator().manual_seed(1000 * seed + step)
        loss = parts["model"](torch.rand(6, 5, generator=chance)).square().sum()
        parts["optimiser"].zero_grad()
        loss.backward()
        parts["optimiser"].step()


def bits(value):
    """A digest of every bit, type and nesting of a state."""
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest, value):
    if isinstance(value, torch.Tensor):
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, dict):
        for key, item in value.items():
            digest.update(repr(key).encode())
            _feed(digest, item)
    elif isinstance(value, list | tuple):
        digest.update(type(value).__name__.encode())
        for item in value:
            _feed(digest, item)
    else:
        digest.update(repr(value).encode())


def state_bits(parts):
    return bits({name: dict(part.state_dict()) for name, part in parts.items()})


def flip_bit(path, at=0.5):
    """Flip one bit of a file where it stands."""
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * at))
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
