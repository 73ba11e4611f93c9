"""One rank, two and three, and plain autograd: the same gradient."""

import pytest
import torch

from pellucid.training.ranks import Ranks
from training.joint.joint_parts import (
    CASES,
    launch,
    make_encoder,
    part,
    plain_gradients,
    step_gradients,
    train,
    with_gaps,
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What every rank of each world found, by the number of ranks."""
    return {world: launch(world, tmp_path_factory.mktemp("ranks")) for world in (2, 3)}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return request.param


def relative(found, wanted, name):
    one, other = part(found, name), part(wanted, name)
    assert one.shape == other.shape
    assert other.norm() > 1e-6
    return float((one - other).norm() / other.norm())


def test_one_rank_gives_the_gradient_of_plain_autograd(case):
    stepped, plain = step_gradients(CASES[case], Ranks()), plain_gradients(CASES[case])
    assert stepped.keys() == plain.keys()
    for name in ("encoder", "head", "loss", "norm"):
        assert relative(stepped, plain, name) < CASES[case].tolerance


@pytest.mark.parametrize("world", [2, 3])
def test_more_ranks_give_the_gradient_of_plain_autograd(case, world, found):
    plain = plain_gradients(CASES[case])
    for of_rank in found[world][0]:
        assert of_rank[case].keys() == plain.keys()
        for name in ("encoder", "head", "loss", "norm"):
            assert relative(of_rank[case], plain, name) < CASES[case].tolerance


@pytest.mark.parametrize("world", [2, 3])
def test_all_ranks_have_the_same_bits(case, world, found):
    first, *others = found[world][0]
    for other in others:
        assert all(torch.equal(first[case][name], other[case][name]) for name in first[case])


@pytest.mark.parametrize("world", [2, 3])
def test_after_some_steps_all_ranks_have_the_same_weights(world, found):
    first, *others = found[world][0]
    for other in others:
        assert all(torch.equal(first["trained"][name], other["trained"][name]) for name in first["trained"])
    alone = train(Ranks(), 4)
    begun = train(Ranks(), 0)
    for name in ("encoder", "head"):
        assert relative(first["trained"], begun, name) > 1e-3
        assert relative(first["trained"], alone, name) < 1e-3


@pytest.mark.parametrize("world", [2, 3])
def test_training_built_anew_from_its_state_ends_in_the_same_bits(world, found):
    for of_rank in found[world][0]:
        assert all(torch.equal(of_rank["trained"][name], of_rank["resumed"][name]) for name in of_rank["trained"])


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_warn_of_nothing(world, found):
    assert not any("Warning" in complaint for complaint in found[world][1])


@pytest.mark.parametrize("world", [2, 3])
def test_rehearsing_the_sums_leaves_running_statistics_as_they_were(world, found):
    wanted = dict(make_encoder("small").named_buffers())
    for of_rank in found[world][0]:
        assert of_rank["buffers"].keys() == {f"encoder.{name}" for name in wanted}
        for name, buffer in wanted.items():
            assert torch.equal(of_rank["buffers"][f"encoder.{name}"], buffer.to(of_rank["buffers"][f"encoder.{name}"]))


@pytest.mark.parametrize("world", [2, 3])
def test_loss_that_is_not_finite_ends_the_step_on_every_rank_and_the_next_one_is_whole(world, found):
    plain = plain_gradients(CASES["dropout"])
    for of_rank in found[world][0]:
        assert of_rank["diverged"].pop("message") == "The loss of step 3 is inf."
        for name in ("encoder", "head"):
            assert relative(of_rank["diverged"], plain, name) < 1e-10


@pytest.mark.parametrize("world", [2, 3])
def test_bag_with_gaps_gives_the_same_on_any_number_of_ranks_one_of_which_may_have_nothing(world, found):
    alone = with_gaps(Ranks())
    for of_rank in found[world][0]:
        for name in ("encoder", "head", "score"):
            assert relative(of_rank["gaps"], alone, name) < 1e-10
