"""Small networks, bags and trainings, for the tests of the joint step and for the processes that they start."""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pellucid.aggregators import GatedAttention, GatedAttentionConfig
from pellucid.core.seeds import generator
from pellucid.encoders import SMALL_SPEC, SmallEncoder
from pellucid.training.config import Precision
from pellucid.training.errors import TrainingDiverged
from pellucid.training.joint import JointRecipe, JointSettings, JointStep, follow, joint_optimiser, rows_of
from pellucid.training.joint.augmentation import draw_changes
from pellucid.training.joint.head_gradient import channel_masks
from pellucid.training.joint.inputs import TileInputs
from pellucid.training.joint.model import freeze_statistics
from pellucid.training.joint.replay import replayed
from pellucid.training.joint.sharding import chunks_of
from pellucid.training.ranks import Ranks, joined_ranks

SEED, STEP, LABEL, WEIGHT = 5, 3, 1, 1.7
PX = 32
DIMS = {"vit": 48, "unused": 48, "timm": 48, "small": 192}
RECIPE = JointRecipe(epochs=2, share=1, learning_rate=3e-3, final_learning_rate=1e-4, warm_up_epochs=0.5)


@dataclass(frozen=True)
class Case:
    network: str = "vit"
    n: int = 11
    dropout: float = 0.0
    settings: JointSettings = field(default_factory=lambda: JointSettings(chunk=3, augment=False))

    @property
    def tolerance(self):
        return 1e-10 if self.settings.precision is Precision.FLOAT64 else 1e-5


def settings(precision=Precision.FLOAT64, **changes):
    return JointSettings(**({"chunk": 3, "augment": False, "precision": precision} | changes))


CASES = {
    "float32": Case(settings=settings(Precision.FLOAT32)),
    "float64": Case(settings=settings()),
    "dropout float32": Case(dropout=0.2, settings=settings(Precision.FLOAT32, augment=True)),
    "dropout": Case(dropout=0.2, settings=settings(augment=True)),
    "computed anew": Case(dropout=0.2, settings=settings(activation_checkpointing=True)),
    "last block": Case(dropout=0.2, settings=settings(last_blocks=1, activation_checkpointing=True)),
    "batch norm float32": Case(network="small", settings=settings(Precision.FLOAT32)),
    "batch norm": Case(network="small", settings=settings(augment=True)),
    "batch norm, last blocks": Case(network="small", settings=settings(last_blocks=2, activation_checkpointing=True)),
    "less than a chunk": Case(n=2, dropout=0.2, settings=settings(chunk=4)),
    "a weight unused": Case(network="unused", settings=settings()),
    "fewer chunks than ranks": Case(n=5, dropout=0.2, settings=settings()),
}


class TinyViT(nn.Module):
    """As timm's are made: tokens, `blocks`, `norm`, the class token out."""

    def __init__(self, dropout):
        super().__init__()
        dim = DIMS["vit"]
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + (PX // 16) ** 2, dim))
        self.patch_embed = nn.Conv2d(3, dim, 16, stride=16)
        layer = partial(nn.TransformerEncoderLayer, dim, 3, 2 * dim, dropout, batch_first=True, norm_first=True)
        self.blocks = nn.Sequential(layer(), layer())
        self.norm = nn.LayerNorm(dim)

    def forward(self, tiles):
        tokens = self.patch_embed(tiles).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(tiles), -1, -1), tokens], dim=1)
        return self.norm(self.blocks(tokens + self.pos_embed))[:, 0]


def timm_vit(dropout=0.0):
    from timm.models.vision_transformer import VisionTransformer

    rates = {"proj_drop_rate": dropout, "attn_drop_rate": dropout, "drop_path_rate": dropout}
    sizes = {"img_size": PX, "patch_size": 16, "embed_dim": DIMS["timm"], "depth": 2, "num_heads": 3}
    return VisionTransformer(**sizes, **rates, num_classes=0, init_values=0.1)


class UnusedWeight(nn.Module):
    """An encoder with a weight that its forward pass doesn't touch."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.mask_token = nn.Parameter(torch.ones(3))

    def forward(self, tiles):
        return self.encoder(tiles)


def make_encoder(network="vit", dropout=0.0, seed=1):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if network == "vit":
            return TinyViT(dropout)
        if network == "timm":
            return timm_vit(dropout)
        if network == "unused":
            return UnusedWeight(TinyViT(dropout))
        encoder = SmallEncoder(seed=seed)
        for name, buffer in encoder.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 1.5)
        return encoder


def make_head(dim, seed=2):
    return GatedAttention(GatedAttentionConfig(input_dim=dim, trunk_dim=16, gate_dim=8), seed=seed)


def make_spec(network="vit"):
    return replace(SMALL_SPEC, id=network, tile_px=PX, input_px=PX, dim=DIMS[network])


def make_pixels(n, key=0):
    return generator("joint pixels", key).integers(0, 256, (n, PX, PX, 3), dtype=np.uint8)


def make_step(case, ranks, seed=1):
    spec = make_spec(case.network)
    encoder = make_encoder(case.network, case.dropout, seed)
    return JointStep(encoder, make_head(spec.dim, seed + 1), spec, case.settings, ranks)


def run_step(joint, n, ranks=None, chunk=3, key=0, **changes):
    ranks = ranks or Ranks()
    rows = rows_of(ranks.rank, ranks.world, n, chunk)
    given = {"tile_ids": rows * 7, "label": LABEL, "weight": WEIGHT, "seed": SEED, "step": STEP}
    return joint.run(make_pixels(n, key)[rows], rows, n, **(given | changes))


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def step_gradients(case, ranks):
    step = make_step(case, ranks)
    outcome = run_step(step, case.n, ranks, case.settings.chunk)
    figures = torch.tensor([[outcome.loss], [outcome.grad_norm]], dtype=torch.float64)
    return gradients(step.model) | {"loss": figures[0], "norm": figures[1]}


def plain_gradients(case):
    """Plain autograd: with dropout chunk by chunk, as that keys the dropout, else all tiles at once; one graph."""
    step = make_step(case, Ranks())
    model = step.model.train()
    freeze_statistics(model)
    dtype = next(model.parameters()).dtype
    pixels, rows = make_pixels(case.n), np.arange(case.n)
    changes = draw_changes(SEED, STEP, rows * 7) if case.settings.augment else None
    size = case.settings.chunk if case.dropout else case.n
    inputs = TileInputs(make_spec(case.network), size, device=torch.device("cpu"), dtype=dtype)
    features = []
    for chunk in chunks_of(0, 1, case.n, size):
        part = slice(chunk.start, chunk.stop)
        with replayed(torch.device("cpu"), seed=SEED, step=STEP, chunk=chunk.number):
            tiles = inputs(pixels[part], None if changes is None else changes[part])
            features.append(model.encoder(tiles)[: chunk.stop - chunk.start])
    with channel_masks(model.head, SEED, STEP):
        logit = model.head(torch.cat(features)).logit
    loss = WEIGHT * functional.binary_cross_entropy_with_logits(logit, torch.ones_like(logit))
    loss.backward()
    found = gradients(model)
    norm = torch.cat([gradient.flatten().double() for gradient in found.values()]).norm()
    return found | {"loss": loss.detach()[None], "norm": norm[None]}


def part(found, name):
    """The gradient of one part of the model, as one vector."""
    return torch.cat([gradient.flatten().double() for key, gradient in found.items() if key.startswith(name)])


def train(ranks, n_steps, stop_at=None, case=None):
    """Weights after some steps; with `stop_at`, all is built anew from the state at that step."""
    case = case or Case(dropout=0.2, settings=settings(Precision.FLOAT32, augment=True))
    step, optimiser = _begin(case, ranks, seed=1)
    for number in range(n_steps):
        if number == stop_at:
            held = [
                {name: value.clone() for name, value in step.model.state_dict().items()},
                optimiser.state_dict(),
            ]
            step, optimiser = _begin(case, ranks, seed=50)
            step.model.load_state_dict(held[0])
            optimiser.load_state_dict(held[1])
        follow(optimiser, RECIPE, number + 1, n_steps)
        n = 4 + number * 3
        run_step(step, n, ranks, case.settings.chunk, key=number, label=number % 2, step=number)
        optimiser.step()
    return {name: value.clone() for name, value in step.model.state_dict().items()}


def _begin(case, ranks, seed):
    step = make_step(case, ranks, seed=seed)
    return step, joint_optimiser(step.model.trained(), RECIPE)


def with_gaps(ranks):
    """Gradients and score of a bag of which a whole chunk and one more tile could not be read."""
    case = CASES["dropout"]
    step = make_step(case, ranks)
    readable = np.array([0, 2, 6, 7, 8, 9, 10])
    numbers = readable // case.settings.chunk
    rows = np.flatnonzero(numbers % ranks.world == ranks.rank)
    pixels, chunks = make_pixels(11)[readable][rows], numbers[rows]
    given = {"tile_ids": readable[rows], "label": LABEL, "weight": WEIGHT, "seed": SEED, "step": STEP}
    step.run(pixels, rows, len(readable), chunks=chunks, **given)
    score = step.score(pixels, rows, len(readable), chunks=chunks)
    return gradients(step.model) | {"score": torch.tensor([score], dtype=torch.float64)}


def diverge(ranks):
    """What a step without a finite loss says, and the gradients of the next one."""
    case = CASES["dropout"]
    step = make_step(case, ranks)
    run_step(step, case.n, ranks)
    with pytest.raises(TrainingDiverged) as raised:
        run_step(step, case.n, ranks, weight=float("inf"))
    assert not gradients(step.model)
    run_step(step, case.n, ranks)
    return {"message": raised.value.message, **gradients(step.model)}


def launch(world, folder):
    """What each of `world` processes found: gradients of every case, and weights after training."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    processes = []
    for rank in range(world):
        variables = shared | {"RANK": rank, "LOCAL_RANK": rank, "PYTHONPATH": str(Path(__file__).parents[2])}
        environ = os.environ | {name: str(value) for name, value in variables.items()}
        command = [sys.executable, "-m", "training.joint.joint_parts", str(folder)]
        processes.append(subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True))
    complaints = [process.communicate(timeout=500)[1] for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(complaints)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(world)], complaints


def main(folder):
    torch.set_num_threads(1)
    with joined_ranks(timeout_s=400) as ranks:
        found = {name: step_gradients(case, ranks) for name, case in CASES.items()}
        buffers = dict(make_step(CASES["batch norm"], ranks).model.named_buffers())
        found["buffers"] = {name: buffer.clone() for name, buffer in buffers.items()}
        found["gaps"] = with_gaps(ranks)
        found["diverged"] = diverge(ranks)
        found["trained"] = train(ranks, 4)
        found["resumed"] = train(ranks, 4, stop_at=2)
        torch.save(found, Path(folder) / f"{ranks.rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1])
