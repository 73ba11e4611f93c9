"""What ranks hand each other in a joint step: features to the first, gradients back, and sums of gradients."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pellucid.training.ranks import Ranks

Layout = Sequence[NDArray[np.int64]]
"""The rows of a bag that each rank has, in the order of ranks."""

_BUFFERS = "forward_sync_buffers"
_TAKEN = inspect.signature(DistributedDataParallel.__init__).parameters
_KEEP_BUFFERS: Final[dict[str, Any]] = {_BUFFERS if _BUFFERS in _TAKEN else "broadcast_buffers": False}
"""Nothing changes a buffer in training, so none is sent; torch has changed the name of the setting."""


class FeatureExchange:
    """Features of all ranks into one bag on the first, and its gradient back to whom each row belongs.

    Every method is collective. Rows travel in blocks of the largest share, as collectives take equal ones.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def gather(self, own: Tensor, layout: Layout) -> Tensor | None:
        """The whole bag `(n, dim)` in its order, on the first rank; None elsewhere.

        Args:
            own: `(m, dim)`, this rank's rows.
            layout: which rows of the bag each rank has.
        """
        if self._ranks.world == 1:
            return own
        block = self._block(own, layout)
        block[: len(own)] = own
        blocks = [torch.empty_like(block) for _ in range(self._ranks.world)] if self._ranks.is_first else None
        dist.gather(block, blocks, dst=0)
        if blocks is None:
            return None
        bag = own.new_empty(sum(len(rows) for rows in layout), own.shape[1])
        for rows, given in zip(layout, blocks, strict=True):
            bag[torch.from_numpy(rows).to(own.device)] = given[: len(rows)]
        return bag

    def scatter(self, bag: Tensor | None, own: Tensor, layout: Layout) -> Tensor:
        """This rank's rows `(m, dim)` of what the first rank has for all.

        Args:
            bag: `(n, dim)` on the first rank, None elsewhere.
            own: `(m, dim)`, whose shape, type and device are wanted.
            layout: which rows of the bag each rank has.
        """
        if self._ranks.world == 1 and bag is not None:
            return bag
        block, blocks = self._block(own, layout), None
        if bag is not None:
            blocks = [torch.zeros_like(block) for _ in layout]
            for rows, given in zip(layout, blocks, strict=True):
                given[: len(rows)] = bag[torch.from_numpy(rows).to(own.device)]
        dist.scatter(block, blocks, src=0)
        return block[: len(own)]

    def from_first(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The first rank's tensors, on every rank; the others give tensors of the same shapes."""
        if self._ranks.world == 1:
            return list(tensors)
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        dist.broadcast(flat, src=0)
        pieces = torch.split(flat, [tensor.numel() for tensor in tensors])
        return [piece.view(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True)]

    def _block(self, own: Tensor, layout: Layout) -> Tensor:
        return own.new_zeros(max(len(rows) for rows in layout), own.shape[1])


def summing(encoder: nn.Module, ranks: Ranks, rehearse: Callable[[nn.Module], None]) -> DistributedDataParallel | None:
    """The encoder so that a backward pass sums its gradients over the ranks; None where there is one rank.

    DistributedDataParallel sends gradients while the backward pass still runs. Gradients are summed, not averaged as
    by default: each rank holds a part of one gradient. Its buckets are laid out anew after a first backward pass,
    which changes the order in which a ring of three ranks or more adds up; a resumed training would differ from an
    undisturbed one in its last bits. So that first pass is one of zeros, here. Another one before it finds whether the
    encoder has weights that its forward pass doesn't touch, which take more care, and leave the buckets as they are.

    Collective; every rank's weights become the first's, and no gradient is left.

    Args:
        encoder: with what trains marked.
        ranks: who takes part.
        rehearse: makes a backward pass of zeros through the network that it is given.
    """
    if ranks.world == 1:
        return None
    rehearse(encoder)
    untouched = any(parameter.requires_grad and parameter.grad is None for parameter in encoder.parameters())
    encoder.zero_grad(set_to_none=True)
    wrapped = DistributedDataParallel(
        encoder, find_unused_parameters=untouched, gradient_as_bucket_view=True, **_KEEP_BUFFERS
    )
    wrapped.register_comm_hook(None, _sum)
    rehearse(wrapped)
    encoder.zero_grad(set_to_none=True)
    return wrapped


# DistributedDataParallel reads these annotations and wants them so
def _sum(_state: object, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:  # type: ignore[name-defined]
    future = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
    return future.then(lambda done: done.value()[0])
