"""Published encoders: from a row of the registry and a file of weights to an encoder that runs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders.architectures import build_network
from pellucid.encoders.errors import SpecUnusable
from pellucid.encoders.registry import EncoderEntry
from pellucid.encoders.tile_encoder import TileEncoder, load_encoder
from pellucid.encoders.weight_files import find_weights, read_entry_weights
from pellucid.encoders.weights import check_state, state_digest


def load_published(
    entry: EncoderEntry,
    path: Path | None = None,
    *,
    device: str = "cpu",
    precision: str = "float32",
    batch_size: int | None = None,
) -> TileEncoder:
    """An encoder with its published weights, loaded strictly.

    Args:
        entry: the encoder.
        path: the file of its weights, or the folder that this lies in; None where a package has it.
        device: where it runs.
        precision: float32 or bfloat16.
        batch_size: another fixed batch than the row's.

    Raises:
        SpecUnusable: this version can't build the network.
        WeightsMissing, WeightsUnreadable: see `find_weights` and `read_weights`.
        WeightsUnfit, WeightsAltered, FoundationMissing, DeviceUnusable: see `load_encoder`.
    """
    spec, state = read_published(entry, path)
    return load_encoder(
        replace(spec, precision=precision, batch_size=batch_size or spec.batch_size), state, device=device
    )


def read_published(entry: EncoderEntry, path: Path | None = None) -> tuple[EncoderSpec, dict[str, Tensor]]:
    """An encoder's spec with the digest of its weights, and these, checked to fit the network.

    The digest is the row's where it has one, so that other weights are refused when they are loaded.

    Raises:
        SpecUnusable, WeightsMissing, WeightsUnreadable, WeightsUnfit, FoundationMissing: see `load_published`.
    """
    if entry.unbuilt:
        raise SpecUnusable(f"This version can't build {entry.id}: {entry.unbuilt}.")
    state = read_entry_weights(entry, find_weights(entry, path))
    _require_fit(entry, state)
    return replace(entry.spec, weights_digest=entry.spec.weights_digest or state_digest(state)), state


def _require_fit(entry: EncoderEntry, state: Mapping[str, Tensor]) -> None:
    """Before the digest of gigabytes is taken: what is foreign is refused at once."""
    check_state(build_network(entry.spec.architecture).state_dict(), state, what=entry.id, finite=False)
