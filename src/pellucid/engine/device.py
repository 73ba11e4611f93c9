"""A device process: one accelerator, or the CPU, and the encoder on it. It never waits for a scan's end."""

import contextlib
import gc
import sys
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders.errors import NonFiniteFeatures
from pellucid.engine.buffers import Buffers
from pellucid.engine.child import ProcessUnusable, Step, is_out_of_memory, run
from pellucid.engine.errors import ModelMisfit
from pellucid.engine.messages import BufferShape, Encode, Encoded, Job, Setup
from pellucid.engine.models import make

_NO_ROOM = ("out of memory", "not enough memory", "can't allocate memory", "_ALLOC_FAILED")
_LOST = ("CUDA error", "HIP error", "device-side assert", "driver shutting down")


class Encoder(Protocol):
    """What embeds tiles."""

    spec: EncoderSpec

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed `(b, tile_px, tile_px, 3) uint8`, b at most `spec.batch_size`, as `(b, dim) float32`."""
        ...


class Device:
    """Does a device's jobs.

    When the accelerator runs out of memory, half as many tiles go through the network at once from then on. Memory
    does not come back by trying the larger number again and again.
    """

    def __init__(self, setup: Setup, buffers: Buffers) -> None:
        self._buffers = buffers
        self._encoder: Encoder = make(setup.factory)
        _require_fit(self._encoder.spec, setup.buffers)
        self._chunk = min(setup.buffers.batch, self._encoder.spec.batch_size)
        self._threads = setup.threads
        self._encode(np.zeros((1, setup.buffers.tile_px, setup.buffers.tile_px, 3), np.uint8))

    @property
    def detail(self) -> str:
        """With what it embeds."""
        return f"{self._encoder.spec.id} on {getattr(self._encoder, 'device', 'cpu')}, threads: {self._threads}"

    def do(self, job: Job, *, step: Step, waited_s: float) -> Encoded:
        """Do a job; see `child.Work`."""
        if not isinstance(job, Encode):
            raise ProcessUnusable(f"{type(job).__name__} is no job of a device")
        start = time.perf_counter()
        tiles, features = self._buffers.tiles(job.slot), self._buffers.features(job.slot)
        finite = np.zeros(len(job.rows), np.bool_)
        done = 0
        while done < len(job.rows):
            rows = job.rows[done : done + self._chunk]
            half = self._embed(_rows(tiles, rows))
            if half is None:
                continue
            features[list(rows)] = half
            finite[done : done + len(rows)] = np.isfinite(half).all(axis=1)
            done += len(rows)
            step()
        seconds = time.perf_counter() - start
        return Encoded(job=job.job, finite=finite, seconds=seconds, waited_s=waited_s, chunk=self._chunk)

    def rest(self) -> None:
        """Nothing is kept between jobs."""

    def _embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16] | None:
        """Features in half precision; None where memory ran out and fewer tiles are to be tried.

        Raises:
            MemoryError: there is no room for a single tile.
        """
        try:
            embedded = self._encode(pixels)
        except (MemoryError, RuntimeError) as error:
            if not _is_no_room(error):
                raise
            if self._chunk == 1:
                raise MemoryError("The accelerator has no room for a single tile.") from error
            self._chunk //= 2
            shrink = getattr(self._encoder, "shrink", None)  # one that pads every batch must pad to less
            if shrink is not None:
                shrink(self._chunk)
            embedded = None
        if embedded is None:
            _free()  # outside the except block, whose traceback holds on to the tensors
            return None
        with np.errstate(over="ignore"):
            return embedded.astype(np.float16)

    def _encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features, NaN for a tile whose features are no numbers.

        Raises:
            ProcessUnusable: the accelerator fails, and will fail with the next tiles too.
        """
        try:
            return self._encoder.encode(pixels)
        except NonFiniteFeatures:
            if len(pixels) == 1:
                return np.full((1, self._encoder.spec.dim), np.nan, np.float32)
        except RuntimeError as error:
            if _is_lost(error):
                raise ProcessUnusable(f"The accelerator failed: {error}") from error
            raise
        # an encoder refuses a batch whole: what halves it finds the tiles in few runs
        middle = len(pixels) // 2
        return np.concatenate([self._encode(pixels[:middle]), self._encode(pixels[middle:])])


def _require_fit(spec: EncoderSpec, shape: BufferShape) -> None:
    if (spec.tile_px, spec.dim) != (shape.tile_px, shape.dim):
        raise ModelMisfit(
            f"{spec.id} takes tiles of {spec.tile_px} px and gives {spec.dim} features; "
            f"the buffers hold {shape.tile_px} px and {shape.dim}."
        )


def _rows(tiles: NDArray[np.uint8], rows: Sequence[int]) -> NDArray[np.uint8]:
    """The tiles of some rows, without a copy where these follow each other."""
    first, last = rows[0], rows[-1]
    return tiles[first : last + 1] if tuple(rows) == tuple(range(first, last + 1)) else tiles[list(rows)]


def _is_no_room(error: BaseException) -> bool:
    # by name, because torch is the encoder's affair
    if is_out_of_memory(error) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_ROOM)


def _is_lost(error: RuntimeError) -> bool:
    if _is_no_room(error):
        return False
    return type(error).__name__ == "AcceleratorError" or any(sign in str(error) for sign in _LOST)


def _free() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()


if __name__ == "__main__":
    run(Device)
