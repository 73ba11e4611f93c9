import pytest
import torch
from torch import nn

from pellucid.training import TrainingDiverged
from pellucid.training.descent import Descent, EpochLosses, one_cycle


def descent(weight, n_steps=40):
    return Descent([weight], learning_rate=0.1, weight_decay=0.0, n_steps=n_steps, what="head")


def test_steps_go_down_and_report_the_loss_before_them():
    weight = nn.Parameter(torch.tensor([2.0]))
    down = descent(weight)
    losses = [down.step(number, (weight**2).sum()) for number in range(40)]
    assert losses[0] == 4.0
    assert losses[-1] < 0.5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_ends_the_training_and_changes_nothing(value):
    weight = nn.Parameter(torch.tensor([2.0]))
    with pytest.raises(TrainingDiverged, match="head"):
        descent(weight).step(0, (weight * value).sum())
    assert float(weight.detach()) == 2.0


@pytest.mark.parametrize("n_steps", [1, 3, 5, 40, 333])
def test_schedule_is_that_of_torch_and_a_function_of_the_step_alone(n_steps):
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 0.1, total_steps=n_steps + 1, pct_start=0.2, cycle_momentum=False
    )
    wanted = []
    for _ in range(n_steps):
        wanted.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert [one_cycle(step, n_steps, 0.1) for step in range(n_steps)] == pytest.approx(wanted, rel=1e-9)


def test_losses_of_epochs_survive_as_state():
    losses = EpochLosses(3)
    losses.add(0, 2.0, 4)
    losses.add(0, 1.0, 4)
    losses.add(1, 0.5, 1)
    again = EpochLosses(3)
    again.load_state_dict(losses.state_dict())
    assert again.means() == losses.means() == [1.5, 0.5]
