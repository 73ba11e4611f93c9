"""Training the tile encoder on tissue class and weak slide label at once."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders import SmallEncoder
from pellucid.training.augment import augment
from pellucid.training.config import TrainingConfig
from pellucid.training.descent import Descent, EpochLosses
from pellucid.training.determinism import torch_generator
from pellucid.training.scans import Progress
from pellucid.training.task import Stateful, run_through
from pellucid.training.tiles import UNKNOWN, TileSet


class EncoderTask:
    """Training a small encoder with two linear outputs, which are dropped afterwards: tumour or not, mutated or not.

    The slide's label is taken for its tumour tiles, and for all tiles of a slide whose tumour isn't known. The order of
    an epoch is keyed by (seed, epoch), the augmentation of a step by (seed, step); the last epoch's weights count.

    Args:
        tiles: what to learn from.
        spec: whose mean and std normalise the tiles.
        config: seed and settings.
    """

    name = "encoder"

    def __init__(self, tiles: TileSet, spec: EncoderSpec, config: TrainingConfig) -> None:
        settings = config.encoder
        self._tiles, self._spec, self._settings, self._seed = tiles, spec, settings, config.seed
        self._network = SmallEncoder(seed=config.seed).to(memory_format=torch.channels_last).train()
        self._outputs = _outputs(self._network.dim, config.seed)
        self.epoch_steps = math.ceil(len(tiles) / settings.batch_size)
        self.n_steps = settings.epochs * self.epoch_steps
        self._descent = Descent(
            [*self._network.parameters(), *self._outputs.parameters()],
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            n_steps=self.n_steps,
            what="encoder",
        )
        self._targets = _Targets(tiles)
        self.losses = EpochLosses(settings.epochs)

    def parts(self) -> dict[str, Stateful]:
        """Network, outputs, optimiser and the losses so far."""
        return {
            "network": self._network,
            "outputs": self._outputs,
            "optimiser": self._descent.optimiser,
            "losses": self.losses,
        }

    def step(self, number: int) -> dict[str, float]:
        """Learn from the tiles of step `number`."""
        epoch, nth = divmod(number, self.epoch_steps)
        rows = self._rows(epoch, nth)
        chance = torch_generator("encoder", self._seed, number)
        pixels = augment(self._tiles.pixels[rows], self._settings.crop_px, chance)
        loss = self._targets.loss(self._outputs(self._network(_normalise(pixels, self._spec))), rows)
        value = self._descent.step(number, loss)
        self.losses.add(epoch, value, len(rows))
        return {"loss": value, "learning_rate": self._descent.learning_rate(number)}

    def epoch_ended(self, epoch: int) -> dict[str, float]:
        """The epoch's mean loss."""
        return {"epoch_loss": self.losses.mean(epoch)}

    def close(self) -> None:
        """Nothing is held."""

    def state(self) -> dict[str, Tensor]:
        """A copy of the encoder's weights."""
        return {name: value.detach().contiguous().clone() for name, value in self._network.state_dict().items()}

    def _rows(self, epoch: int, nth: int) -> NDArray[np.int64]:
        order = torch.randperm(len(self._tiles), generator=torch_generator("encoder-order", self._seed, epoch)).numpy()
        rows = order[nth * self._settings.batch_size : (nth + 1) * self._settings.batch_size]
        # batch normalisation can't learn from one tile
        return rows if len(rows) > 1 else np.repeat(rows, 2)


def train_encoder(
    tiles: TileSet, spec: EncoderSpec, config: TrainingConfig, progress: Progress
) -> tuple[dict[str, Tensor], list[float]]:
    """Train a small encoder from beginning to end, without checkpoints: see `EncoderTask`.

    Returns:
        The encoder's weights and the mean loss of each epoch.

    Raises:
        TrainingDiverged: a loss is NaN or infinite.
    """
    task = EncoderTask(tiles, spec, config)
    run_through(task, progress)
    return task.state(), task.losses.means()


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


def _normalise(tiles: Tensor, spec: EncoderSpec) -> Tensor:
    """As at inference, but from floats in [0, 1]."""
    centred = (tiles - torch.tensor(spec.mean)) / torch.tensor(spec.std)
    return centred.permute(0, 3, 1, 2)
