"""Training the tile encoder on tissue class and weak slide label at once."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders import SmallEncoder
from pellucid.training.augment import augment
from pellucid.training.config import TrainingConfig
from pellucid.training.descent import Descent
from pellucid.training.determinism import torch_generator
from pellucid.training.scans import Progress
from pellucid.training.tiles import UNKNOWN, TileSet


def train_encoder(
    tiles: TileSet, spec: EncoderSpec, config: TrainingConfig, progress: Progress
) -> tuple[dict[str, Tensor], list[float]]:
    """Train a small encoder with two linear outputs, which are dropped afterwards: tumour or not, mutated or not.

    The slide's label is taken for its tumour tiles, and for all tiles of a slide whose tumour isn't known.

    Args:
        tiles: what to learn from.
        spec: whose mean and std normalise the tiles.
        config: seed and settings.
        progress: told after each step.

    Returns:
        The encoder's weights (the last epoch's) and the mean loss of each epoch.

    Raises:
        TrainingDiverged: a loss is NaN or infinite.
    """
    network = SmallEncoder(seed=config.seed).to(memory_format=torch.channels_last)
    outputs = _outputs(network.dim, config.seed)
    settings = config.encoder
    n_steps = settings.epochs * math.ceil(len(tiles) / settings.batch_size)
    descent = Descent(
        [*network.parameters(), *outputs.parameters()],
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        n_steps=n_steps,
        what="encoder",
    )
    targets = _Targets(tiles)
    source = torch_generator("encoder", config.seed)
    losses: list[float] = []
    step = 0
    network.train()
    for _ in range(settings.epochs):
        total = 0.0
        for rows in _batches(len(tiles), settings.batch_size, source):
            pixels = augment(tiles.pixels[rows], settings.crop_px, source)
            loss = targets.loss(outputs(network(_normalise(pixels, spec))), rows)
            total += descent.step(loss) * len(rows)
            step += 1
            progress("encoder", step, n_steps)
        losses.append(total / len(tiles))
    return {name: value.detach().contiguous().clone() for name, value in network.state_dict().items()}, losses


def class_weights(classes: NDArray[np.int8]) -> NDArray[np.float32]:
    """A weight for each row so that both classes weigh the same in sum and the mean weight is one; -1 weighs nothing.

    A loss takes the weighted sum over the number of rows. Dividing by the sum of a batch's weights instead would
    cancel them in a batch of one.
    """
    weights = np.zeros(len(classes), dtype=np.float32)
    known = classes != UNKNOWN
    present = [value for value in (0, 1) if (classes == value).any()]
    for value in present:
        rows = classes == value
        weights[rows] = known.sum() / (len(present) * rows.sum())
    return weights


class _Targets:
    """The two classes of each tile, with their weights."""

    def __init__(self, tiles: TileSet) -> None:
        weak = np.where(tiles.tumour == 0, UNKNOWN, tiles.label).astype(np.int8)
        both = np.stack([tiles.tumour, weak], axis=1)
        self._wanted = torch.from_numpy((both == 1).astype(np.float32))
        self._weights = torch.from_numpy(np.stack([class_weights(column) for column in both.T], axis=1))

    def loss(self, logits: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Weighted sum over both outputs, over the number of tiles."""
        each = functional.binary_cross_entropy_with_logits(
            logits, self._wanted[rows], weight=self._weights[rows], reduction="sum"
        )
        return each / len(rows)


def _outputs(dim: int, seed: int) -> nn.Linear:
    # by way of the meta device, as nn.Linear would draw its first weights from the global generator
    layer = nn.Linear(dim, 2, device="meta").to_empty(device="cpu")
    nn.init.xavier_normal_(layer.weight, generator=torch_generator("encoder-outputs", seed))
    nn.init.zeros_(layer.bias)
    return layer


def _batches(count: int, size: int, source: torch.Generator) -> Iterator[NDArray[np.int64]]:
    order = torch.randperm(count, generator=source).numpy()
    for start in range(0, count, size):
        rows = order[start : start + size]
        # batch normalisation can't learn from one tile
        yield rows if len(rows) > 1 else np.repeat(rows, 2)


def _normalise(tiles: Tensor, spec: EncoderSpec) -> Tensor:
    """As at inference, but from floats in [0, 1]."""
    centred = (tiles - torch.tensor(spec.mean)) / torch.tensor(spec.std)
    return centred.permute(0, 3, 1, 2)
