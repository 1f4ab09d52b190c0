"""Which attention kernel runs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from timesformer_cli.model.routing import Mix

FUSED = [
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
]
SCORE_BYTES = 8 << 20  # of scores that `products` holds at a time: they stay in the cache


@contextmanager
def attention_kernel(name: str) -> Iterator[None]:
    """Inside, attention runs on that kernel: `math`, `fused`, or `auto`, which is torch's choice."""
    if name == "auto":
        yield
    else:
        with sdpa_kernel([SDPBackend.MATH] if name == "math" else FUSED):
            yield


def find_mix(device: torch.device, dtype: torch.dtype) -> Mix:
    """The fastest kernel there, of those that never hold all scores of a long clip.

    Measured (docs/performance.md): on a CPU, torch's fused kernel in float32 and for long groups,
    plain products in bfloat16, by a factor of two to three.
    """
    if device.type == "cpu" and dtype == torch.bfloat16:
        return chunked_attention
    return F.scaled_dot_product_attention


def in_dtype(dtype: torch.dtype, mix: Mix) -> Mix:
    """That kernel working in `dtype` whatever it is given."""

    def mixed(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
        return mix(q.to(dtype), k.to(dtype), v.to(dtype), seen).to(q.dtype)

    return mixed


def chunked_attention(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
    """Softmax attention `(n heads m k)` as two matrix products, a cacheful of scores at a time;
    `seen` says which keys a query sees, None: all.
    """
    n, heads, m, width = q.shape
    if seen is not None:
        seen = seen.expand(-1, heads, m, -1).flatten(0, 1)
    q, k, v = (part.reshape(n * heads, -1, width) for part in (q, k, v))
    k = (k * width**-0.5).transpose(1, 2)
    row_bytes = k.shape[2] * q.element_size()
    rows = max(1, min(m, SCORE_BYTES // row_bytes))
    groups = max(1, SCORE_BYTES // (rows * row_bytes))
    mixed = torch.empty_like(q)
    for group in range(0, n * heads, groups):
        here = slice(group, group + groups)
        for row in range(0, m, rows):
            some = slice(row, row + rows)
            scores = torch.bmm(q[here, some], k[here])
            if seen is not None:
                scores = scores.masked_fill(~seen[here, some], -torch.inf)
            torch.bmm(scores.softmax(dim=-1), v[here], out=mixed[here, some])
    return mixed.view(n, heads, m, width)
