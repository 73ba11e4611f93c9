"""A training's run folder: who it is, who writes to it, and what it was told."""

import platform
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from pellucid._version import __version__
from pellucid.core.clock import utc_now
from pellucid.core.digests import digest_json
from pellucid.core.files import write_json
from pellucid.core.serial import to_plain
from pellucid.core.software import software_digest
from pellucid.domain.cohort import Cohort, Split
from pellucid.training.checkpoints import Checkpoints, Retention, RunIdentity, RunLock
from pellucid.training.config import TrainingConfig, deciding
from pellucid.training.errors import RunFolderTaken
from pellucid.training.journal import Journal, Telling
from pellucid.training.ranks import Ranks
from pellucid.training.scans import Progress
from pellucid.training.stopping import StopFlag

RUN_FILE = "run.json"
CHECKPOINTS = "checkpoints"
_OURS = {RUN_FILE, CHECKPOINTS, ".lock", "lock.json", "events.jsonl", "failures.jsonl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """One start of a training, on one rank.

    `keeps_best`: the checkpoint of the highest score will be wanted, so it is written whatever it costs.
    """

    folder: Path
    config: TrainingConfig
    ranks: Ranks
    identity: RunIdentity
    journal: Journal
    lock: RunLock | None
    stop: StopFlag
    force: bool
    report: Progress = field(repr=False)

    @property
    def keeps_best(self) -> bool:
        """Whether the best checkpoint is what the training ends with."""
        return self.config.end_to_end.deploy_best

    def checkpoints_of(self, task: str) -> Checkpoints:
        """The checkpoints of a task."""
        policy = self.config.checkpoints
        return Checkpoints(
            self.folder / CHECKPOINTS / task,
            identity=self.identity,
            retention=Retention(keep_last=policy.keep_last, keep_every=policy.keep_every),
            ranks=self.ranks,
            lock=self.lock,
        )

    def with_data(self, digest: str) -> "TrainingRun":
        """The same run, whose checkpoints also depend on data that the table doesn't decide: what is at hand of it."""
        cohort = digest_json([self.identity.cohort, digest])
        return replace(self, identity=replace(self.identity, cohort=cohort))

    def alone(self) -> "TrainingRun":
        """The same run for work that only this rank does."""
        return replace(self, ranks=Ranks(device=self.ranks.device))

    def scans_progress(self, stage: str, done: int, total: int) -> None:
        """Report how far a stage without steps is; here it may be ended by a signal, as nothing is lost by it."""
        self.report(stage, done, total)
        self.journal.stage(stage, done, total)
        self.stop.check()

    def stop_now(self) -> None:
        """End after a checkpoint; collective, as the signal may have reached another rank.

        Raises:
            TrainingInterrupted: always.
        """
        self.stop.agree(self.ranks.gather(self.stop.signal))
        self.stop.check()


@contextmanager
def opened_run(
    folder: Path,
    cohort: Cohort,
    config: TrainingConfig,
    ranks: Ranks,
    *,
    report: Progress,
    stop: StopFlag,
    telling: Telling | None = None,
    force: bool = False,
    command: str = "",
) -> Iterator[TrainingRun]:
    """Open a run folder, new or begun before, and hold its lock; only the first rank writes to it.

    Args:
        folder: the run folder.
        cohort: what is learnt from.
        config: the settings.
        ranks: the processes that train together.
        report: told how far each stage is.
        telling: shows the journal to a person.
        stop: looked at between steps.
        force: go on with checkpoints of another configuration, software or cohort; recorded.
        command: how it was started, for the record.

    Raises:
        RunFolderTaken: the folder holds something else.
        RunLocked: another process writes to it.
    """
    identity = identify_run(cohort, config)
    with ExitStack() as stack:
        ranks.once(lambda: _prepare(folder))
        lock = ranks.first_alone(lambda: stack.enter_context(RunLock(folder)))
        opened = ranks.agreed(
            lambda: Journal(
                folder,
                ranks,
                synthetic=cohort.synthetic,
                stall_s=60 * config.checkpoints.stall_minutes,
                interval_s=60 * config.checkpoints.least_minutes,
                telling=telling,
            )
        )
        journal = stack.enter_context(opened)
        run = TrainingRun(
            folder=folder,
            config=config,
            ranks=ranks,
            identity=identity,
            journal=journal,
            lock=lock,
            stop=stop,
            force=force,
            report=report,
        )
        ranks.once(lambda: _write_identity(run, cohort, command))
        yield run


def identify_run(cohort: Cohort, config: TrainingConfig) -> RunIdentity:
    """What a checkpoint must agree with to be gone on from: what decides the result, the software, the rows used."""
    return RunIdentity(
        config=digest_json(deciding(config)),
        software=software_digest(),
        cohort=digest_json(_rows(cohort)),
        names={"config": config.name, "software": __version__, "cohort": cohort.name},
    )


def _rows(cohort: Cohort) -> list[list[Any]]:
    """What of a cohort a training uses. Where the files lie isn't part of it: they may have been moved."""
    entries = [*cohort.in_split(Split.TRAINING), *cohort.in_split(Split.TUNING)]
    return [
        [
            entry.split.value if entry.split else "",
            entry.patient,
            entry.case,
            entry.specimen,
            entry.slide,
            entry.path.name,
            entry.label,
            entry.mpp,
        ]
        for entry in entries
    ]


def _prepare(folder: Path) -> None:
    if folder.is_dir():
        found = {path.name for path in folder.iterdir()}
        if found and not found & _OURS:
            raise RunFolderTaken(f"{folder} is not empty and holds no training.")
    elif folder.exists():
        raise RunFolderTaken(f"{folder} is no folder.")
    folder.mkdir(parents=True, exist_ok=True)


def _write_identity(run: TrainingRun, cohort: Cohort, command: str) -> None:
    write_json(
        run.folder / RUN_FILE,
        {
            "at": utc_now(),
            "name": run.config.name,
            "mode": run.config.mode.value,
            "seed": run.config.seed,
            "identity": {
                "config": run.identity.config,
                "software": run.identity.software,
                "cohort": run.identity.cohort,
            },
            "config": to_plain(run.config),
            "cohort": {
                "name": cohort.name,
                "table_digest": cohort.digest,
                "synthetic": cohort.synthetic,
                "scans": {split.value: len(cohort.in_split(split)) for split in (Split.TRAINING, Split.TUNING)},
            },
            "software": __version__,
            "environment": _environment(run.ranks),
            "command": command,
            "forced": run.force,
        },
    )
    run.journal.started(run.identity, command=command)


def _environment(ranks: Ranks) -> dict[str, Any]:
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "platform": platform.platform(),
        "host": platform.node(),
        "ranks": ranks.world,
        "device": ranks.device.type if ranks.device.type == "cpu" else torch.cuda.get_device_name(ranks.device),
        "threads": torch.get_num_threads(),
    }
