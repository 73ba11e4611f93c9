"""Parts that the journal's tests share: a clock that is set by hand, and figures to write."""

import hashlib
import struct
from dataclasses import dataclass, field
from pathlib import Path

from pellucid.training.checkpoints.manifest import Manifest, RunIdentity, write_manifest
from pellucid.training.journal import Journal
from pellucid.training.journal.clock import Moment


@dataclass(frozen=True)
class Rank:
    """Stands for `training.ranks.Ranks`, which would bring torch in."""

    is_first: bool = True


@dataclass(frozen=True, kw_only=True)
class Save:
    step: int
    seconds: float = 2.0
    n_bytes: int = 1000
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Load:
    step: int
    folder: Path = Path("step-00000000")
    rejected: tuple[tuple[str, str], ...] = ()
    forced: tuple[str, ...] = ()


@dataclass
class SetClock:
    at: float = 1_700_000_000.0
    ticks: float = 50.0

    def __call__(self) -> Moment:
        return Moment(at=self.at, ticks=self.ticks)

    def go(self, seconds: float) -> None:
        self.at += seconds
        self.ticks += seconds


@dataclass
class Listener:
    """Keeps what it is told."""

    shown: list = field(default_factory=list)
    said: list = field(default_factory=list)

    def show(self, status):
        self.shown.append(status)

    def say(self, text):
        self.said.append(text)


def open_journal(run, clock=None, **options):
    """A journal without a watch of its own: what the watch does, tests do by `look`."""
    return Journal(run, Rank(), clock=clock or SetClock(), watch_s=None, **options)


def make_steps(journal, clock, first, last, *, task="head", n_steps=1000, each_s=1.0, epoch_steps=10, **figures):
    for number in range(first, last):
        clock.go(each_s)
        journal.step(task, number, n_steps, number // epoch_steps, {"loss": 1.0 / (number + 1), **figures})


def keep(run, task, step, at, *, n_bytes=1500):
    """Commit a checkpoint of two shards as `training.checkpoints` does, written at `at`."""
    folder = Path(run) / "checkpoints" / task / f"step-{step:08d}"
    folder.mkdir(parents=True)
    files = {}
    for number in range(2):
        data = bytes((step + number + place) % 251 for place in range(n_bytes))
        (folder / f"shard-{number}.bin").write_bytes(data)
        files[f"shard-{number}.bin"] = (hashlib.sha256(data).hexdigest(), n_bytes)
    manifest = Manifest(
        step=step,
        number=1,
        world=1,
        reason="interval",
        score=None,
        token=1,
        identity=RunIdentity(config="c" * 64, software="s" * 64, cohort="d" * 64),
        extra={},
        files=files,
        created=Moment(at=at, ticks=0.0).text,
    )
    write_manifest(folder, manifest)
    return folder


def board_events(path):
    """The records of an event file, by TensorFlow's framing."""
    from tensorboardX.proto import event_pb2

    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(event_pb2.Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def board_shows(folder):
    """What TensorBoard shows: later files first take away the steps that they begin with."""
    from tensorboardX.proto import event_pb2

    values = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name.rsplit(".", 1)[-1]):
        for event in board_events(path):
            if event.session_log.status == event_pb2.SessionLog.START:
                values = {key: value for key, value in values.items() if key[1] < event.step}
            for value in event.summary.value:
                values[value.tag, event.step] = value.simple_value
    return values
