"""The loop, where a validation is cut off."""

import time

import pytest
import torch
from torch import nn

from pellucid.domain.cohort import Cohort, Split
from pellucid.training import TrainingConfig
from pellucid.training import fit as module
from pellucid.training.fit import fit
from pellucid.training.ranks import Ranks
from pellucid.training.run import opened_run
from pellucid.training.stopping import StopFlag


class Counting:
    """Adds one a step; each epoch's validation takes a while, and can be cut off."""

    name, n_steps, epoch_steps = "counting", 6, 2

    def __init__(self, cut_off=None):
        self.model = nn.Linear(1, 1)
        nn.init.zeros_(self.model.weight)
        self.validated, self.cut_off = [], cut_off

    def parts(self):
        return {"model": self.model}

    def step(self, number):
        with torch.no_grad():
            self.model.weight += 1
        return {"loss": float(number)}

    def epoch_ended(self, epoch):
        time.sleep(0.5)
        if epoch == self.cut_off:
            raise KeyboardInterrupt
        self.validated.append((epoch, float(self.model.weight.detach())))
        return {"score": float(epoch)}

    def close(self):
        pass


@pytest.fixture
def run_of(tmp_path, entries, silent):
    cohort = Cohort(entries=(entries(0, 0), entries(1, 1, Split.TUNING)), name="fit")

    def run():
        return opened_run(tmp_path / "run", cohort, TrainingConfig(), Ranks(), report=silent, stop=StopFlag())

    return run


def test_a_validation_that_was_cut_off_is_done_again_and_no_step_with_it(run_of, monkeypatch):
    monkeypatch.setattr(module, "_OVERHEAD", 1.0)
    with pytest.raises(KeyboardInterrupt), run_of() as run:
        fit(Counting(cut_off=1), run)
    task = Counting()
    with run_of() as run:
        fit(task, run)
    assert task.validated == [(1, 4.0), (2, 6.0)]


def test_a_finished_task_is_not_done_again(run_of):
    with run_of() as run:
        fit(Counting(), run)
    task = Counting()
    with run_of() as run:
        fit(task, run)
    assert task.validated == []
    assert float(task.model.weight.detach()) == 6.0
