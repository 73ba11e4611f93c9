import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pellucid.encoders.transform import normalise
from pellucid.training.config import Precision
from pellucid.training.errors import TrainingDiverged
from pellucid.training.joint import (
    JointRecipe,
    JointSettings,
    JointStep,
    JointUnfit,
    TilesMisplaced,
    follow,
    joint_optimiser,
)
from pellucid.training.ranks import Ranks
from training.joint.joint_parts import (
    CASES,
    DIMS,
    Case,
    gradients,
    make_encoder,
    make_head,
    make_pixels,
    make_spec,
    make_step,
    part,
    plain_gradients,
    run_step,
    settings,
    step_gradients,
)


def difference(one, other, name="encoder"):
    one, other = part(one, name), part(other, name)
    return float((one - other).norm() / other.norm())


def after(case, n=11, **changes):
    step = make_step(case, Ranks())
    outcome = run_step(step, n, chunk=case.settings.chunk, **changes)
    return outcome, gradients(step.model), step


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("last_blocks", [None, 1])
def test_timm_transformer_with_dropout_has_the_gradient_of_plain_autograd(anew, last_blocks):
    chosen = settings(activation_checkpointing=anew, last_blocks=last_blocks, augment=True)
    case = Case(network="timm", dropout=0.2, settings=chosen)
    stepped, plain = step_gradients(case, Ranks()), plain_gradients(case)
    assert stepped.keys() == plain.keys()
    for name in ("encoder", "head", "loss", "norm"):
        assert difference(stepped, plain, name) < 1e-10


def test_gradient_does_not_depend_on_the_chunk_without_dropout():
    found = [after(Case(settings=settings(chunk=chunk, augment=True)))[1] for chunk in (1, 4, 64)]
    for name in ("encoder", "head"):
        assert difference(found[0], found[1], name) < 1e-10
        assert difference(found[2], found[1], name) < 1e-10


def test_step_number_changes_dropout_and_augmentation_and_the_same_number_gives_the_same_bits():
    case = CASES["dropout"]
    once, again, other = (after(case, step=step)[0] for step in (4, 4, 5))
    assert (once.loss, once.grad_norm) == (again.loss, again.grad_norm)
    assert once.loss != other.loss


def test_generators_and_buffers_are_as_before_and_the_caller_keeps_its_dropout():
    case = CASES["batch norm"]
    step = make_step(case, Ranks())
    buffers = {name: buffer.clone() for name, buffer in step.model.named_buffers()}
    dropout = dict(step.model.head.dropout.items())
    before = torch.get_rng_state()
    run_step(step, 11)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in step.model.named_buffers())
    assert dict(step.model.head.dropout.items()) == dropout


def test_class_weight_multiplies_the_gradient_of_a_single_slide():
    case = CASES["dropout"]
    (light, once, _), (heavy, twice, _) = after(case, weight=0.75), after(case, weight=1.5)
    assert heavy.loss == 2 * light.loss
    assert all(torch.equal(twice[name], 2 * once[name]) for name in once)


def test_gradients_of_a_step_replace_those_of_the_step_before():
    case = CASES["dropout"]
    _, wanted, step = after(case)
    run_step(step, 5, key=3)
    run_step(step, 11)
    found = gradients(step.model)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_frozen_blocks_have_no_gradient_and_no_graph():
    seen = []
    step = make_step(CASES["last block"], Ranks())
    first, last = step.model.encoder.blocks
    first.linear1.register_forward_hook(lambda *call: seen.append(("first", call[2].requires_grad)))
    last.linear1.register_forward_hook(lambda *call: seen.append(("last", call[2].requires_grad)))
    run_step(step, 3)
    # once without a graph, once with one, and the last block once more, computed anew
    assert [seen.count(("first", False)), seen.count(("first", True))] == [2, 0]
    assert [seen.count(("last", False)), seen.count(("last", True))] == [1, 2]
    named = dict(step.model.encoder.named_parameters())
    assert {name.split(".")[0] for name, weight in named.items() if weight.grad is not None} == {"blocks", "norm"}
    assert named["blocks.0.linear1.weight"].grad is None
    assert step.model.trained().keys() == gradients(step.model).keys()


@pytest.mark.parametrize(("precision", "tolerance"), [(Precision.BFLOAT16, 0.05), (Precision.FLOAT16, 0.01)])
def test_half_precision_comes_near_and_keeps_weights_and_features_in_float32(precision, tolerance):
    outcome, found, step = after(Case(settings=settings(precision)))
    _, wanted, _ = after(Case(settings=settings(Precision.FLOAT32)))
    assert 0 < difference(found, wanted) < tolerance
    assert difference(found, wanted, "head") < tolerance
    assert {weight.dtype for weight in step.model.parameters()} == {torch.float32}
    assert outcome.feature_bytes == 11 * DIMS["vit"] * 4
    assert not outcome.skipped


def test_small_gradients_come_through_float16_because_they_are_scaled():
    wanted = after(Case(settings=settings(Precision.FLOAT32)), weight=1e-7)[1]
    assert difference(after(Case(settings=settings(Precision.FLOAT16)), weight=1e-7)[1], wanted) < 0.01
    assert difference(after(Case(settings=settings(Precision.FLOAT16, loss_scale=1.0)), weight=1e-7)[1], wanted) > 0.5


def test_float16_gradient_that_overflows_is_skipped_and_told():
    outcome, found, step = after(Case(settings=settings(Precision.FLOAT16, loss_scale=2.0**40)))
    assert outcome.skipped
    assert not math.isfinite(outcome.grad_norm)
    assert math.isfinite(outcome.loss)
    assert not found
    recipe = JointRecipe(warm_up_epochs=0, learning_rate=1)
    optimiser = joint_optimiser(step.model.trained(), recipe)
    before = {name: value.clone() for name, value in step.model.state_dict().items()}
    follow(optimiser, recipe, 0, 10)
    optimiser.step()
    assert all(torch.equal(value, before[name]) for name, value in step.model.state_dict().items())


def test_clipping_bounds_the_norm_and_keeps_the_direction():
    outcome, found, _ = after(Case(settings=settings(clip=0.01)))
    _, wanted, _ = after(Case(settings=settings()))
    assert float(part(found, "").norm()) == pytest.approx(0.01, rel=1e-9)
    assert outcome.grad_norm == pytest.approx(float(part(wanted, "").norm()), rel=1e-9)
    assert difference(found, {name: 0.01 / outcome.grad_norm * each for name, each in wanted.items()}) < 1e-9


def test_features_that_are_not_finite_are_counted_and_nothing_is_touched():
    case = CASES["dropout"]
    step = make_step(case, Ranks())
    run_step(step, 11)
    with torch.no_grad():
        step.model.encoder.norm.bias[0] = torch.nan
    state = {name: value.clone() for name, value in step.model.state_dict().items()}
    generator = torch.get_rng_state()
    with pytest.raises(TrainingDiverged, match="the features of 11 of its 11 tiles aren't finite"):
        run_step(step, 11)
    assert not gradients(step.model)
    assert torch.equal(torch.get_rng_state(), generator)
    for name, value in step.model.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0, equal_nan=True)


def test_gradient_that_is_not_finite_is_told_unless_in_float16():
    step = make_step(Case(settings=settings(Precision.FLOAT32)), Ranks())
    # finite forward, but the gradient is multiplied by what float32 doesn't hold
    step.model.encoder.norm.register_full_backward_hook(
        lambda _module, given, _: tuple(each * 1e38 * 1e9 for each in given)
    )
    with pytest.raises(TrainingDiverged, match="The gradient of step 3"):
        run_step(step, 11)
    assert not gradients(step.model)


def test_tiles_of_another_share_are_refused():
    step = make_step(CASES["float32"], Ranks())
    with pytest.raises(TilesMisplaced, match="aren't its share"):
        run_step(step, 0)
    given = {"tile_ids": np.arange(4), "label": 1, "weight": 1.0, "seed": 0, "step": 0}
    with pytest.raises(TilesMisplaced, match="4 of 9 tiles"):
        step.run(make_pixels(4), np.arange(4), 9, **given)
    with pytest.raises(TilesMisplaced, match="of 32 px"):
        step.run(make_pixels(4)[:, :16], np.arange(4), 4, **given)


def test_encoder_head_and_spec_must_fit():
    spec = make_spec()
    with pytest.raises(JointUnfit, match="takes 20 features a tile, but vit makes 48"):
        JointStep(make_encoder(), make_head(20), spec, JointSettings(), Ranks())
    with pytest.raises(JointUnfit, match="no weights"):
        JointStep(torch.nn.Flatten(), make_head(48), spec, JointSettings(), Ranks())
    wide = JointStep(make_encoder(), make_head(50), replace(spec, dim=50), JointSettings(chunk=3), Ranks())
    with pytest.raises(JointUnfit, match=r"\(3, 48\) of 3 tiles"):
        run_step(wide, 3)


def test_encoder_that_was_frozen_for_inference_trains():
    encoder = make_encoder().eval().requires_grad_(requires_grad=False)
    step = JointStep(encoder, make_head(48), make_spec(), settings(Precision.FLOAT32), Ranks())
    run_step(step, 5)
    assert set(gradients(step.model)) == set(dict(step.model.named_parameters()))


def test_score_is_the_logit_of_the_model_in_evaluation():
    case = Case(dropout=0.3, settings=settings(augment=True))
    step = make_step(case, Ranks())
    score = step.score(make_pixels(7), np.arange(7), 7)
    assert run_step(step, 7).logit != pytest.approx(score, rel=1e-3)
    model = step.model.eval()
    with torch.no_grad():
        wanted = float(model(normalise(make_pixels(7), make_spec()).double()).logit)
    assert score == pytest.approx(wanted, rel=1e-10)


def test_chunks_with_gaps_key_the_dropout_as_those_without():
    step = make_step(CASES["dropout"], Ranks())
    whole = run_step(step, 11)
    given = {"tile_ids": np.arange(11) * 7, "label": 1, "weight": 1.7, "seed": 5, "step": 3}
    same = step.run(make_pixels(11), np.arange(11), 11, chunks=np.arange(11) // 3, **given)
    assert (same.loss, same.grad_norm) == (whole.loss, whole.grad_norm)
    moved = step.run(make_pixels(11), np.arange(11), 11, chunks=1 + np.arange(11) // 3, **given)
    assert moved.loss != whole.loss
    with pytest.raises(TilesMisplaced):
        step.run(make_pixels(11), np.arange(11), 11, chunks=np.arange(11) // 4, **given)
