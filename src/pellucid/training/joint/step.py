"""One step of encoder and head together: the exact gradient of a bag at bounded memory.

Feature-gradient caching on any number of ranks: a first pass encodes every tile without a graph; the head's backward
pass gives the gradient of the loss by each feature; a second pass encodes chunk by chunk again and takes those
gradients back through the encoder. Their sum is the gradient of the joint model, by the chain rule. What is kept of a
tile between the passes is its pixels and twice its feature; activations are those of one chunk, and the head's.
"""

import math
import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pellucid.aggregators import GatedAttention
from pellucid.domain.encoder import EncoderSpec
from pellucid.training.config import Precision
from pellucid.training.errors import TrainingDiverged
from pellucid.training.joint.augmentation import draw_changes
from pellucid.training.joint.errors import JointUnfit, TilesMisplaced
from pellucid.training.joint.exchange import FeatureExchange, Layout
from pellucid.training.joint.head_gradient import HeadGradient, head_gradient
from pellucid.training.joint.model import JointModel, freeze_statistics
from pellucid.training.joint.outcome import JointOutcome
from pellucid.training.joint.passes import EncoderPasses, Share
from pellucid.training.joint.settings import JointSettings
from pellucid.training.joint.sharding import chunks_by_number, chunks_of, rows_of
from pellucid.training.ranks import Ranks

_HALF_PEAK = 2.0**-4
"""What the greatest feature gradient becomes in a float16 encoder: room for 2^20 above it and below."""


class JointStep:
    """Steps an encoder and a head together, over all ranks.

    Making it is collective: it moves both to the ranks' device and to float32 (float64 where the settings say so),
    gives every rank the first's weights, and marks what trains. The step itself changes no weight.

    Args:
        encoder: maps normalised tiles `(b, 3, h, w)` to `(b, dim)`.
        head: takes embeddings of that width; its dropout is replaced by that of `channel_masks` in a step.
        spec: of the encoder.
        settings: how to compute.
        ranks: who takes part.

    Attributes:
        model: encoder and head; what a checkpoint holds.

    Raises:
        BlocksUnknown: a setting needs the encoder's blocks, and they aren't known.
        JointUnfit: encoder, head and spec don't fit each other.
    """

    def __init__(
        self, encoder: nn.Module, head: GatedAttention, spec: EncoderSpec, settings: JointSettings, ranks: Ranks
    ) -> None:
        if head.config.input_dim != spec.dim:
            raise JointUnfit(f"The head takes {head.config.input_dim} features a tile, but {spec.id} makes {spec.dim}.")
        self._spec, self._settings, self._ranks = spec, settings, ranks
        dtype = torch.float64 if settings.precision is Precision.FLOAT64 else torch.float32
        self.model = JointModel(encoder, head).to(device=ranks.device, dtype=dtype)
        head.requires_grad_()
        self._set_modes()
        self._passes = EncoderPasses(encoder, spec, settings, ranks)
        self._exchange = FeatureExchange(ranks)
        with torch.no_grad():
            for parameter, first in zip(
                head.parameters(), self._exchange.from_first([*head.parameters()]), strict=True
            ):
                parameter.copy_(first)

    def run(
        self,
        pixels: NDArray[np.uint8],
        rows: NDArray[np.int64],
        n: int,
        *,
        tile_ids: NDArray[np.int64],
        label: int,
        weight: float,
        seed: int,
        step: int,
        chunks: NDArray[np.int64] | None = None,
    ) -> JointOutcome:
        """The gradient of one slide's loss, left in `grad` of every trained parameter, the same on every rank.

        It depends on neither the number of ranks (but for the order of sums) nor the state of any generator.

        Args:
            pixels: `(m, tile_px, tile_px, 3) uint8`, this rank's tiles.
            rows: `(m,)`, which of the bag's n tiles they are: `sharding.rows_of`.
            n: tiles of the bag over all ranks.
            tile_ids: `(m,)`, what tells the slide's tiles apart, to key their augmentation.
            label: 0 or 1 of the slide.
            weight: what the slide weighs; its gradient is multiplied by that and never divided.
            seed: of the training.
            step: its number, which keys dropout and augmentation with the seed.
            chunks: `(m,)`, ascending, the chunk of each of this rank's tiles, where tiles that could not be read have
                left gaps in them; cut from the bag as it is where omitted. On all ranks, or on none.

        Raises:
            TilesMisplaced: the tiles aren't this rank's share.
            JointUnfit: the encoder's output isn't of the spec's width.
            TrainingDiverged: the loss is NaN or infinite, or the gradient is, unless in float16. No weight, buffer or
                generator has changed and there are no gradients.
        """
        share = self._share(pixels, rows, n, tile_ids, seed, step, chunks)
        layout = self._layout(rows, n, chunks)
        self._prepare()
        clock = _Clock(self._ranks.device)
        features = self._passes.encode(share)
        encode_s = clock.lap()
        bag = self._exchange.gather(features, layout)
        exchange_s = clock.lap()
        found = None
        if bag is not None:
            found = head_gradient(self.model.head, bag, label=label, weight=weight, seed=seed, step=step)
        # everyone learns here whether to go on: nobody may wait in a collective that others never reach
        loss, logit, unfit, scale = self._ranks.from_first(self._verdict(found, bag))
        head_s = clock.lap()
        if not math.isfinite(loss):
            self._forget()
            blame = f"; the features of {unfit} of its {n} tiles aren't finite" if unfit else ""
            raise TrainingDiverged(f"The loss of step {step} is {loss}{blame}.")
        gradients = self._hand_out(found, features, layout)
        exchange_s += clock.lap()
        self._passes.back_propagate(share, gradients * scale)
        backward_s = clock.lap()
        norm = self._finish(scale, step)
        return JointOutcome(
            loss=loss,
            logit=logit,
            grad_norm=norm,
            skipped=not math.isfinite(norm),
            n_tiles=n,
            feature_bytes=n * self._spec.dim * features.element_size(),
            encode_s=encode_s,
            head_s=head_s,
            backward_s=backward_s + clock.lap(),
            exchange_s=exchange_s,
        )

    def score(
        self,
        pixels: NDArray[np.uint8],
        rows: NDArray[np.int64],
        n: int,
        *,
        chunks: NDArray[np.int64] | None = None,
    ) -> float:
        """The logit of one slide without dropout, augmentation or gradient, the same on every rank.

        Args:
            pixels: as in `run`.
            rows: as in `run`.
            n: as in `run`.
            chunks: as in `run`.

        Raises:
            TilesMisplaced, JointUnfit: as in `run`.
        """
        share = self._share(pixels, rows, n, rows, 0, 0, chunks, changed=False)
        layout = self._layout(rows, n, chunks)
        self.model.eval()
        bag = self._exchange.gather(self._passes.encode(share), layout)
        with torch.no_grad():
            logit = None if bag is None else float(self.model.head(bag).logit)
        given = self._ranks.from_first(logit)
        assert given is not None
        return given

    def _layout(self, rows: NDArray[np.int64], n: int, chunks: NDArray[np.int64] | None) -> Layout:
        ranks = self._ranks
        if chunks is None:
            return [rows_of(rank, ranks.world, n, self._settings.chunk) for rank in range(ranks.world)]
        return ranks.gather(rows)

    def _share(
        self,
        pixels: NDArray[np.uint8],
        rows: NDArray[np.int64],
        n: int,
        tile_ids: NDArray[np.int64],
        seed: int,
        step: int,
        chunks: NDArray[np.int64] | None,
        *,
        changed: bool = True,
    ) -> Share:
        ranks, chunk, edge = self._ranks, self._settings.chunk, self._spec.tile_px
        if chunks is None:
            fits = np.array_equal(rows, rows_of(ranks.rank, ranks.world, n, chunk))
            own = chunks_of(ranks.rank, ranks.world, n, chunk)
        else:
            fits = chunks.shape == rows.shape and bool((chunks % ranks.world == ranks.rank).all())
            own = chunks_by_number(chunks)
            fits = fits and all(one.stop - one.start <= chunk for one in own)
        if n < 1 or not fits:
            raise TilesMisplaced(
                f"Rank {ranks.rank} of {ranks.world} was given {len(rows)} of {n} tiles that aren't its share in "
                f"chunks of {chunk}."
            )
        if pixels.dtype != np.uint8 or pixels.shape != (len(rows), edge, edge, 3) or tile_ids.shape != rows.shape:
            raise TilesMisplaced(
                f"Rank {ranks.rank} was given pixels {pixels.shape} {pixels.dtype} and {len(tile_ids)} tile ids for "
                f"{len(rows)} tiles of {edge} px."
            )
        changes = draw_changes(seed, step, tile_ids) if changed and self._settings.augment else None
        return Share(pixels=pixels, changes=changes, chunks=own, seed=seed, step=step)

    def _prepare(self) -> None:
        self._set_modes()
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                # in place, as the encoder's gradients live in the buckets that are summed over ranks
                parameter.grad.zero_()

    def _set_modes(self) -> None:
        self.model.train()
        freeze_statistics(self.model)

    def _verdict(self, found: HeadGradient | None, bag: Tensor | None) -> tuple[float, float, int, float]:
        """Loss, logit, number of tiles with unusable features, and the scale of the second pass."""
        if found is None or bag is None:
            return 0.0, 0.0, 0, 1.0
        unfit = 0 if math.isfinite(found.loss) else int((~bag.isfinite().all(dim=1)).sum())
        return found.loss, found.logit, unfit, self._scale(found.features)

    def _scale(self, gradients: Tensor) -> float:
        if self._settings.precision is not Precision.FLOAT16:
            return 1.0
        if self._settings.loss_scale is not None:
            return self._settings.loss_scale
        greatest = float(gradients.abs().max())
        if not math.isfinite(greatest) or greatest == 0:
            return 1.0
        return 2.0 ** math.floor(math.log2(_HALF_PEAK / greatest))

    def _hand_out(self, found: HeadGradient | None, features: Tensor, layout: Layout) -> Tensor:
        """Give every rank the head's gradient, and its part of that of the features."""
        parameters = list(self.model.head.parameters())
        given = self._exchange.from_first(parameters if found is None else found.parameters)
        for parameter, gradient in zip(parameters, given, strict=True):
            parameter.grad = gradient
        return self._exchange.scatter(None if found is None else found.features, features, layout)

    def _finish(self, scale: float, step: int) -> float:
        """Take the scale back, measure, clip; the norm before clipping. Without a finite one there are no gradients."""
        for parameter in self.model.encoder.parameters():
            if parameter.grad is not None and scale != 1:
                parameter.grad.mul_(1 / scale)
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        # in float64: a float32 sum over a billion squares loses its last digits
        norms = [torch.linalg.vector_norm(each, dtype=torch.float64) for each in gradients]
        norm = float(torch.linalg.vector_norm(torch.stack(norms)))
        if not math.isfinite(norm):
            self._forget()
            if self._settings.precision is not Precision.FLOAT16:
                raise TrainingDiverged(f"The gradient of step {step} has the norm {norm}.")
        elif self._settings.clip is not None and norm > self._settings.clip:
            for each in gradients:
                each.mul_(self._settings.clip / norm)
        return norm

    def _forget(self) -> None:
        self.model.zero_grad(set_to_none=True)


class _Clock:
    """Seconds between laps, with an accelerator's work done."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last = self._now()

    def lap(self) -> float:
        now = self._now()
        seconds, self._last = now - self._last, now
        return seconds

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
