"""AdamW over encoder and head, set for each step from the recipe; it holds all state there is."""

from collections.abc import Mapping

import torch
from torch import nn

from pellucid.training.joint.recipe import JointRecipe


def joint_optimiser(trained: Mapping[str, nn.Parameter], recipe: JointRecipe) -> torch.optim.AdamW:
    """An optimiser in up to four groups: encoder and head, with weight decay and without.

    Its state is there from the beginning, as AdamW makes it at the first step, so that a checkpoint can be loaded into
    it tensor by tensor.

    Args:
        trained: the parameters by name, `encoder.*` and `head.*`: `JointModel.trained`.
        recipe: whose factors apply.
    """
    groups = []
    for part, factor in (("encoder", recipe.encoder_factor), ("head", recipe.head_factor)):
        for decays in (True, False):
            chosen = [
                parameter
                for name, parameter in trained.items()
                if name.startswith(f"{part}.") and _decays(name, parameter) is decays
            ]
            if chosen:
                groups.append({"params": chosen, "factor": factor, "decays": decays})
    optimiser = torch.optim.AdamW(groups, lr=0.0, weight_decay=0.0)
    for parameter in trained.values():
        optimiser.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32),
            "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        }
    return optimiser


def follow(optimiser: torch.optim.AdamW, recipe: JointRecipe, step: int, epoch_steps: int) -> float:
    """Set learning rate and weight decay of every group for a step; returns the learning rate before factors."""
    rate, decay = recipe.learning_rate_at(step, epoch_steps), recipe.weight_decay_at(step, epoch_steps)
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]
        group["weight_decay"] = decay if group["decays"] else 0.0
    return rate


def _decays(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim > 1 and not name.endswith(".bias")
