"""Dilated attention as loops over branches, segments and heads, with dense softmax: slow, and nothing to get wrong."""

import math

import torch


def naive_dilated_attention(q, k, v, segments, ratios):
    """(L, H, D) -> (L, H, D). Every position of the padded sequence is listed; padding is a zero vector, unmasked."""
    length, heads, _ = q.shape
    branches = [_branch(q, k, v, min(segment, length), ratio) for segment, ratio in zip(segments, ratios, strict=True)]
    result = torch.zeros_like(q)
    for position in range(length):
        for head in range(heads):
            seen = [branch[position, head] for branch in branches if (position, head) in branch]
            most = max(lse for _, lse in seen)
            shares = [math.exp(lse - most) for _, lse in seen]
            for (out, _), share in zip(seen, shares, strict=True):
                result[position, head] += out * (share / sum(shares))
    return result


def _branch(q, k, v, segment, ratio):
    length, heads, width = q.shape
    zero = torch.zeros(width, dtype=q.dtype)
    padded = math.ceil(segment / ratio) * ratio
    found = {}
    for number in range(math.ceil(length / segment)):
        # a segment: its tokens, zeros up to its length where the sequence ends, zeros up to a multiple of the ratio
        members = [number * segment + i if i < segment else None for i in range(padded)]
        members = [token if token is not None and token < length else None for token in members]
        for head in range(heads):
            group = head // math.ceil(heads / ratio)
            places = [i for i in range(padded) if i % ratio == group]
            if not places:
                continue
            keys = torch.stack([zero if members[i] is None else k[members[i], head] for i in places])
            values = torch.stack([zero if members[i] is None else v[members[i], head] for i in places])
            for i in places:
                query = zero if members[i] is None else q[members[i], head]
                logits = keys @ query / math.sqrt(width)
                # joined segments keep their padding, so a place in the result is counted in padded lengths
                position = number * padded + i
                if position < length:
                    found[position, head] = (torch.softmax(logits, 0) @ values, torch.logsumexp(logits, 0).item())
    return found


def naive_slide_embedding(encoder, features, coords):
    """What a LongNet slide encoder's weights say of one slide, spelt out step by step: (n, input_dim) -> (dim,)."""
    config, state = encoder.config, encoder.state_dict()

    def linear(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x, name, eps):
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + eps)
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    order = sorted(range(len(coords)), key=lambda i: (coords[i][1].item(), coords[i][0].item()))
    rows = []
    for i in order:
        column, row = (int(coords[i][axis].item() // config.tile_px) for axis in (0, 1))
        angles = [10000 ** (-j / (config.dim / 4)) for j in range(config.dim // 4)]
        vector = [f(t * w) for t in (row, column) for f in (math.sin, math.cos) for w in angles]
        rows.append(linear(features[i], "patch_embed.proj") + torch.tensor(vector, dtype=features.dtype))
    x = torch.stack([state["cls_token"][0, 0], *rows])

    for number in range(config.depth):
        at, eps = f"encoder.layers.{number}", config.inner_eps
        y = norm(x, f"{at}.self_attn_layer_norm", eps)
        q, k, v = (linear(y, f"{at}.self_attn.{name}_proj").reshape(len(x), config.heads, -1) for name in "qkv")
        mixed = naive_dilated_attention(q, k, v, config.segments, config.ratios).reshape(len(x), -1)
        x = x + linear(norm(mixed, f"{at}.self_attn.inner_attn_ln", eps), f"{at}.self_attn.out_proj")
        y = linear(norm(x, f"{at}.final_layer_norm", eps), f"{at}.ffn.fc1")
        y = y * (1 + torch.erf(y / math.sqrt(2))) / 2
        x = x + linear(norm(y, f"{at}.ffn.ffn_layernorm", eps), f"{at}.ffn.fc2")

    pooled = norm(x, "encoder.layer_norm", config.inner_eps)[1:].mean(0)
    return norm(pooled, "norm", config.outer_eps)
