"""A run's first task is refused where its checkpoints can't be kept; other data than before is another training."""

import shutil
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from pellucid.aggregators import GatedAttentionConfig
from pellucid.core.errors import StorageFull
from pellucid.domain.cohort import Cohort
from pellucid.training import HeadTraining, TrainingConfig
from pellucid.training.checkpoints import CheckpointFailed, CheckpointForeign
from pellucid.training.fit import fit
from pellucid.training.head_loop import HeadTask
from pellucid.training.ranks import Ranks
from pellucid.training.run import opened_run
from pellucid.training.stopping import StopFlag

_CONFIG = TrainingConfig(head=HeadTraining(epochs=1))


@contextmanager
def opened(folder, silent):
    cohort = Cohort(entries=(), name="none", synthetic=True)
    with opened_run(folder, cohort, _CONFIG, Ranks(), report=silent, stop=StopFlag()) as run:
        yield run


@pytest.fixture
def task(bags):
    learnt = [bags(number, number % 2) for number in range(4)]
    return lambda name: HeadTask(learnt, GatedAttentionConfig(input_dim=8), _CONFIG, name=name)


def test_a_run_whose_checkpoints_cannot_be_written_is_not_begun(tmp_path, silent, task, monkeypatch):
    with opened(tmp_path / "out", silent) as run:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        with pytest.raises(CheckpointFailed, match="nothing is begun"):
            fit(task("head"), run)


def test_a_disk_without_room_for_all_that_stays_is_told_before_the_first_step(tmp_path, silent, task, monkeypatch):
    usage = SimpleNamespace(free=12 << 20)
    with opened(tmp_path / "out", silent) as run:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        steps = []
        first = task("head")
        monkeypatch.setattr(first, "step", steps.append)
        first.parts()["losses"]._sums = first.parts()["losses"]._sums.new_zeros(1 << 17)
        for _ in range(2):
            # the second time there is the checkpoint of the first start
            with pytest.raises(StorageFull, match="free; checkpoints of"):
                fit(first, run)
        assert steps == []


def test_checkpoints_of_other_data_are_another_training(tmp_path, silent, task):
    with opened(tmp_path / "out", silent) as run:
        fit(task("head"), run.with_data("a"))
        fit(task("head"), run.with_data("a"))
        with pytest.raises(CheckpointForeign, match="cohort"):
            fit(task("head"), run.with_data("b"))
