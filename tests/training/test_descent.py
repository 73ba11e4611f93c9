import pytest
import torch
from torch import nn

from pellucid.training import TrainingDiverged
from pellucid.training.descent import Descent


def descent(weight, n_steps=40):
    return Descent([weight], learning_rate=0.1, weight_decay=0.0, n_steps=n_steps, what="head")


def test_steps_go_down_and_report_the_loss_before_them():
    weight = nn.Parameter(torch.tensor([2.0]))
    down = descent(weight)
    losses = [down.step((weight**2).sum()) for _ in range(40)]
    assert losses[0] == 4.0
    assert losses[-1] < 0.5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_ends_the_training_and_changes_nothing(value):
    weight = nn.Parameter(torch.tensor([2.0]))
    with pytest.raises(TrainingDiverged, match="head"):
        descent(weight).step((weight * value).sum())
    assert float(weight.detach()) == 2.0
