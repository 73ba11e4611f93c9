"""A head from its stored weights, or an error that says which weight is wrong."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pellucid.aggregators.config import GatedAttentionConfig
from pellucid.aggregators.errors import HeadWeightsMismatch, HeadWeightsNonFinite
from pellucid.aggregators.gated_attention import GatedAttention


def load_head(config: GatedAttentionConfig, state: Mapping[str, Tensor]) -> GatedAttention:
    """Build a head with the weights of `state`, in evaluation mode and without gradients.

    Args:
        config: the configuration that the weights were trained with.
        state: every weight by its name, float32, as `GatedAttention.state_dict()` gives them; it is copied.

    Raises:
        HeadWeightsMismatch: a weight is missing, unknown, or of another shape or type; the first by name is given.
        HeadWeightsNonFinite: a weight is NaN or infinite.
    """
    head = GatedAttention(config)
    expected = head.state_dict()
    for name in sorted(expected.keys() | state.keys()):
        _check_weight(name, expected.get(name), state.get(name))
    head.load_state_dict(state, strict=True)
    return head.eval().requires_grad_(requires_grad=False)


def _check_weight(name: str, expected: Tensor | None, given: Tensor | None) -> None:
    if given is None:
        raise HeadWeightsMismatch(f"The weights lack {name}.")
    if expected is None:
        raise HeadWeightsMismatch(f"The weights hold {name}, which the head doesn't have.")
    if given.shape != expected.shape or given.dtype != expected.dtype:
        raise HeadWeightsMismatch(
            f"{name} is {tuple(given.shape)} {given.dtype}, but the head has {tuple(expected.shape)} {expected.dtype}."
        )
    if not bool(torch.isfinite(given).all()):
        raise HeadWeightsNonFinite(f"{name} holds a value that is NaN or infinite.")
