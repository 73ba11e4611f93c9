"""Models for benchmarks, made in the processes that use them: an encoder that computes, one that sleeps, and heads."""

import json
import os
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from pellucid.domain.encoder import Decoding, EncoderSpec
from pellucid.engine.config import Models
from pellucid.engine.messages import Factory

H100_TILES_PER_S = 1080.0  # GigaPath's tile encoder on one H100: computed, not measured here

SLEEPING = EncoderSpec(
    id="sleeping", architecture="", weights_digest="", tile_px=256, mpp=0.5, input_px=224, mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0), dim=1536, batch_size=128, licence="", scope="",
)  # fmt: skip
HEADS = {192: (128, 96), 1536: (512, 384)}
"""Trunk and gate by the features' dimension: the demo's, and EAGLE's."""


class Logged:
    """Writes each batch's beginning, end (both of the monotonic clock), CPU seconds and tiles to a file.

    `begun` is a file that has the tiles of each batch as soon as it begins.
    """

    def __init__(self, encoder, path, begun=None):
        self.spec, self._encoder = encoder.spec, encoder
        self._path = Path(path)
        self._path.write_text("")
        self._begun = begun and Path(begun)

    def encode(self, pixels):
        if self._begun:
            with self._begun.open("a") as file:
                print(len(pixels), file=file)
        start, cpu = time.monotonic(), time.process_time()
        features = self._encoder.encode(pixels)
        end = time.monotonic()
        with self._path.open("a") as file:
            print(f"{start:.6f} {end:.6f} {time.process_time() - cpu:.6f} {len(pixels)}", file=file)
        return features


class Repeated:
    """A larger encoder: the small one, several times a batch."""

    def __init__(self, encoder, times):
        self.spec, self._encoder, self._times = encoder.spec, encoder, times

    def encode(self, pixels):
        for _ in range(self._times):
            features = self._encoder.encode(pixels)
        return features


class Sleeping:
    """Takes as long as an accelerator would, and copies each batch once, as into memory that one reads from."""

    def __init__(self, spec, tiles_per_s):
        self.spec, self._tiles_per_s = spec, tiles_per_s
        self._staged = np.zeros((spec.batch_size, spec.tile_px, spec.tile_px, 3), np.uint8)
        self._features = np.random.default_rng(0).standard_normal((spec.batch_size, spec.dim), dtype=np.float32)

    def encode(self, pixels):
        until = time.monotonic() + len(pixels) / self._tiles_per_s
        np.copyto(self._staged[: len(pixels)], pixels)
        time.sleep(max(0.0, until - time.monotonic()))
        return self._features[: len(pixels)]


def small(core=None, times=1, log=None, begun=None):
    """The small encoder with random weights, on one thread, on one core if asked to."""
    import torch

    from pellucid.encoders import SmallEncoder, load_encoder

    if core is not None:
        os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    encoder = load_encoder(torch_spec(), SmallEncoder().state_dict())
    encoder = encoder if times == 1 else Repeated(encoder, times)
    return encoder if log is None else Logged(encoder, log, begun)


def sleeping(batch, tiles_per_s=H100_TILES_PER_S, log=None, begun=None):
    """The encoder that sleeps."""
    encoder = Sleeping(replace(SLEEPING, batch_size=batch), tiles_per_s)
    return encoder if log is None else Logged(encoder, log, begun)


def sampler(dim):
    """Fifty passes of a head with random weights."""
    import torch

    from pellucid.aggregators import GatedAttention, GatedAttentionConfig
    from pellucid.uncertainty import run_passes

    torch.set_num_threads(1)
    trunk, gate = HEADS[dim]
    head = GatedAttention(GatedAttentionConfig(input_dim=dim, trunk_dim=trunk, gate_dim=gate), seed=1)
    head = head.eval().requires_grad_(requires_grad=False)
    return partial(run_passes, head, model="benchmark", n_passes=50)


def torch_spec():
    """The small encoder's spec, which names its weights; imports torch."""
    from pellucid.encoders import SmallEncoder, small_spec, state_digest

    return small_spec(state_digest(SmallEncoder().state_dict()))


def read_spec(text):
    """A spec from what this module prints as a program, for processes that are to do without torch."""
    fields = json.loads(text)
    fields |= {"mean": tuple(fields["mean"]), "std": tuple(fields["std"]), "decoding": Decoding(fields["decoding"])}
    return EncoderSpec(**fields)


def models(spec, *, passes=True, **arguments):
    """What an engine's processes load; `spec` tells whether the encoder sleeps."""
    name = "sleeping" if spec.id == SLEEPING.id else "small"
    if name == "sleeping":
        arguments["batch"] = spec.batch_size
    return Models(
        spec=spec,
        devices=(Factory(path=f"benchmarks._models:{name}", arguments=arguments),),
        sampler=Factory(path="benchmarks._models:sampler", arguments={"dim": spec.dim}) if passes else None,
    )


if __name__ == "__main__":
    json.dump(asdict(torch_spec()), sys.stdout)
