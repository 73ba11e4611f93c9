"""Models whose behaviour is plain to see: a tile's first pixel says what becomes of it."""

import numpy as np

from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders.errors import NonFiniteFeatures

REFUSED, INFINITE, TOO_LARGE, LOST, FAULT = 255, 254, 253, 252, 251


class OutOfMemoryError(RuntimeError):
    """Named as torch's own."""


class StandIn:
    """Features are the number of the tile's first pixel, and how many encodings there were of more than one tile."""

    def __init__(self, *, room=10**9, tile_px=224, dim=192, batch_size=8, name="stand-in", error=None):
        self.spec = EncoderSpec(
            id=name, architecture="", weights_digest="", tile_px=tile_px, mpp=0.5, input_px=tile_px,
            mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), dim=dim, batch_size=batch_size, licence="", scope="",
        )  # fmt: skip
        self._room, self._error = room, error or OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    def encode(self, pixels):
        if pixels.any() and len(pixels) > self._room:
            raise self._error
        firsts = pixels[:, 0, 0, 0]
        if LOST in firsts:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if FAULT in firsts:
            raise ValueError("a fault of the encoder")
        if REFUSED in firsts:
            raise NonFiniteFeatures("NaN")
        features = np.repeat(firsts.astype(np.float32)[:, None], self.spec.dim, axis=1)
        features[firsts == INFINITE, 3] = np.inf
        features[firsts == TOO_LARGE, 5] = 70_000.0
        return features


def encoder(**arguments):
    return StandIn(**arguments)


def encoder_without_memory(room):
    return StandIn(room=room, error=MemoryError())


def encoder_of_allocator(room):
    error = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")
    return StandIn(room=room, error=error)


def encoder_named_for_its_threads():
    import torch

    return StandIn(name=f"torch with {torch.get_num_threads()}")
