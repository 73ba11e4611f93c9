"""Dilated attention agrees with a naive one, whatever the length; its kernels agree with dense softmax."""

import pytest
import torch

from longnet_naive import naive_dilated_attention
from pellucid.aggregators.longnet_attention import attention, chunked_attention, dilated_attention

SEGMENTS, RATIOS = (8, 12, 32), (1, 2, 4)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def qkv(length, heads=4, width=6, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, heads, width, generator=generator, dtype=dtype) * 2 for _ in range(3)]


def relative_error(found, wanted):
    return ((found - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 9, 11, 12, 13, 24, 25, 31, 32, 33, 70])
def test_agrees_with_naive_attention_below_at_and_above_segments(length, dtype):
    q, k, v = qkv(length, dtype=dtype, seed=length)
    found = dilated_attention(q, k, v, SEGMENTS, RATIOS)
    assert relative_error(found, naive_dilated_attention(q, k, v, SEGMENTS, RATIOS)) < TOLERANCE[dtype]


@pytest.mark.parametrize("ratios", [(1, 3, 5), (1, 1, 1), (1, 4, 8)])
@pytest.mark.parametrize("heads", [1, 3, 4])
def test_agrees_where_heads_and_segments_are_no_multiple_of_the_ratio(heads, ratios):
    q, k, v = qkv(29, heads=heads, seed=heads)
    found = dilated_attention(q, k, v, (7, 10, 13), ratios)
    assert relative_error(found, naive_dilated_attention(q, k, v, (7, 10, 13), ratios)) < 1e-10


def test_sixteen_heads_at_ratio_sixteen_see_one_token_each_of_a_short_bag():
    q, k, v = qkv(5, heads=16)
    found = dilated_attention(q, k, v, (1024, 1024), (1, 16))
    assert relative_error(found, naive_dilated_attention(q, k, v, (1024, 1024), (1, 16))) < 1e-10


def test_zero_padding_takes_softmax_mass():
    # 9 tokens at segments of 8 leave the last token alone with seven zero keys
    q, k, v = qkv(9)
    found = dilated_attention(q, k, v, (8,), (1,))
    logit = (q[8] * k[8]).sum(dim=1) / 6**0.5
    share = logit.exp() / (logit.exp() + 7)
    torch.testing.assert_close(found[8], share[:, None] * v[8], rtol=1e-12, atol=0)
    assert not torch.allclose(found[8], v[8])


def test_weights_of_branches_carry_no_gradient():
    q, k, v = qkv(12)
    k.requires_grad_()
    found = dilated_attention(q, k, v, (4, 12), (1, 2)).sum()
    (gradient,) = torch.autograd.grad(found, k)

    # the same sum with the weights frozen at their values
    with torch.no_grad():
        first = dilated_attention(q, k, v, (4,), (1,))
        both = dilated_attention(q, k, v, (4, 12), (1, 2))
        second = dilated_attention(q, k, v, (12,), (2,))
        share = ((both - second) / (first - second))[..., :1]
    frozen = share * dilated_attention(q, k, v, (4,), (1,)) + (1 - share) * dilated_attention(q, k, v, (12,), (2,))
    (wanted,) = torch.autograd.grad(frozen.sum(), k)
    torch.testing.assert_close(gradient, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("route", [attention, chunked_attention, lambda *x: chunked_attention(*x, limit_bytes=1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_routes_agree_with_dense_softmax(route, dtype):
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, 3, 37, 8, generator=generator, dtype=dtype) * 3 for _ in range(3))
    logits = (q @ k.transpose(2, 3)) * 8**-0.5
    out, lse = route(q, k, v)
    assert relative_error(out, logits.softmax(3) @ v) < TOLERANCE[dtype]
    assert relative_error(lse, logits.logsumexp(3)) < TOLERANCE[dtype]
    assert lse.shape == (2, 3, 37)


def test_without_the_fused_kernel_the_result_is_the_same(monkeypatch):
    q, k, v = qkv(33)
    fused = dilated_attention(q, k, v, SEGMENTS, RATIOS)
    monkeypatch.setattr("pellucid.aggregators.longnet_attention.attention", chunked_attention)
    assert relative_error(dilated_attention(q, k, v, SEGMENTS, RATIOS), fused) < 1e-12
