"""What a model's time is compared with: the operations that it needs, and how fast they can be."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from timesformer_cli import cost
from timesformer_cli.benchmark import machine
from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import DeviceError
from timesformer_cli.inference.device import (
    DTYPES,
    has_int8_maps,
    int8_product,
    multiplies_int8,
    pack_weight,
    packs_weights,
)

REPEATS = 10


def useful_macs(config: ModelConfig) -> int:
    """Multiply-adds that a divided model's answer needs: fewer than the published count.

    Three things are not needed. The temporal fc folds into the projection before it. The class
    token's query, key, value and projection in the space pass are the same for all frames. And
    nothing reads the patches that the last block's space pass and MLP make; of that pass only their
    keys and values are read.
    """
    assert config.attention == "divided"
    t, h, w = config.grid
    patches, seen, square = t * h * w, h * w + 1, config.dim**2
    fc = config.depth * patches * square
    copies = config.depth * 4 * (t - 1) * square
    unread = patches * 2 * (square + seen * config.dim + config.dim * config.mlp_dim)
    return cost.macs(config).total - fc - copies - unread


def product_rates(config: ModelConfig, dtype: str, device: torch.device) -> list[float]:
    """FLOP per second of one clip's tokens through each linear map of a block, the best of several.

    On the CPU both torch's own product and oneDNN's with packed weights are tried, where there is
    one; what is left out goes to stderr. Raises DeviceError where the device has no such product.
    """
    multiplies = has_int8_maps if device.type == "cpu" else multiplies_int8
    if dtype == "int8" and not multiplies(device):
        raise DeviceError(f"{device} multiplies no int8 matrices")
    if dtype != "int8" and device.type == "cpu" and not packs_weights(DTYPES[dtype]):
        print(f"left out: packed {dtype} products: this processor has none", file=sys.stderr)
    rows, rates = cost.tokens(config), []
    dim, mlp_dim = config.dim, config.mlp_dim
    for before, after in ((dim, dim), (dim, 3 * dim), (dim, mlp_dim), (mlp_dim, dim)):
        best = float("inf")
        with torch.inference_mode():
            for multiply in _ways(rows, before, after, dtype, device):
                multiply()
                for _ in range(REPEATS):
                    machine.settle(device)
                    began = time.perf_counter()
                    multiply()
                    machine.settle(device)
                    best = min(best, time.perf_counter() - began)
        rates.append(2 * rows * before * after / best)
    return rates


def _ways(
    rows: int, before: int, after: int, dtype: str, device: torch.device
) -> Iterator[Callable[[], Tensor]]:
    """Yield each product that this device has."""
    if dtype == "int8" and device.type == "cpu":
        # As models multiply: torch's `_int_mm` lays out the weight anew in every call, and without
        # VNNI it runs at a fiftieth of this.
        digits = torch.randint(256, (rows, before), dtype=torch.uint8)
        whole = torch.randint(-64, 65, (after, before), dtype=torch.int8)
        product = int8_product(whole, torch.ones(after))
        yield lambda: product(digits)
        return
    if dtype == "int8":
        left, right = (
            torch.randint(-128, 128, shape, dtype=torch.int8, device=device)
            for shape in ((rows, before), (after, before))
        )
        yield lambda: torch._int_mm(left, right.t())
        return
    kind = DTYPES[dtype]
    tokens, weight, bias = (
        torch.randn(shape, device=device).to(kind)
        for shape in ((rows, before), (after, before), (after,))
    )
    yield lambda: F.linear(tokens, weight, bias)
    if device.type == "cpu" and packs_weights(kind):
        packed = pack_weight(weight, rows)
        linear = torch.ops.mkldnn._linear_pointwise
        yield lambda: linear(tokens, packed, bias, "none", [], "")
