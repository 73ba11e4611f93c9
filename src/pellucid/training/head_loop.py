"""Training the attention head on bags."""

import math
from collections import Counter
from collections.abc import Sequence
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
from pellucid.training.descent import Descent
from pellucid.training.determinism import torch_generator
from pellucid.training.encoder_loop import class_weights
from pellucid.training.scans import Progress

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


def train_ensemble(
    bags: Sequence[EmbeddedScan], head_config: GatedAttentionConfig, config: TrainingConfig, progress: Progress
) -> list[dict[str, Tensor]]:
    """Train `config.ensemble_heads` more heads, which differ from the first only in what chance decides.

    Each has its own first weights, order of slides, tiles and dropout, from a seed derived from `config.seed`.

    Returns:
        The weights of each.

    Raises:
        TrainingDiverged: a loss is NaN or infinite.
    """
    states = []
    for number in range(config.ensemble_heads):
        member = replace(config, seed=derive_seed("ensemble", config.seed, number) % _SEEDS)
        state, _ = train_head(bags, head_config, member, _share_of(progress, number, config.ensemble_heads))
        states.append(state)
    return states


def _share_of(progress: Progress, number: int, count: int) -> Progress:
    """Reports one head's steps as those of `count` heads, of which `number` are done."""

    def report(_stage: str, done: int, total: int) -> None:
        progress("ensemble", number * total + done, count * total)

    return report


def train_head(
    bags: Sequence[EmbeddedScan], head_config: GatedAttentionConfig, config: TrainingConfig, progress: Progress
) -> tuple[dict[str, Tensor], list[float]]:
    """Train a gated attention head; the last epoch's weights are taken, so nothing is selected on any split.

    Each scan weighs by its class, so that both classes weigh the same in sum, and a specimen's scans share the weight
    of one.

    Returns:
        The head's weights and the mean loss of each epoch.

    Raises:
        TrainingDiverged: a loss is NaN or infinite.
    """
    source = torch_generator("head", config.seed)
    head = GatedAttention(head_config, seed=config.seed)
    for site, (_, rate) in head_config.sites.items():
        head.dropout[site] = ChannelDropout(rate, source)
    settings = config.head
    weights = scan_weights(bags)
    per_epoch = math.ceil(len(bags) / settings.bags_per_step)
    n_steps = settings.epochs * per_epoch
    descent = Descent(
        head.parameters(),
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        n_steps=n_steps,
        what="head",
    )
    losses: list[float] = []
    head.train()
    for epoch in range(settings.epochs):
        order = torch.randperm(len(bags), generator=source).tolist()
        total = 0.0
        for step, start in enumerate(range(0, len(order), settings.bags_per_step), start=1):
            chosen = order[start : start + settings.bags_per_step]
            each = [weights[i] * _loss(head, bags[i], settings.tiles_per_bag, source) for i in chosen]
            total += descent.step(torch.stack(each).sum() / len(chosen)) * len(chosen)
            progress("head", epoch * per_epoch + step, n_steps)
        losses.append(total / len(bags))
    return {name: value.detach().clone() for name, value in head.state_dict().items()}, losses


def scan_weights(bags: Sequence[EmbeddedScan]) -> list[float]:
    """The weight of each scan: its class's over the number of its specimen's scans, with mean one."""
    n_scans = Counter(item.scan.entry.specimen for item in bags)
    labels: NDArray[np.int8] = np.array([item.scan.label for item in bags], dtype=np.int8)
    raw = class_weights(labels) / np.array([n_scans[item.scan.entry.specimen] for item in bags])
    weights: list[float] = (raw / raw.mean()).tolist()
    return weights


def _loss(head: GatedAttention, item: EmbeddedScan, max_tiles: int, source: torch.Generator) -> Tensor:
    rows = torch.randperm(len(item.bag), generator=source)[:max_tiles]
    features = torch.from_numpy(item.bag.features)[rows].to(torch.float32)
    wanted = torch.tensor(float(item.scan.label))
    return functional.binary_cross_entropy_with_logits(head(features).logit, wanted)
