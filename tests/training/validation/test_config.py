import pytest

from pellucid.training import HeadTraining, TrainingConfigInvalid
from pellucid.training.validation import Grid, Validation
from pellucid.training.validation.candidates import candidates_of

HEAD = HeadTraining(epochs=7)


def test_without_values_the_setting_stays_as_configured():
    (only,) = candidates_of(Grid(), HEAD)
    assert (only.name, only.head) == ("as configured", HEAD)


def test_candidates_are_all_combinations_and_named_by_what_is_varied():
    found = candidates_of(Grid(learning_rate=(1e-4, 1e-3), epochs=(3, 5)), HEAD)
    assert [one.name for one in found] == [
        "learning_rate 0.0001, epochs 3",
        "learning_rate 0.0001, epochs 5",
        "learning_rate 0.001, epochs 3",
        "learning_rate 0.001, epochs 5",
    ]
    assert found[-1].head == HeadTraining(epochs=5, learning_rate=1e-3)


@pytest.mark.parametrize(
    "values",
    [{"epochs": (0,)}, {"learning_rate": (float("nan"),)}, {"weight_decay": (-1.0,)}, {"epochs": (3, 3)}],
)
def test_value_that_cannot_be_used_or_is_named_twice_is_refused(values):
    with pytest.raises(TrainingConfigInvalid, match=next(iter(values))):
        Grid(**values)


def test_weight_decay_may_be_zero_and_too_many_combinations_are_refused():
    assert candidates_of(Grid(weight_decay=(0.0,)), HEAD)[0].head.weight_decay == 0
    with pytest.raises(TrainingConfigInvalid, match="81 combinations"):
        Grid(epochs=tuple(range(1, 10)), tiles_per_bag=tuple(range(1, 10)))


@pytest.mark.parametrize(
    "values", [{"outer_folds": 1}, {"outer_folds": -2}, {"inner_folds": 1}, {"seeds": 0}, {"group": " "}]
)
def test_numbers_that_make_no_folds_are_refused(values):
    with pytest.raises(TrainingConfigInvalid, match=next(iter(values))):
        Validation(**values)
