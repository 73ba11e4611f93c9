"""Training encoder and head together, as the loop sees it: one slide a step."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.aggregators import GatedAttention, GatedAttentionConfig
from pellucid.domain.encoder import EncoderSpec
from pellucid.statistics import auroc, log_loss
from pellucid.training.config import EndToEndTraining, TrainingConfig
from pellucid.training.descent import EpochLosses
from pellucid.training.joint import JointRecipe, JointSettings, JointStep, follow, joint_optimiser, slide_weights
from pellucid.training.journal import Journal
from pellucid.training.ranks import Ranks
from pellucid.training.stream import FailureBook, SlideTiles, StreamPlan, TileStream
from pellucid.training.survey import SurveyedScan
from pellucid.training.task import Stateful

FAILURES = "failures.jsonl"
VALIDATION_FAILURES = "failures-validation.jsonl"


class JointTask:
    """Encoder and head from nothing but the slides' labels, EAGLE's way.

    A step is one slide: its tiles are drawn by (seed, epoch, scan), augmentation and dropout are keyed by (seed, step).
    After each epoch the held-out slides are scored, always on the same tiles; where both labels are among them, the
    score is their AUROC.

    Args:
        scans: training slides.
        held_out: slides of other training patients, to watch the training with; may be empty.
        encoder: with the weights that it starts from.
        spec: its spec.
        config: seed and settings.
        folder: the run folder, for the books of failures.
        ranks: who trains together.
        journal: is told of slides that fail.
    """

    name = "joint"

    def __init__(
        self,
        scans: Sequence[SurveyedScan],
        held_out: Sequence[SurveyedScan],
        encoder: nn.Module,
        spec: EncoderSpec,
        config: TrainingConfig,
        *,
        folder: Path,
        ranks: Ranks,
        journal: Journal,
    ) -> None:
        settings = config.end_to_end
        self._seed, self._journal, self._ranks = config.seed, journal, ranks
        self.head_config = GatedAttentionConfig(input_dim=spec.dim)
        head = GatedAttention(self.head_config, seed=config.seed)
        self._step = JointStep(encoder, head, spec, _joint_settings(settings), ranks)
        self._recipe = _recipe(settings)
        self._optimiser = joint_optimiser(self._step.model.trained(), self._recipe)
        self._weights = _weights(scans)
        plan = _plan(settings, config.seed)
        self._tiles = TileStream(
            scans,
            plan,
            spec=spec,
            ranks=ranks,
            failures=FailureBook(folder / FAILURES, ranks),
            readers=settings.readers,
        )
        self._watched = self._watch(held_out, plan, spec, folder, settings) if held_out else None
        self.losses = EpochLosses(settings.epochs)

    @property
    def epoch_steps(self) -> int:
        """Slides of an epoch."""
        return self._tiles.epoch_steps

    @property
    def n_steps(self) -> int:
        """Slides of all epochs."""
        return self._tiles.n_steps

    def parts(self) -> dict[str, Stateful]:
        """Encoder and head, their optimiser and the losses so far."""
        return {"model": self._step.model, "optimiser": self._optimiser, "losses": self.losses}

    def step(self, number: int) -> dict[str, float]:
        """Learn from the slide of step `number`."""
        taken = self._tiles.get(number)
        self._tell_failures(taken)
        rate = follow(self._optimiser, self._recipe, number, self.epoch_steps)
        try:
            outcome = self._step.run(
                taken.pixels,
                taken.rows,
                len(taken.tiles),
                chunks=taken.chunks,
                tile_ids=taken.tiles[taken.rows],
                label=taken.scan.label,
                weight=self._weights[taken.scan.digest],
                seed=self._seed,
                step=number,
            )
        finally:
            self._tiles.release(taken)
        if not outcome.skipped:
            self._optimiser.step()
        self.losses.add(number // self.epoch_steps, outcome.loss, 1)
        return {
            "loss": outcome.loss,
            "learning_rate": rate,
            "grad_norm": outcome.grad_norm,
            "n_tiles": float(outcome.n_tiles),
            "waited_s": taken.waited_s,
            "encode_s": outcome.encode_s,
            "head_s": outcome.head_s,
            "exchange_s": outcome.exchange_s,
            "backward_s": outcome.backward_s,
            "skipped": float(outcome.skipped),
        }

    def epoch_ended(self, epoch: int) -> dict[str, float]:
        """The epoch's mean loss, and what the held-out slides say."""
        figures = {"epoch_loss": self.losses.mean(epoch)}
        if self._watched is not None:
            figures |= self._validate(self._watched)
        return figures

    def close(self) -> None:
        """End the reader processes."""
        self._tiles.close()
        if self._watched is not None:
            self._watched.close()

    def states(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Copies of the encoder's and the head's weights, on the host, in float32."""
        return _copied(self._step.model.encoder), _copied(self._step.model.head)

    def _watch(
        self,
        held_out: Sequence[SurveyedScan],
        plan: StreamPlan,
        spec: EncoderSpec,
        folder: Path,
        settings: EndToEndTraining,
    ) -> TileStream:
        """The held-out slides, all of them in one epoch, whose tiles are always the same."""
        return TileStream(
            held_out,
            replace(plan, epochs=1, share=1.0, max_failed=1.0),
            spec=spec,
            ranks=self._ranks,
            failures=FailureBook(folder / VALIDATION_FAILURES, self._ranks),
            readers=settings.readers,
        )

    def _validate(self, watched: TileStream) -> dict[str, float]:
        logits, labels, seen = [], [], set()
        for number in range(watched.n_steps):
            taken = watched.get(number)
            self._tell_failures(taken)
            if taken.scan.digest not in seen:
                logits.append(self._step.score(taken.pixels, taken.rows, len(taken.tiles), chunks=taken.chunks))
                labels.append(taken.scan.label)
                seen.add(taken.scan.digest)
            watched.release(taken)
        # the readers' memory is wanted for the next epoch
        watched.close()
        chances = [1 / (1 + math.exp(-min(max(logit, -500.0), 500.0))) for logit in logits]
        figures = {"validation_loss": float(log_loss(np.array(chances), np.array(labels)))}
        if len(set(labels)) == 2:
            figures["score"] = float(auroc(np.array(logits), np.array(labels)))
        return figures

    def _tell_failures(self, taken: SlideTiles) -> None:
        for failure in taken.failures:
            self._journal.event(
                "slide_failed",
                step=failure.step,
                epoch=failure.epoch,
                scan=failure.scan,
                code=failure.code,
                message=failure.message,
                instead=taken.scan.digest,
            )


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: value.detach().to("cpu", torch.float32 if value.is_floating_point() else value.dtype).contiguous().clone()
        for name, value in network.state_dict().items()
    }


def _weights(scans: Sequence[SurveyedScan]) -> dict[str, float]:
    weights = slide_weights([scan.label for scan in scans], [scan.entry.specimen for scan in scans])
    return {scan.digest: float(weight) for scan, weight in zip(scans, weights, strict=True)}


def _joint_settings(settings: EndToEndTraining) -> JointSettings:
    return JointSettings(
        chunk=settings.chunk,
        precision=settings.precision,
        activation_checkpointing=settings.activation_checkpointing,
        last_blocks=settings.last_blocks,
        augment=settings.augment,
        clip=settings.clip,
    )


def _recipe(settings: EndToEndTraining) -> JointRecipe:
    return JointRecipe(
        epochs=settings.epochs,
        share=settings.share,
        learning_rate=settings.learning_rate,
        final_learning_rate=settings.final_learning_rate,
        warm_up_epochs=settings.warm_up_epochs,
        head_factor=settings.head_factor,
        weight_decay=settings.weight_decay,
        final_weight_decay=settings.final_weight_decay,
    )


def _plan(settings: EndToEndTraining, seed: int) -> StreamPlan:
    return StreamPlan(
        seed=seed,
        epochs=settings.epochs,
        share=settings.share,
        tiles=settings.tiles_per_slide,
        chunk=settings.chunk,
        ahead=settings.ahead,
        max_unreadable=settings.max_unreadable,
        max_failed=settings.max_failed,
    )
