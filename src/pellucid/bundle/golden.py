"""Golden checks: known inputs whose outputs the model must give again, on whatever machine it runs."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pellucid.bundle.errors import GoldenMismatch
from pellucid.bundle.parts import GoldenChecks

if TYPE_CHECKING:
    from pellucid.aggregators import GatedAttention
    from pellucid.encoders import TileEncoder

TOLERANCE = 1e-4
"""A golden output is reproduced where |given - golden| <= TOLERANCE * (1 + |golden|) for every number of it."""

HALF_TOLERANCE = 3e-2
"""The same for embeddings of an encoder in bfloat16: its numbers have 8 bits, and machines round on different ways."""

_ARRAYS = {
    "pixels": (np.dtype(np.uint8), 4),
    "embeddings": (np.dtype(np.float32), 2),
    "features": (np.dtype(np.float16), 2),
    "logits": (np.dtype(np.float64), 1),
}


def record_golden(
    encoder: "TileEncoder",
    head: "GatedAttention",
    *,
    model: str,
    pixels: NDArray[np.uint8],
    features: NDArray[np.float16],
    n_passes: int = 50,
) -> GoldenChecks:
    """Run the model on golden inputs and keep what it gives.

    Args:
        encoder: the tile encoder.
        head: the attention head.
        model: the model digest, which keys the dropout masks.
        pixels: `(b, tile_px, tile_px, 3) uint8`, b at most the spec's batch size.
        features: `(n, dim) float16`, a bag.
        n_passes: Monte-Carlo passes, as in the calibration.
    """
    from pellucid.uncertainty import run_passes

    logits = np.asarray(run_passes(head, features, model=model, n_passes=n_passes).logits, dtype=np.float64)
    return GoldenChecks(pixels=pixels, embeddings=encoder.encode(pixels), features=features, logits=logits)


def compare_golden(golden: GoldenChecks, encoder: "TileEncoder", head: "GatedAttention", *, model: str) -> None:
    """Run the model on the golden inputs and hold its outputs against the golden ones.

    Raises:
        GoldenMismatch: names what differs, and by how much at most.
    """
    given = record_golden(
        encoder, head, model=model, pixels=golden.pixels, features=golden.features, n_passes=len(golden.logits)
    )
    allowed = HALF_TOLERANCE if encoder.spec.precision == "bfloat16" else TOLERANCE
    _compare("tile embeddings", golden.embeddings, given.embeddings, allowed)
    _compare("bag logits", golden.logits, given.logits, TOLERANCE)


def _compare(what: str, golden: NDArray[np.floating], given: NDArray[np.floating], allowed: float) -> None:
    if golden.shape != given.shape:
        raise GoldenMismatch(f"The golden {what} have shape {golden.shape}; this machine gives {given.shape}.")
    excess = np.abs(given.astype(np.float64) - golden) / (1 + np.abs(golden.astype(np.float64)))
    worst = float(excess.max(initial=0.0))
    if not worst <= allowed:
        raise GoldenMismatch(
            f"The golden {what} are not reproduced: they differ by up to {worst:.2g}, allowed is {allowed:g}.",
            difference=worst,
        )


def golden_to_bytes(golden: GoldenChecks) -> bytes:
    """The golden arrays as a safetensors file."""
    from safetensors.numpy import save

    return bytes(save({name: np.ascontiguousarray(getattr(golden, name)) for name in _ARRAYS}))


def golden_from_bytes(data: bytes) -> GoldenChecks:
    """Read what `golden_to_bytes` wrote.

    Raises:
        ValueError: not such a file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    if set(arrays) != set(_ARRAYS):
        raise ValueError(f"holds {', '.join(sorted(arrays))} instead of {', '.join(sorted(_ARRAYS))}")
    golden = GoldenChecks(**arrays)
    check_golden_arrays(golden)
    return golden


def check_golden_arrays(golden: GoldenChecks) -> None:
    """Check types and shapes.

    Raises:
        ValueError: an array has another type or number of dimensions than stated, or they don't go together.
    """
    for name, (dtype, ndim) in _ARRAYS.items():
        array = getattr(golden, name)
        if array.dtype != dtype or array.ndim != ndim or array.size == 0:
            raise ValueError(f"golden {name} have shape {array.shape} {array.dtype}, not {ndim} dimensions of {dtype}")
    if len(golden.pixels) != len(golden.embeddings):
        raise ValueError(f"golden pixels of {len(golden.pixels)} tiles, but {len(golden.embeddings)} embeddings")
