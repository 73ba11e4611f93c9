"""Dilated attention (Ding et al., LongNet, 2023) in plain PyTorch, with memory linear in the number of tokens.

Shapes: L tokens, H heads, D channels a head; a branch cuts the tokens into S segments, of which a head sees l tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

UNCOVERED = -1e8
"""Log-sum-exp of a position that a head doesn't see in a branch: its weight there is zero."""

_LOGITS_BYTES = 64 << 20


def dilated_attention(q: Tensor, k: Tensor, v: Tensor, segments: Sequence[int], ratios: Sequence[int]) -> Tensor:
    """Attention in several branches of growing segments and dilation, combined by their log-sum-exp.

    In a branch of segment length s and ratio r, heads form r groups; group j sees the tokens j, j + r, ... of its
    segment. Tokens are padded with zeros to whole segments, and segments to a multiple of r; such keys are not masked:
    they take part in the softmax, as in the published weights' training. No gradient flows through the weights of the
    branches.

    A segment that was padded to a multiple of r stays that long when the segments are joined, so that later segments
    come out shifted; so does the published code (of its branches, only 185,363 tokens at ratio 8 is affected, beyond
    that many tiles).

    Args:
        q: queries, `(L, H, D)`.
        k: keys, `(L, H, D)`.
        v: values, `(L, H, D)`.
        segments: segment length of each branch.
        ratios: dilation of each branch.

    Returns:
        `(L, H, D)`.
    """
    outs, lses = [], []
    for segment, ratio in zip(segments, ratios, strict=True):
        out, lse = attention(*(_to_segments(x, min(segment, len(q)), ratio) for x in (q, k, v)))
        outs.append(out)
        lses.append(_joined_lse(lse.detach(), ratio, len(q)))
    weights = torch.softmax(torch.stack(lses), dim=0).to(q.dtype)
    total = torch.zeros_like(q)
    for out, weight, ratio in zip(outs, weights, ratios, strict=True):
        total = total + weight[..., None] * _joined(out.transpose(1, 2), ratio, 0.0)[: len(q)]
    return total


def attention(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax attention and the log-sum-exp of its logits, by a fused kernel where one returns it.

    Args:
        q: queries, `(S, H, l, D)`.
        k: keys, `(S, H, l, D)`.
        v: values, `(S, H, l, D)`.

    Returns:
        Output `(S, H, l, D)` and log-sum-exp `(S, H, l)`, at least float32.
    """
    kernel = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
    if kernel is None or q.device.type != "cpu":
        return chunked_attention(q, k, v)
    out, lse = kernel(q, k, v, 0.0, False)  # noqa: FBT003 - the operator's own positional arguments
    return out, lse


def chunked_attention(q: Tensor, k: Tensor, v: Tensor, *, limit_bytes: int = _LOGITS_BYTES) -> tuple[Tensor, Tensor]:
    """`attention` by matrix products over a few queries at a time.

    Args:
        q: queries, `(S, H, l, D)`.
        k: keys, `(S, H, l, D)`.
        v: values, `(S, H, l, D)`.
        limit_bytes: how large the logits of one piece may be; one query's are always allowed.
    """
    wide = torch.promote_types(q.dtype, torch.float32)
    row_bytes = k.shape[0] * k.shape[1] * k.shape[2] * wide.itemsize
    outs, lses = [], []
    for piece in torch.split(q, max(1, limit_bytes // row_bytes), dim=2):
        logits = (piece @ k.transpose(2, 3)).to(wide) * q.shape[3] ** -0.5
        lse = logits.logsumexp(dim=3)
        outs.append((logits - lse[..., None]).exp().to(v.dtype) @ v)
        lses.append(lse)
    return torch.cat(outs, dim=2), torch.cat(lses, dim=2)


def _phases(heads: int, ratio: int) -> Tensor:
    """Which of `ratio` interleaved token sets each head sees, `(H,)`."""
    return torch.arange(heads) // -(-heads // ratio)


def _to_segments(x: Tensor, segment: int, ratio: int) -> Tensor:
    """What each head sees of each segment: `(L, H, D)` to `(S, H, l, D)`."""
    heads, width = x.shape[1:]
    x = functional.pad(x, (0, 0, 0, 0, 0, -len(x) % segment)).view(-1, segment, heads, width)
    x = functional.pad(x, (0, 0, 0, 0, 0, -segment % ratio)).reshape(len(x), -1, ratio, heads, width)
    seen: Tensor = x[:, :, _phases(heads, ratio), torch.arange(heads)]
    return seen.transpose(1, 2).contiguous()


def _joined(seen: Tensor, ratio: int, elsewhere: float) -> Tensor:
    """Put `(S, l, H, ...)` back between the tokens a head didn't see: `(S * l * ratio, H, ...)`."""
    n_segments, length, heads = seen.shape[:3]
    full = seen.new_full((n_segments, length, ratio, heads, *seen.shape[3:]), elsewhere)
    full[:, :, _phases(heads, ratio), torch.arange(heads)] = seen
    return full.flatten(0, 2)


def _joined_lse(lse: Tensor, ratio: int, length: int) -> Tensor:
    joined = _joined(lse.transpose(1, 2), ratio, UNCOVERED)[:length]
    # the published code marks what a head doesn't see by an exact zero, so a true zero counts as not seen too
    return joined.masked_fill(joined == 0, UNCOVERED)
