import json

import pytest

from pellucid.core.serial import from_plain, to_plain
from pellucid.training import EncoderTraining, HeadTraining, Limits, TrainingConfig, TrainingConfigInvalid


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (EncoderTraining, {"epochs": 0}),
        (EncoderTraining, {"learning_rate": float("nan")}),
        (HeadTraining, {"bags_per_step": -1}),
        (Limits, {"sd_quantile": 1.5}),
        (TrainingConfig, {"max_unusable": 2}),
        (TrainingConfig, {"seed": -1}),
    ],
)
def test_setting_that_cannot_be_used_is_named(kind, values):
    with pytest.raises(TrainingConfigInvalid, match=next(iter(values))):
        kind(**values)


def test_configuration_survives_json():
    config = TrainingConfig(seed=3, head=HeadTraining(epochs=2))
    assert from_plain(TrainingConfig, json.loads(json.dumps(to_plain(config)))) == config
