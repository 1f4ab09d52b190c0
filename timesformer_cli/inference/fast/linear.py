"""Linear maps over the last axis, with weights in the layout that multiplies fastest."""

import warnings
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timesformer_cli.errors import DeviceError
from timesformer_cli.inference.device import has_int8_maps, pack_weight, packs_weights


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

    The weight is rounded once, with one scale per output. The tokens are rounded in every call,
    with one scale for all, so the rounding of a token depends on the tokens that come with it.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> None:
        super().__init__()
        self.gelu = gelu
        self.out_features = len(weight)
        weight = weight.float()
        scales = weight.abs().amax(dim=1).clamp(min=1e-12) / 127  # an output may be all zeros
        zeros = torch.zeros(len(weight), dtype=torch.long)
        # oneDNN multiplied faster than fbgemm (docs/performance.md). The engine is a setting of the
        # whole process, and it matters when a weight is packed: the caller's choice comes back.
        chosen = torch.backends.quantized.engine
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch recommends its compiler instead
            torch.backends.quantized.engine = "onednn"
            try:
                rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
                self.packed = torch.ops.quantized.linear_prepack(
                    rounded, None if bias is None else bias.float()
                )
            finally:
                torch.backends.quantized.engine = chosen

    def forward(self, tokens: Tensor) -> Tensor:
        flat = tokens.flatten(0, -2).float()
        mapped: Tensor = torch.ops.quantized.linear_dynamic(flat, self.packed, False)
        mapped = F.gelu(mapped) if self.gelu else mapped
        return mapped.view(*tokens.shape[:-1], self.out_features)


def find_linear(device: torch.device, dtype: torch.dtype) -> MakeLinear:
    """The fastest linear map for a device and a dtype; raises DeviceError where int8 cannot run."""
    if dtype == torch.int8:
        if not has_int8_maps(device):
            raise DeviceError("int8 runs on the CPU with oneDNN only; give --dtype bfloat16")
        return Int8Linear
    return PackedLinear if device.type == "cpu" and packs_weights(dtype) else PlainLinear
