"""Small attention heads and bags for tests, and the slow way through a head that the fast ones are held against."""

from dataclasses import replace

import numpy as np
import torch

from pellucid.aggregators import GatedAttention, GatedAttentionConfig, load_head
from pellucid.uncertainty import pass_masks

CONFIG = GatedAttentionConfig(input_dim=16, trunk_dim=32, gate_dim=24, gate_dropout=0.4, head_dropout=0.1)
SHARED = replace(CONFIG, trunk_dropout=0.0)
"""Dropout in gates and head alone: the passes share the trunk."""


def make_head(config=CONFIG, seed=0):
    return load_head(config, GatedAttention(config, seed=seed).state_dict())


def make_bag(n, seed=0, dim=16):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float16)


def naive_passes(head, features, model, n_passes):
    """Each pass through the plain module, its masks multiplied in by hooks: logits, attention and hook count."""
    current, calls = {}, []

    def hook(site):
        def multiply(module, inputs, output):
            calls.append(site)
            kept = torch.from_numpy(current[site]).to(output.dtype) / (1 - head.config.sites[site][1])
            return output * kept

        return multiply

    handles = [module.register_forward_hook(hook(site)) for site, module in head.dropout.items()]
    logits, attention = [], []
    with torch.inference_mode():
        for index in range(n_passes):
            current.update(pass_masks(model, head.config, index))
            output = head(torch.from_numpy(features).to(head.trunk1.weight.dtype))
            logits.append(output.logit.item())
            attention.append(output.attention.double().numpy())
    for handle in handles:
        handle.remove()
    assert len(calls) == 5 * n_passes
    return np.array(logits), np.array(attention)
