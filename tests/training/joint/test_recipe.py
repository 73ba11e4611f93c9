import numpy as np
import pytest
import torch

from pellucid.encoders.transform import normalise
from pellucid.training.config import Precision
from pellucid.training.joint import JointRecipe, JointSettings, JointSettingsInvalid, follow, joint_optimiser
from pellucid.training.ranks import Ranks
from training.joint.joint_parts import CASES, make_pixels, make_spec, make_step, run_step, settings

EAGLE = JointRecipe()


def test_eagles_learning_rate_at_named_steps():
    rates = {step: EAGLE.learning_rate_at(step, 100) for step in range(2000)}
    assert rates[0] == 0
    assert rates[50] == pytest.approx(2.5e-7)
    assert rates[100] == pytest.approx(5e-7)
    assert rates[200] == 1e-6
    # half of the cosine lies between steps 1099 and 1100
    assert (rates[1099] + rates[1100]) / 2 == pytest.approx((1e-6 + 1e-8) / 2)
    assert rates[1999] == pytest.approx(1e-8)
    assert all(rates[step] > rates[step + 1] for step in range(200, 1999))


def test_eagles_weight_decay_at_named_steps():
    decays = [EAGLE.weight_decay_at(step, 100) for step in range(2000)]
    assert decays[0] == 0.04
    assert (decays[999] + decays[1000]) / 2 == pytest.approx(0.22)
    assert decays[1999] == pytest.approx(0.4)
    assert decays == sorted(decays)


def test_schedule_bears_no_warm_up_one_step_and_a_warm_up_as_long_as_the_training():
    assert JointRecipe(warm_up_epochs=0).learning_rate_at(0, 10) == 1e-6
    assert JointRecipe(epochs=1, warm_up_epochs=0).learning_rate_at(0, 1) == pytest.approx(1e-8)
    assert JointRecipe(epochs=1).weight_decay_at(0, 1) == pytest.approx(0.4)
    assert JointRecipe(epochs=1, warm_up_epochs=2).learning_rate_at(9, 10) == pytest.approx(0.45e-6)


def test_settings_that_cannot_be_used_are_all_named():
    with pytest.raises(JointSettingsInvalid, match=r"learning_rate is -1.*epochs is 0.*share is 2"):
        JointRecipe(learning_rate=-1, epochs=0, share=2)
    with pytest.raises(JointSettingsInvalid, match=r"chunk is 0.*last_blocks is -1.*clip is nan"):
        JointSettings(chunk=0, last_blocks=-1, clip=float("nan"))


def test_groups_take_factor_and_decay_and_leave_biases_and_vectors_alone():
    model = make_step(CASES["float32"], Ranks()).model
    recipe = JointRecipe(encoder_factor=10, head_factor=1000, warm_up_epochs=0)
    optimiser = joint_optimiser(model.trained(), recipe)
    assert follow(optimiser, recipe, 0, 5) == 1e-6
    names = {parameter: name for name, parameter in model.named_parameters()}
    seen = {}
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            seen[names[parameter]] = (group["lr"], group["weight_decay"])
    assert seen.keys() == set(names.values())
    assert seen["encoder.blocks.0.linear1.weight"] == (pytest.approx(1e-5), 0.04)
    assert seen["encoder.cls_token"] == (pytest.approx(1e-5), 0.04)
    assert seen["encoder.blocks.0.linear1.bias"] == (pytest.approx(1e-5), 0)
    assert seen["encoder.norm.weight"] == (pytest.approx(1e-5), 0)
    assert seen["head.trunk1.weight"] == (pytest.approx(1e-3), 0.04)
    assert seen["head.trunk1.bias"] == (pytest.approx(1e-3), 0)


def test_state_that_is_there_from_the_beginning_is_that_of_a_plain_adamw():
    step = make_step(CASES["float32"], Ranks())
    recipe = JointRecipe(warm_up_epochs=0, learning_rate=1e-2)
    optimiser = joint_optimiser(step.model.trained(), recipe)
    empty = optimiser.state_dict()
    follow(optimiser, recipe, 0, 10)
    copies = {name: weight.detach().clone().requires_grad_() for name, weight in step.model.named_parameters()}
    plain = torch.optim.AdamW(
        [{"params": [weight], "weight_decay": 0.04 * (weight.ndim > 1)} for weight in copies.values()], lr=1e-2
    )
    for _ in range(2):
        run_step(step, 5)
        for name, weight in step.model.named_parameters():
            copies[name].grad = weight.grad.clone()
        optimiser.step()
        plain.step()
    for name, weight in step.model.named_parameters():
        assert torch.equal(weight, copies[name])
    full = optimiser.state_dict()
    assert full["state"].keys() == empty["state"].keys()
    for number, held in full["state"].items():
        assert {name: (value.shape, value.dtype) for name, value in held.items()} == {
            name: (value.shape, value.dtype) for name, value in empty["state"][number].items()
        }


def test_steps_learn_to_tell_dark_slides_from_light_ones():
    step = make_step(CASES["float32"], Ranks())
    recipe = JointRecipe(epochs=1, share=1, warm_up_epochs=0, learning_rate=1e-3, final_learning_rate=1e-4)
    optimiser = joint_optimiser(step.model.trained(), recipe)
    for number in range(30):
        follow(optimiser, recipe, number, 30)
        step.run(slide(number), np.arange(6), 6, **KEYS, label=number % 2, step=number)
        optimiser.step()
    model = step.model.eval()
    with torch.no_grad():
        logits = [float(model(normalise(slide(number), make_spec())).logit) for number in (100, 101, 102, 103)]
    assert max(logits[0::2]) < -0.5
    assert min(logits[1::2]) > 0.5


KEYS = {"tile_ids": np.arange(6), "weight": 1.0, "seed": 0}


def slide(number):
    return make_pixels(6, number) // 2 + np.uint8(127 * (number % 2))


def test_default_settings_are_usable():
    assert settings(Precision.FLOAT32).precision == "float32"
    assert JointSettings().chunk == 32
