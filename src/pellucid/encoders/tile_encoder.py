"""Running an encoder on tiles, always in the one batch shape of its spec."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders.architectures import build_network, input_px_of
from pellucid.encoders.devices import torch_device
from pellucid.encoders.errors import NonFiniteFeatures, SpecUnusable, TilesUnfit, WeightsAltered
from pellucid.encoders.small import SmallEncoder
from pellucid.encoders.transform import normalise
from pellucid.encoders.weights import check_state, state_digest

PRECISIONS: Final = ("float32", "bfloat16")
"""Those that a spec may name. In bfloat16 matrices and their products are; sums, norms and results stay float32."""


class TileEncoder:
    """An encoder with its spec, ready to embed tiles.

    Every batch that the network sees has exactly `spec.batch_size` tiles; missing ones are black. Kernels are
    chosen by shape, so this is what makes a tile's embedding the same bits whatever else is in its batch. Only where
    an accelerator has no room for that, `shrink` makes batches smaller; embeddings may then differ in their last bits.

    Args:
        spec: its spec, whose precision the network is brought to.
        network: takes `(b, 3, input_px, input_px) float32`, gives `(b, dim)`; it is changed and belongs to the encoder.
        device: where it runs, such as `cpu` or `cuda:0`.

    Raises:
        DeviceUnusable: the device isn't here.
    """

    def __init__(self, spec: EncoderSpec, network: nn.Module, *, device: str = "cpu") -> None:
        self.spec = spec
        self._device = torch_device(device)
        network = network.eval().requires_grad_(requires_grad=False)
        if spec.precision == "bfloat16":
            _halve_matrices(network)
        self._network = network.to(self._device).to(memory_format=torch.channels_last)
        self._batch = np.zeros((spec.batch_size, spec.tile_px, spec.tile_px, 3), dtype=np.uint8)

    @property
    def device(self) -> str:
        """Where it runs."""
        return str(self._device)

    @property
    def n_parameters(self) -> int:
        """Parameters of the network; running statistics are none."""
        return sum(parameter.numel() for parameter in self._network.parameters())

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed up to a batch of tiles.

        Not for several threads at once: one encoder owns one batch buffer.

        Args:
            pixels: `(b, tile_px, tile_px, 3) uint8` RGB at the spec's um/px, 1 <= b <= batch_size or what it shrank to.

        Returns:
            `(b, dim) float32`, whatever the spec's precision.

        Raises:
            TilesUnfit: another shape, type or number of tiles.
            NonFiniteFeatures: the network gave NaN or infinity for a tile.
        """
        self._check(pixels)
        count = len(pixels)
        self._batch[:count] = pixels
        self._batch[count:] = 0
        with torch.inference_mode(), self._precision():
            features = self._network(normalise(self._batch, self.spec, device=self._device))
        embedded: NDArray[np.float32] = features[:count].to("cpu", torch.float32).numpy().copy()
        _require_finite(embedded, self.spec)
        return embedded

    def shrink(self, n_tiles: int) -> None:
        """From now on run batches of `n_tiles`, fewer than before, because memory ran out with more."""
        if not 1 <= n_tiles <= len(self._batch):
            raise ValueError(f"a batch of {len(self._batch)} tiles can't shrink to {n_tiles}")
        self._batch = self._batch[:n_tiles].copy()

    def _precision(self) -> AbstractContextManager[object]:
        if self.spec.precision == "float32":
            return nullcontext()
        return torch.autocast(self._device.type, dtype=torch.bfloat16)

    def _check(self, pixels: NDArray[np.uint8]) -> None:
        spec = self.spec
        tile = (spec.tile_px, spec.tile_px, 3)
        fits = pixels.dtype == np.uint8 and pixels.shape[1:] == tile and 1 <= len(pixels) <= len(self._batch)
        if not fits:
            raise TilesUnfit(
                f"Tiles of shape {pixels.shape} {pixels.dtype} were given to {spec.id}, "
                f"which takes 1 to {len(self._batch)} of {tile} uint8."
            )


def load_network(spec: EncoderSpec, state: Mapping[str, Tensor]) -> nn.Module:
    """The spec's network with its weights, loaded strictly.

    But for the small encoder's, the network's tensors are those of `state`, not copies: change neither afterwards.

    Args:
        spec: the encoder's spec; its `weights_digest` must be that of `state`.
        state: every tensor of the network by name.

    Raises:
        SpecUnusable: the spec's architecture, precision, geometry or width can't be run.
        FoundationMissing: the network needs a package that isn't installed.
        WeightsUnfit: a tensor is missing, extra, misshapen, of another type or not finite; the first is named.
        WeightsAltered: the tensors fit but are not those of the spec.
    """
    _require_usable(spec)
    network = build_network(spec.architecture).eval()
    _require_width(spec, network)
    check_state(network.state_dict(), state, what=spec.id)
    digest = state_digest(state)
    if digest != spec.weights_digest:
        raise WeightsAltered(f"The weights of {spec.id} have the digest {digest}, not {spec.weights_digest}.")
    network.load_state_dict(dict(state), strict=True, assign=_is_empty(network))
    return network


def load_encoder(spec: EncoderSpec, state: Mapping[str, Tensor], *, device: str = "cpu") -> TileEncoder:
    """Build the spec's network and load its weights strictly.

    Args:
        spec: the encoder's spec; its `weights_digest` must be that of `state`.
        state: every tensor of the network by name; see `load_network`.
        device: where it runs.

    Raises:
        SpecUnusable, FoundationMissing, WeightsUnfit, WeightsAltered: see `load_network`.
        DeviceUnusable: the device isn't here.
    """
    network = load_network(spec, state)
    if isinstance(network, SmallEncoder):
        network.fold()
    return TileEncoder(spec, network, device=device)


def _require_usable(spec: EncoderSpec) -> None:
    problems = []
    try:
        taken = input_px_of(spec.architecture)
    except SpecUnusable as error:
        problems.append(error.message)
        taken = 0
    if taken and spec.input_px != taken:
        problems.append(f"input_px {spec.input_px} is not the {taken} that {spec.architecture} takes")
    if spec.precision not in PRECISIONS:
        problems.append(f"precision {spec.precision!r} is not {' or '.join(PRECISIONS)}")
    if not 0 < spec.input_px <= spec.tile_px:
        problems.append(f"input_px {spec.input_px} can't be cut out of tile_px {spec.tile_px}")
    if spec.batch_size < 1:
        problems.append(f"batch_size {spec.batch_size} is below 1")
    if problems:
        raise SpecUnusable(f"The encoder spec {spec.id!r} can't be run: {'; '.join(problems)}.")


def _require_width(spec: EncoderSpec, network: nn.Module) -> None:
    """Ask the network for the shape of an answer; on the meta device that costs no arithmetic."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        width = network(torch.zeros(1, 3, spec.input_px, spec.input_px, device=device)).shape[1]
    if width != spec.dim:
        raise SpecUnusable(f"The encoder spec {spec.id!r} says dim {spec.dim}, but its network gives {width}.")


def _is_empty(network: nn.Module) -> bool:
    return any(tensor.is_meta for tensor in network.state_dict().values())


def _halve_matrices(network: nn.Module) -> None:
    """Bring linear layers and convolutions to bfloat16 once, so that autocast need not in every batch."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.to(torch.bfloat16)


def _require_finite(embedded: NDArray[np.float32], spec: EncoderSpec) -> None:
    n_bad = int(np.count_nonzero(~np.isfinite(embedded).all(axis=1)))
    if n_bad:
        raise NonFiniteFeatures(f"{spec.id} gave NaN or infinite features for {n_bad} of {len(embedded)} tiles.")
