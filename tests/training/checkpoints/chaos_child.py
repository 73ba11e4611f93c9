"""A small training that can be killed at any moment: `python -m training.checkpoints.chaos_child`.

It says `ready` once everything is imported, waits for a line with its `Job` as JSON, and says each phase as it begins:
`step`, and those of `Checkpoints`. At the end it says `end` and a digest of the whole state, the losses of all steps
among it. Told to pause at a phase, it says `paused` there and waits to be killed.
"""

import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from pellucid.training.checkpoints import Checkpoints, Retention, RunLock
from pellucid.training.determinism import deterministic, torch_generator
from pellucid.training.ranks import joined_ranks
from training.checkpoints.states import IDENTITY, state_bits

WIDTH, BATCH = 64, 32


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to train, and where to pause: the `nth` time that `phase` begins; nowhere where it is empty."""

    run: str
    n_steps: int
    every: int
    phase: str = ""
    nth: int = 1
    naive: bool = False


class KeyedDropout(nn.Module):
    """Dropout from a generator that is seeded anew for each step."""

    def __init__(self, generator):
        super().__init__()
        self._generator = generator

    def forward(self, x):
        return x * (torch.rand(x.shape, generator=self._generator) >= 0.3) / 0.7


class Training:
    """Linear, BatchNorm, dropout, linear; AdamW; a target that is learnt from points drawn for each step."""

    def __init__(self, n_steps, ranks, keyed):
        self._ranks, self._keyed = ranks, keyed
        self._chance = torch.Generator().manual_seed(0)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = nn.Sequential(
                nn.Linear(8, WIDTH), nn.BatchNorm1d(WIDTH), KeyedDropout(self._chance), nn.Linear(WIDTH, 1)
            )
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        self.losses = Losses(n_steps)

    def parts(self):
        return {"model": self.model, "optimiser": self.optimiser, "losses": self.losses}

    def step(self, number):
        if self._keyed:
            self._chance.manual_seed(torch_generator("chaos", number).initial_seed())
        points = torch.rand(BATCH, 8, generator=self._chance)[self._ranks.rank :: self._ranks.world]
        loss = (self.model(points).squeeze(-1) - points.sin().sum(dim=1)).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self._share([parameter.grad for parameter in self.model.parameters()])
        self._share([buffer for buffer in self.model.buffers() if buffer.is_floating_point()])
        self.optimiser.step()
        told = loss.detach().clone()
        self._share([told])
        self.losses.values[number] = told

    def _share(self, tensors):
        for tensor in tensors if self._ranks.world > 1 else ():
            dist.all_reduce(tensor)
            tensor /= self._ranks.world


class Losses:
    def __init__(self, n_steps):
        self.values = torch.zeros(n_steps)

    def state_dict(self):
        return {"values": self.values}

    def load_state_dict(self, state_dict):
        self.values.copy_(state_dict["values"])


class Voice:
    """Says phases, and pauses where the job wants it."""

    def __init__(self, job):
        self._job, self._begun = job, Counter()

    def __call__(self, phase):
        say(phase)
        self._begun[phase] += 1
        if phase == self._job.phase and self._begun[phase] == self._job.nth:
            say("paused")
            while True:
                time.sleep(3600)


def say(text):
    os.write(1, f"{text}\n".encode())


def train(job, ranks):
    """With checkpoints; one that was loaded is saved again, as when a signal comes before the first step."""
    voice, training = Voice(job), Training(job.n_steps, ranks, keyed=True)
    lock = ranks.first_alone(lambda: RunLock(Path(job.run)))
    checkpoints = Checkpoints(
        Path(job.run) / "checkpoints" / "chaos",
        identity=IDENTITY,
        retention=Retention(keep_last=2, keep_every=4),
        ranks=ranks,
        lock=lock,
        trace=voice,
    )
    loaded = checkpoints.load(training.parts())
    start = 0 if loaded is None else loaded.step
    if loaded is not None and loaded.rejected:
        raise AssertionError(f"a kill left a damaged checkpoint: {loaded.rejected}")
    if loaded is not None:
        save(checkpoints, training, start)
    for number in range(start, job.n_steps):
        voice("step")
        training.step(number)
        if (number + 1) % job.every == 0 or number + 1 == job.n_steps:
            save(checkpoints, training, number + 1)
    if lock is not None:
        lock.release()
    return state_bits(training.parts())


def save(checkpoints, training, step):
    saved = checkpoints.save(training.parts(), step=step, reason="interval", score=-float(training.losses.values.sum()))
    if saved.error is not None:
        raise AssertionError(saved.error)


class SlowFile:
    """A file that a naive save is written to, with a phase after its first bytes."""

    def __init__(self, file, voice):
        self._file, self._voice, self._begun = file, voice, False

    def write(self, data):
        written = self._file.write(data)
        if not self._begun:
            self._begun = True
            self._file.flush()
            self._voice("torn")
        return written

    def flush(self):
        self._file.flush()


def train_naively(job, ranks):
    """The negative control: torch.save in place, and chance from one generator that runs on."""
    voice, training = Voice(job), Training(job.n_steps, ranks, keyed=False)
    path, start = Path(job.run) / "last.pt", 0
    if path.exists():
        held = torch.load(path)
        start = held["step"]
        for name, part in training.parts().items():
            part.load_state_dict(held[name])
    for number in range(start, job.n_steps):
        voice("step")
        training.step(number)
        if (number + 1) % job.every == 0 or number + 1 == job.n_steps:
            state = {name: part.state_dict() for name, part in training.parts().items()}
            with path.open("wb") as file:
                torch.save({"step": number + 1, **state}, SlowFile(file, voice))
    return state_bits(training.parts())


def main():
    say("ready")
    line = sys.stdin.readline()
    if not line:
        return
    job = Job(**json.loads(line))
    with deterministic(1), joined_ranks(timeout_s=300) as ranks:
        say(f"end {(train_naively if job.naive else train)(job, ranks)}")
        ranks.wait()
        os._exit(0)


if __name__ == "__main__":
    main()
