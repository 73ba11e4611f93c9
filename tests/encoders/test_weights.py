"""The digest of weights covers names, types, shapes and bytes, and nothing else."""

import torch

from pellucid.encoders import state_digest

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
