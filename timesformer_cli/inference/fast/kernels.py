"""Attention kernels, and which one runs where."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from timesformer_cli.inference.device import cpu_has_amx
from timesformer_cli.model.routing import Mix

FUSED = [
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
]
SCORE_BYTES = 8 << 20  # of scores that `chunked_attention` holds at a time: they stay in the cache
DEVICE_SCORE_BYTES = 256 << 20  # the same on a GPU, which needs large products


@contextmanager
def attention_kernel(name: str) -> Iterator[None]:
    """Inside the block, attention runs on `math` or `fused`; `auto` lets torch choose."""
    if name == "auto":
        yield
    else:
        with sdpa_kernel([SDPBackend.MATH] if name == "math" else FUSED):
            yield


class CappedMix(Protocol):
    """Attention as in `Mix`, whose logits are bent to stay between `cap` and its negative."""

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None, *, cap: float
    ) -> Tensor: ...


def find_mix(device: torch.device, dtype: torch.dtype) -> Mix:
    """The fastest kernel for a device and a dtype that never holds all scores of a long clip.

    On a CPU without AMX, plain products are two to three times as fast in bfloat16 for short groups.
    torch's fused kernel is faster in float32, and with AMX in bfloat16, too (docs/performance.md).
    """
    if device.type == "cpu" and dtype == torch.bfloat16 and not cpu_has_amx():
        return chunked_attention
    return F.scaled_dot_product_attention


def find_capped(device: torch.device) -> CappedMix:
    """The kernel for capped logits, which torch's fused ones do not have, in pieces."""
    if device.type == "cpu":
        return chunked_attention
    return partial(chunked_attention, piece_bytes=DEVICE_SCORE_BYTES)


def in_dtype(dtype: torch.dtype, mix: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The kernel `mix`, working in `dtype` whatever dtype it is given."""

    def mixed(
        q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None, **options: float
    ) -> Tensor:
        return mix(q.to(dtype), k.to(dtype), v.to(dtype), seen, **options).to(q.dtype)

    return mixed


def chunked_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    seen: Tensor | None = None,
    *,
    cap: float = 0,
    piece_bytes: int | None = None,
) -> Tensor:
    """Softmax attention `(n heads m k)` as two matrix products, in pieces of SCORE_BYTES.

    `seen` says which keys a query sees, `(n 1 m m)` or `(n 1 1 m)`; None means all of them. With a
    `cap`, logits are bent to stay between it and its negative.
    """
    piece_bytes = piece_bytes or SCORE_BYTES
    n, heads, m, width = q.shape
    if seen is not None:
        seen = seen.expand(-1, heads, m, -1).flatten(0, 1)
    q, k, v = (part.reshape(n * heads, -1, width) for part in (q, k, v))
    k = (k * (width**-0.5 / (cap or 1))).transpose(1, 2)
    # A piece is several whole groups where a group is small, and rows of one where it is large.
    row_bytes = k.shape[2] * q.element_size()
    row_count = max(1, min(m, piece_bytes // row_bytes))
    group_count = max(1, piece_bytes // (row_count * row_bytes))
    mixed = torch.empty_like(q)
    for group in range(0, n * heads, group_count):
        groups = slice(group, group + group_count)
        for row in range(0, m, row_count):
            rows = slice(row, row + row_count)
            scores = torch.bmm(q[groups, rows], k[groups])
            if cap:
                scores = scores.tanh_().mul_(cap)
            if seen is not None:
                scores = scores.masked_fill(~seen[groups, rows], -torch.inf)
            torch.bmm(scores.softmax(dim=-1), v[groups], out=mixed[groups, rows])
    return mixed.view(n, heads, m, width)
