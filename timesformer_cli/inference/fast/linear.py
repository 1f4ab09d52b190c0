"""Linear maps over the last axis, with weights in the layout that multiplies fastest."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timesformer_cli.errors import DeviceError
from timesformer_cli.inference.device import (
    has_int8_maps,
    int8_pair_limit,
    int8_product,
    pack_weight,
    packs_weights,
)


class MakeLinear(Protocol):
    """Makes a linear map from a weight `(out in)` and a bias, with a GELU after it where asked."""

    def __call__(
        self, weight: Tensor, bias: Tensor | None, *, gelu: bool = False
    ) -> "nn.Module": ...


class PlainLinear(nn.Module):
    """torch's own linear map: any device, any floating-point dtype, can be exported."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> None:
        super().__init__()
        self.gelu = gelu
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, tokens: Tensor) -> Tensor:
        mapped = F.linear(tokens.flatten(0, -2), self.weight, self.bias)
        mapped = F.gelu(mapped) if self.gelu else mapped
        return mapped.view(*tokens.shape[:-1], len(self.weight))


class PackedLinear(nn.Module):
    """On the CPU: oneDNN lays the weight out once and computes the GELU inside the product.

    torch's own linear map lays its weight out anew in every call.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> None:
        super().__init__()
        self.out_features = len(weight)
        self.activation = ("gelu", "none") if gelu else ("none", "")
        self.weight = pack_weight(weight)
        self.register_buffer("bias", bias)

    def forward(self, tokens: Tensor) -> Tensor:
        name, algorithm = self.activation
        mapped: Tensor = torch.ops.mkldnn._linear_pointwise(
            tokens.flatten(0, -2), self.weight, self.bias, name, [], algorithm
        )
        return mapped.view(*tokens.shape[:-1], self.out_features)


class Int8Linear(nn.Module):
    """On the CPU: products of 8-bit integers, float32 in and out.

    The weight is rounded once, with one scale per output. Each token is rounded in every call, with
    a scale and a least value of its own: what a token gives does not depend on the others. A
    token is `least + scale * digits`, so its product with the weight is
    `scale * (digits @ weight) + least * sum(weight)`, and only `digits @ weight` is a product.
    """

    bias: Tensor
    sums: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> None:
        super().__init__()
        self.gelu = gelu
        self.out_features = len(weight)
        weight = weight.float()
        scales = int8_scales(weight, int8_pair_limit())
        rounded = (weight / scales[:, None]).round_().to(torch.int8)
        self.multiply = int8_product(rounded, scales)
        bias = weight.new_zeros(len(weight)) if bias is None else bias.float()
        self.register_buffer("bias", bias)
        self.register_buffer("sums", rounded.sum(dim=1) * scales)

    def forward(self, tokens: Tensor) -> Tensor:
        # Made for rows of embeddings, and the only operator of torch that rounds each row in one
        # pass: 8 bits a value, then the row's scale and its least value as two float32.
        rounded = torch.ops.quantized.embedding_bag_byte_prepack(tokens.flatten(0, -2).float())
        digits = rounded[:, :-8].contiguous()
        scale, least = rounded[:, -8:].contiguous().view(torch.float32).split(1, dim=1)
        mapped = self.multiply(digits)
        # In place: each pass over the outputs costs a tenth of the product on processors with AMX.
        torch.addcmul(self.bias, mapped, scale, out=mapped)
        mapped.addcmul_(least, self.sums)
        if self.gelu:
            torch.ops.aten.gelu_(mapped)
        return mapped.view(*tokens.shape[:-1], self.out_features)


def int8_scales(weight: Tensor, pair_limit: int) -> Tensor:
    """The scale of each output by which its weights, `(out in)`, are divided and rounded.

    Rounded weights reach at most 127, and two neighbours of one sign together `pair_limit`.
    """
    scales = weight.abs().amax(dim=1) / 127
    if pair_limit < 2 * 127:
        pairs = F.pad(weight, (0, weight.shape[1] % 2)).unflatten(1, (-1, 2))  # type: ignore[no-untyped-call]
        sums = torch.cat([pairs.clamp(min=0).sum(dim=2), -pairs.clamp(max=0).sum(dim=2)], dim=1)
        scales = torch.maximum(scales, sums.amax(dim=1) / (pair_limit - 1))  # 1 for the rounding
    return scales.clamp(min=1e-14)  # an output may be all zeros


def find_linear(device: torch.device, dtype: torch.dtype) -> MakeLinear:
    """The fastest linear map for a device and a dtype; raises DeviceError where int8 cannot run."""
    if dtype == torch.int8:
        if not has_int8_maps(device):
            raise DeviceError("int8 runs on the CPU with oneDNN only; give --dtype bfloat16")
        return Int8Linear
    return PackedLinear if device.type == "cpu" and packs_weights(dtype) else PlainLinear
