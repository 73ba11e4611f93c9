"""An encoder without torch: features are plain sums of a tile's pixels, and some tiles do harm."""

import hashlib
import os
import signal
import time

import numpy as np

from pellucid.domain.encoder import EncoderSpec

SPEC = EncoderSpec(
    id="sums", architecture="", weights_digest="", tile_px=224, mpp=0.5, input_px=224, mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0), dim=8, batch_size=8, licence="", scope="",
)  # fmt: skip


class Sums:
    """`poison` are digests of tiles that end the process, as a broken kernel would, `refuse` of those it refuses."""

    def __init__(self, poison=(), sleep_s=0.0, nan=(), refuse=()):
        self.spec, self._poison, self._sleep_s, self._nan = SPEC, set(poison), sleep_s, set(nan)
        self._refuse = set(refuse)

    def encode(self, pixels):
        time.sleep(self._sleep_s)
        digests = [hashlib.sha256(tile.tobytes()).hexdigest()[:16] for tile in pixels]
        if self._poison & set(digests):
            os.kill(os.getpid(), signal.SIGSEGV)
        if self._refuse & set(digests):
            raise ValueError("this tile is not to the encoder's taste")
        features = pixels.reshape(len(pixels), 224, 8, 28, 3).astype(np.float32).mean(axis=(1, 3, 4))
        features[[digest in self._nan for digest in digests]] = np.nan
        return features


def encoder(**arguments):
    return Sums(**arguments)


class Passes:
    def __init__(self, features):
        n = len(features)
        mean = features.astype(np.float64).mean(axis=0)
        self.logits = np.repeat(mean[:1], 4)
        self.dropout_free_logit = float(mean[0])
        self.attention_mean = np.full(n, 1 / n, np.float32)
        self.attention_sd = np.zeros(n, np.float32)
        self.embedding = mean.astype(np.float32)
        self.ensemble_logits = np.empty(0)
        self.tumour = None


def sampler(die_above=None):
    def sample(features):
        if die_above is not None and len(features) > die_above:
            os.kill(os.getpid(), signal.SIGKILL)
        return Passes(features)

    return sample
