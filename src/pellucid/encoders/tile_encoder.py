"""Running an encoder on tiles, always in the one batch shape of its spec."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders.errors import NonFiniteFeatures, SpecUnusable, TilesUnfit, WeightsAltered
from pellucid.encoders.small import SmallEncoder
from pellucid.encoders.transform import normalise
from pellucid.encoders.weights import check_state, state_digest

_ARCHITECTURES: Final[Mapping[str, Callable[[], SmallEncoder]]] = {"small-conv": SmallEncoder}


class TileEncoder:
    """An encoder with its spec, ready to embed tiles.

    Every batch that the network sees has exactly `spec.batch_size` tiles; missing ones are black. Kernels are
    chosen by shape, so this is what makes a tile's embedding the same bits whatever else is in its batch. Only where
    an accelerator has no room for that, `shrink` makes batches smaller; embeddings may then differ in their last bits.
    """

    def __init__(self, spec: EncoderSpec, network: nn.Module) -> None:
        self.spec = spec
        self._network = network.eval().requires_grad_(requires_grad=False).to(memory_format=torch.channels_last)
        self._batch = np.zeros((spec.batch_size, spec.tile_px, spec.tile_px, 3), dtype=np.uint8)

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed up to a batch of tiles.

        Not for several threads at once: one encoder owns one batch buffer.

        Args:
            pixels: `(b, tile_px, tile_px, 3) uint8` RGB at the spec's um/px, 1 <= b <= batch_size or what it shrank to.

        Returns:
            `(b, dim) float32`.

        Raises:
            TilesUnfit: another shape, type or number of tiles.
            NonFiniteFeatures: the network gave NaN or infinity for a tile.
        """
        self._check(pixels)
        count = len(pixels)
        self._batch[:count] = pixels
        self._batch[count:] = 0
        with torch.inference_mode():
            features = self._network(normalise(self._batch, self.spec))
        embedded: NDArray[np.float32] = features[:count].numpy().copy()
        _require_finite(embedded, self.spec)
        return embedded

    def shrink(self, n_tiles: int) -> None:
        """From now on run batches of `n_tiles`, fewer than before, because memory ran out with more."""
        if not 1 <= n_tiles <= len(self._batch):
            raise ValueError(f"a batch of {len(self._batch)} tiles can't shrink to {n_tiles}")
        self._batch = self._batch[:n_tiles].copy()

    def _check(self, pixels: NDArray[np.uint8]) -> None:
        spec = self.spec
        tile = (spec.tile_px, spec.tile_px, 3)
        fits = pixels.dtype == np.uint8 and pixels.shape[1:] == tile and 1 <= len(pixels) <= len(self._batch)
        if not fits:
            raise TilesUnfit(
                f"Tiles of shape {pixels.shape} {pixels.dtype} were given to {spec.id}, "
                f"which takes 1 to {len(self._batch)} of {tile} uint8."
            )


def load_encoder(spec: EncoderSpec, state: Mapping[str, Tensor]) -> TileEncoder:
    """Build the spec's network and load its weights strictly.

    Args:
        spec: the encoder's spec; its `weights_digest` must be that of `state`.
        state: every tensor of the network by name.

    Raises:
        SpecUnusable: the spec's architecture, precision or geometry can't be run.
        WeightsUnfit: a tensor is missing, extra, misshapen, of another type or not finite; the first is named.
        WeightsAltered: the tensors fit but are not those of the spec.
    """
    _require_usable(spec)
    network = _ARCHITECTURES[spec.architecture]()
    check_state(network.state_dict(), state, what=spec.id)
    digest = state_digest(state)
    if digest != spec.weights_digest:
        raise WeightsAltered(f"The weights of {spec.id} have the digest {digest}, not {spec.weights_digest}.")
    network.load_state_dict(dict(state), strict=True)
    network.eval().fold()
    encoder = TileEncoder(spec, network)
    _require_width(encoder)
    return encoder


def _require_usable(spec: EncoderSpec) -> None:
    problems = []
    if spec.architecture not in _ARCHITECTURES:
        problems.append(f"architecture {spec.architecture!r} is unknown (known: {', '.join(_ARCHITECTURES)})")
    if spec.precision != "float32":
        problems.append(f"precision {spec.precision!r} is not float32")
    if not 0 < spec.input_px <= spec.tile_px:
        problems.append(f"input_px {spec.input_px} can't be cut out of tile_px {spec.tile_px}")
    if spec.batch_size < 1:
        problems.append(f"batch_size {spec.batch_size} is below 1")
    if problems:
        raise SpecUnusable(f"The encoder spec {spec.id!r} can't be run: {'; '.join(problems)}.")


def _require_width(encoder: TileEncoder) -> None:
    spec = encoder.spec
    width = encoder.encode(np.zeros((1, spec.tile_px, spec.tile_px, 3), dtype=np.uint8)).shape[1]
    if width != spec.dim:
        raise SpecUnusable(f"The encoder spec {spec.id!r} says dim {spec.dim}, but its network gives {width}.")


def _require_finite(embedded: NDArray[np.float32], spec: EncoderSpec) -> None:
    n_bad = int(np.count_nonzero(~np.isfinite(embedded).all(axis=1)))
    if n_bad:
        raise NonFiniteFeatures(f"{spec.id} gave NaN or infinite features for {n_bad} of {len(embedded)} tiles.")
