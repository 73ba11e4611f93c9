"""Training the attention head on bags."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pellucid.aggregators import GatedAttention, GatedAttentionConfig
from pellucid.core.seeds import derive_seed
from pellucid.training.bags import EmbeddedScan
from pellucid.training.config import TrainingConfig
from pellucid.training.descent import Descent, EpochLosses
from pellucid.training.determinism import step_seed, torch_generator
from pellucid.training.encoder_loop import class_weights
from pellucid.training.scans import Progress
from pellucid.training.task import Stateful, run_through

_SEEDS = 1 << 63


class ChannelDropout(nn.Module):
    """Dropout of whole channels, one mask for all tiles of a bag, as in the Monte-Carlo passes.

    Element-wise dropout would average out over the tiles: the head would never meet such networks as the passes are.
    """

    def __init__(self, rate: float, generator: torch.Generator) -> None:
        super().__init__()
        self._rate = rate
        self._generator = generator

    def forward(self, features: Tensor) -> Tensor:
        """Drop channels of `(..., channels)` and scale the kept ones by 1 / (1 - rate)."""
        if not self.training or self._rate == 0:
            return features
        keep = torch.rand(features.shape[-1], generator=self._generator) >= self._rate
        return features * (keep / (1 - self._rate))


class HeadTask:
    """Training a gated attention head on bags; the last epoch's weights count, so nothing is selected on any split.

    Each scan weighs by its class, so that both classes weigh the same in sum, and a specimen's scans share the weight
    of one. The order of an epoch is keyed by (seed, epoch); tiles and dropout of a step by (seed, step).

    Args:
        bags: what to learn from.
        head_config: the head.
        config: seed and settings.
        name: names the task.
        initial: the weights to begin with; drawn from the seed where omitted.
    """

    def __init__(
        self,
        bags: Sequence[EmbeddedScan],
        head_config: GatedAttentionConfig,
        config: TrainingConfig,
        *,
        name: str = "head",
        initial: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.name = name
        self._bags, self._settings, self._seed = bags, config.head, config.seed
        self.epoch_steps = math.ceil(len(bags) / self._settings.bags_per_step)
        self.n_steps = self._settings.epochs * self.epoch_steps
        self._chance = torch_generator("head", config.seed)
        self._head = GatedAttention(head_config, seed=config.seed)
        if initial is not None:
            self._head.load_state_dict(dict(initial))
        for site, (_, rate) in head_config.sites.items():
            self._head.dropout[site] = ChannelDropout(rate, self._chance)
        self._head.train()
        self._descent = Descent(
            self._head.parameters(),
            learning_rate=self._settings.learning_rate,
            weight_decay=self._settings.weight_decay,
            n_steps=self.n_steps,
            what="head",
        )
        self._weights = scan_weights(bags)
        self.losses = EpochLosses(self._settings.epochs)

    def parts(self) -> dict[str, Stateful]:
        """The head, its optimiser and the losses so far."""
        return {"head": self._head, "optimiser": self._descent.optimiser, "losses": self.losses}

    def step(self, number: int) -> dict[str, float]:
        """Learn from the bags of step `number`."""
        epoch, nth = divmod(number, self.epoch_steps)
        start = nth * self._settings.bags_per_step
        chosen = self._order(epoch)[start : start + self._settings.bags_per_step]
        self._chance.manual_seed(step_seed("head", self._seed, number))
        each = [self._weights[i] * self._loss(self._bags[i]) for i in chosen]
        loss = self._descent.step(number, torch.stack(each).sum() / len(chosen))
        self.losses.add(epoch, loss, len(chosen))
        return {"loss": loss, "learning_rate": self._descent.learning_rate(number)}

    def epoch_ended(self, epoch: int) -> dict[str, float]:
        """The epoch's mean loss."""
        return {"epoch_loss": self.losses.mean(epoch)}

    def close(self) -> None:
        """Nothing is held."""

    def state(self) -> dict[str, Tensor]:
        """A copy of the head's weights."""
        return {name: value.detach().clone() for name, value in self._head.state_dict().items()}

    def _order(self, epoch: int) -> list[int]:
        order: list[int] = torch.randperm(
            len(self._bags), generator=torch_generator("head-order", self._seed, epoch)
        ).tolist()
        return order

    def _loss(self, item: EmbeddedScan) -> Tensor:
        rows = torch.randperm(len(item.bag), generator=self._chance)[: self._settings.tiles_per_bag].numpy()
        features = torch.from_numpy(item.bag.features[rows].astype(np.float32))
        wanted = torch.tensor(float(item.scan.label))
        return functional.binary_cross_entropy_with_logits(self._head(features).logit, wanted)


def ensemble_tasks(
    bags: Sequence[EmbeddedScan], head_config: GatedAttentionConfig, config: TrainingConfig
) -> list[HeadTask]:
    """`config.ensemble_heads` more heads, which differ from the first only in what chance decides.

    Each has its own first weights, order of slides, tiles and dropout, from a seed derived from `config.seed`.
    """
    return [
        HeadTask(
            bags,
            head_config,
            replace(config, seed=derive_seed("ensemble", config.seed, number) % _SEEDS),
            name=f"member-{number + 1}",
        )
        for number in range(config.ensemble_heads)
    ]


def train_head(
    bags: Sequence[EmbeddedScan], head_config: GatedAttentionConfig, config: TrainingConfig, progress: Progress
) -> tuple[dict[str, Tensor], list[float]]:
    """Train one head from beginning to end, without checkpoints: see `HeadTask`.

    Returns:
        The head's weights and the mean loss of each epoch.

    Raises:
        TrainingDiverged: a loss is NaN or infinite.
    """
    task = HeadTask(bags, head_config, config)
    run_through(task, progress)
    return task.state(), task.losses.means()


def scan_weights(bags: Sequence[EmbeddedScan]) -> list[float]:
    """The weight of each scan: its class's over the number of its specimen's scans, with mean one."""
    n_scans = Counter(item.scan.entry.specimen for item in bags)
    labels: NDArray[np.int8] = np.array([item.scan.label for item in bags], dtype=np.int8)
    raw = class_weights(labels) / np.array([n_scans[item.scan.entry.specimen] for item in bags])
    weights: list[float] = (raw / raw.mean()).tolist()
    return weights
