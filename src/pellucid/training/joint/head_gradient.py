"""The head's half of a joint step: loss and gradients of one bag of features, in full precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pellucid.aggregators import GatedAttention
from pellucid.training.determinism import torch_generator


@dataclass(frozen=True, slots=True, eq=False)
class HeadGradient:
    """Loss and logit of a bag; the loss's gradient by its features `(n, dim)` and by each of the head's parameters."""

    loss: float
    logit: float
    features: Tensor
    parameters: list[Tensor]


def head_gradient(
    head: GatedAttention, features: Tensor, *, label: int, weight: float, seed: int, step: int
) -> HeadGradient:
    """Forward and backward through the head alone.

    The loss is `weight` times the binary cross-entropy, never divided by the weight.

    Args:
        head: in training mode where it should drop channels.
        features: `(n, dim)` of the head's own type.
        label: 0 or 1.
        weight: of the slide.
        seed: of the training; keys the dropout with `step`.
        step: of the training.
    """
    leaf = features.detach().requires_grad_()
    with channel_masks(head, seed, step), torch.autocast(features.device.type, enabled=False):
        logit = head(leaf).logit
        loss = weight * functional.binary_cross_entropy_with_logits(logit, torch.full_like(logit, float(label)))
    by_features, *by_parameters = torch.autograd.grad(loss, [leaf, *head.parameters()])
    return HeadGradient(float(loss.detach()), float(logit.detach()), by_features, by_parameters)


@contextmanager
def channel_masks(head: GatedAttention, seed: int, step: int) -> Iterator[None]:
    """Let the head drop whole channels for the length of the context, one mask for all tiles, keyed by (seed, step).

    The Monte-Carlo passes drop channels in this way; dropout of single elements would average out over the tiles.
    """
    before = dict(head.dropout.items())
    try:
        for site, (width, rate) in head.config.sites.items():
            kept = torch.rand(width, generator=torch_generator("joint-head", seed, step, site)) >= rate
            head.dropout[site] = _Mask(kept / (1 - rate)).train(head.training)
        yield
    finally:
        for site, module in before.items():
            head.dropout[site] = module


class _Mask(nn.Module):
    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self._factors = factors

    def forward(self, features: Tensor) -> Tensor:
        return features * self._factors.to(features) if self.training else features
