"""The digest of weights covers names, types, shapes and bytes, and nothing else."""

import hashlib

import pytest
import torch

from pellucid.encoders import WeightsUnfit, check_state, state_digest

STATE = {"a": torch.arange(6, dtype=torch.float32).reshape(2, 3), "b": torch.tensor(3)}


def test_order_of_the_mapping_and_layout_in_memory_do_not_matter():
    strided = torch.arange(6, dtype=torch.float32).reshape(2, 3).t().contiguous().t()
    assert not strided.is_contiguous()
    assert state_digest({"b": STATE["b"], "a": strided}) == state_digest(STATE)


def test_name_type_shape_and_value_each_matter():
    changed = [
        {"a2": STATE["a"], "b": STATE["b"]},
        STATE | {"a": STATE["a"].reshape(3, 2)},
        STATE | {"a": STATE["a"].view(torch.int32)},
        STATE | {"a": STATE["a"] + 1e-6},
        STATE | {"b": torch.tensor(4)},
    ]
    digests = {state_digest(state) for state in [STATE, *changed]}
    assert len(digests) == 6


def test_half_precision_that_numpy_lacks_has_a_digest():
    assert len(state_digest({"a": torch.ones(3, dtype=torch.bfloat16)})) == 64


def test_the_digest_is_that_of_bundles_signed_before() -> None:
    """Header and bytes of each tensor in the order of names: bundles in use hold digests made so."""
    total = hashlib.sha256()
    total.update(b'["a", "float32", [2, 3]]\n' + STATE["a"].numpy().tobytes())
    total.update(b'["b", "int64", []]\n' + STATE["b"].numpy().tobytes())
    assert state_digest(STATE) == total.hexdigest()


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 500, 999])
def test_a_number_that_is_not_finite_is_found_wherever_it_is(kind: torch.dtype, value: float, place: int) -> None:
    good = torch.linspace(-3, 3, 1000).to(kind)
    check_state({"a": good}, {"a": good}, what="it")
    sick = good.clone()
    sick[place] = value
    with pytest.raises(WeightsUnfit, match="NaN or infinite"):
        check_state({"a": good}, {"a": sick}, what="it")


def test_integers_and_empty_tensors_are_finite() -> None:
    state = {"count": torch.tensor(3), "none": torch.zeros(0, 4)}
    check_state(state, state, what="it")
