"""The two passes of a joint step through the encoder, chunk by chunk."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pellucid.domain.encoder import EncoderSpec
from pellucid.training.config import Precision
from pellucid.training.joint.augmentation import TileChanges
from pellucid.training.joint.blocks import blocks_of, computed_anew, trainable_parameters
from pellucid.training.joint.errors import JointUnfit
from pellucid.training.joint.exchange import summing
from pellucid.training.joint.inputs import TileInputs
from pellucid.training.joint.replay import replayed
from pellucid.training.joint.settings import JointSettings
from pellucid.training.joint.sharding import Chunk
from pellucid.training.ranks import Ranks

_HALF = {Precision.BFLOAT16: torch.bfloat16, Precision.FLOAT16: torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Share:
    """What one rank encodes in one step: its pixels `(m, tile_px, tile_px, 3) uint8`, their changes, their chunks."""

    pixels: NDArray[np.uint8]
    changes: TileChanges | None
    chunks: list[Chunk]
    seed: int
    step: int


class EncoderPasses:
    """Encodes a share without a graph, and later again with one, to take gradients back through it.

    Making it is collective: the encoder's weights become the first rank's.

    Args:
        encoder: on the ranks' device, in its final type.
        spec: its spec.
        settings: of the joint step.
        ranks: who takes part.

    Raises:
        BlocksUnknown: a setting needs the encoder's blocks, and they aren't known.
        JointUnfit: the encoder has nothing to train.
    """

    def __init__(self, encoder: nn.Module, spec: EncoderSpec, settings: JointSettings, ranks: Ranks) -> None:
        self._encoder, self._spec, self._ranks = encoder, spec, ranks
        self.dtype = torch.float64 if settings.precision is Precision.FLOAT64 else torch.float32
        self._half = _HALF.get(settings.precision)
        self._inputs = TileInputs(spec, settings.chunk, device=ranks.device, dtype=self.dtype)
        self._anew = _mark_trained(encoder, settings)
        self._summing = summing(encoder, ranks, self._take_part)

    def encode(self, share: Share) -> Tensor:
        """The features of the share's tiles, `(m, dim)` float32 or float64, without a graph."""
        features = torch.empty(len(share.pixels), self._spec.dim, dtype=self.dtype, device=self._ranks.device)
        # one autocast around all chunks: the weights are turned into half precision once
        with torch.no_grad(), self._autocast():
            for chunk in share.chunks:
                with self._chance(share, chunk):
                    features[chunk.start : chunk.stop] = self._features(self._encoder, share, chunk)
        return features

    def back_propagate(self, share: Share, gradients: Tensor) -> None:
        """Add to every trained parameter's `grad` what `gradients` of the features make of it, over all ranks.

        Args:
            share: as it was encoded.
            gradients: `(m, dim)` of the loss by the features.
        """
        network = self._encoder if self._summing is None else self._summing
        if not share.chunks:
            self._take_part(network)
            return
        *before, last = share.chunks
        with computed_anew(self._anew):
            with self._alone():
                for chunk in before:
                    self._back(network, share, chunk, gradients)
            self._back(network, share, last, gradients)

    def _back(self, network: nn.Module, share: Share, chunk: Chunk, gradients: Tensor) -> None:
        with self._chance(share, chunk):
            features = self._features(network, share, chunk)
            torch.autograd.backward(features, gradients[chunk.start : chunk.stop])

    def _take_part(self, network: nn.Module) -> None:
        """A backward pass of zeros, for the collective of those who have tiles."""
        devices = [self._ranks.device] if self._ranks.device.type == "cuda" else []
        with computed_anew(self._anew), torch.random.fork_rng(devices=devices):
            with self._autocast():
                features = network(self._inputs.stand_in())
            torch.autograd.backward(features, torch.zeros_like(features))

    def _features(self, network: nn.Module, share: Share, chunk: Chunk) -> Tensor:
        rows = slice(chunk.start, chunk.stop)
        tiles = self._inputs(share.pixels[rows], None if share.changes is None else share.changes[rows])
        with self._autocast():
            features: Tensor = network(tiles)
        if features.shape != (len(tiles), self._spec.dim):
            raise JointUnfit(
                f"The encoder makes {tuple(features.shape)} of {len(tiles)} tiles, but {self._spec.id} has dim "
                f"{self._spec.dim}."
            )
        return features[: chunk.stop - chunk.start].to(self.dtype)

    def _chance(self, share: Share, chunk: Chunk) -> AbstractContextManager[None]:
        return replayed(self._ranks.device, seed=share.seed, step=share.step, chunk=chunk.number)

    def _autocast(self) -> AbstractContextManager[object]:
        if self._half is None:
            return nullcontext()
        return torch.autocast(self._ranks.device.type, dtype=self._half)

    def _alone(self) -> AbstractContextManager[object]:
        return nullcontext() if self._summing is None else self._summing.no_sync()


def _mark_trained(encoder: nn.Module, settings: JointSettings) -> list[nn.Module]:
    """Set what needs a gradient, and return the modules to compute anew."""
    encoder.requires_grad_(requires_grad=False)
    trained = trainable_parameters(encoder, settings.last_blocks)
    if not trained:
        raise JointUnfit(f"{type(encoder).__name__} has no weights to train.")
    for parameter in trained.values():
        parameter.requires_grad_()
    if not settings.activation_checkpointing:
        return []
    blocks = blocks_of(encoder).blocks.values()
    return [block for block in blocks if any(parameter.requires_grad for parameter in block.parameters())]
