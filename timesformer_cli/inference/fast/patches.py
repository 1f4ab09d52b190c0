"""Patch embeddings that take pixels.

Normalising pixels is linear, and so is the embedding: scale, mean and std become part of its
weights.
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from timesformer_cli.config import Preprocessing
from timesformer_cli.inference.fast.linear import MakeLinear
from timesformer_cli.model.flow import FlowStem, measured_motion
from timesformer_cli.model.patches import ConvStem, LinearPatches

MIDDLE = 128  # subtracted from pixels: the difference is small, and exact in every dtype


class PixelPatches(nn.Module):
    """`LinearPatches` for pixels, uint8 RGB `(b t h w c)`, or normalised clips `(b t c h w)`."""

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        patches: LinearPatches,
        preprocessing: Preprocessing,
        dtype: torch.dtype,
        linear: MakeLinear,
    ) -> None:
        super().__init__()
        self.dtype = dtype
        self.lengths = {"f": patches.tubelet, "p": patches.patch, "q": patches.patch}
        scale, shift = _normalisation(preprocessing)
        weight = rearrange(
            patches.proj.weight.float(), "d (c f p q) -> d f p q c", c=len(scale), **self.lengths
        )
        bias = patches.proj.bias.float() + (weight * (shift + scale * MIDDLE)).sum((1, 2, 3, 4))
        self.proj = linear((weight * scale).flatten(1), bias)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift + scale * MIDDLE)

    def forward(self, clip: Tensor) -> Tensor:
        if clip.is_floating_point():  # the weights expect pixels
            clip = rearrange(clip, "b t c h w -> b t h w c").float()
            pixels = ((clip - self.shift) / self.scale).to(self.dtype)
        else:
            pixels = clip.to(self.dtype) - MIDDLE
        cut = rearrange(pixels, "b (t f) (h p) (w q) c -> b t h w (f p q c)", **self.lengths)
        embedded: Tensor = self.proj(cut)
        return embedded


class PixelStem(nn.Module):
    """`ConvStem` for the same input, with each batch norm folded into the convolution before it.

    Normalising stays a step of its own, because the convolutions pad with zeros of normalised
    values: folded in, the borders would change.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        stem: ConvStem,
        preprocessing: Preprocessing,
        dtype: torch.dtype,
        linear: MakeLinear,
    ) -> None:
        super().__init__()
        self.dtype = dtype
        self.stages = _folded([*stem.stages]).to(dtype)
        self.proj = linear(stem.proj.weight.flatten(1), stem.proj.bias)
        scale, shift = _normalisation(preprocessing)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, clip: Tensor) -> Tensor:
        if clip.is_floating_point():
            volume = rearrange(clip, "b t c h w -> b c t h w")
        else:
            volume = rearrange(clip * self.scale + self.shift, "b t h w c -> b c t h w")
        volume = volume.to(self.dtype)
        for stage in self.stages:
            alone = volume.shape[2] == 1 and isinstance(stage, nn.Conv3d)
            volume = _over_one_frame(cast(nn.Conv3d, stage), volume) if alone else stage(volume)
        embedded: Tensor = self.proj(rearrange(volume, "b d t h w -> b t h w d"))
        return embedded


class PixelFlowStem(nn.Module):
    """`FlowStem` for the same input, its batch norms folded likewise."""

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        stem: FlowStem,
        preprocessing: Preprocessing,
        dtype: torch.dtype,
        linear: MakeLinear,
    ) -> None:
        super().__init__()
        self.dtype, self.cell = dtype, stem.cell
        stages = cast(list[nn.Sequential], [*stem.moves, stem.join])
        self.stages = _folded([module for stage in stages for module in stage]).to(dtype)
        self.proj = linear(stem.proj.weight.flatten(1), stem.proj.bias)
        scale, shift = _normalisation(preprocessing)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, clip: Tensor) -> Tensor:
        if not clip.is_floating_point():
            planes = rearrange(clip, "b t h w c -> b t c h w").contiguous()
            clip = planes * self.scale.view(-1, 1, 1) + self.shift.view(-1, 1, 1)
        motion = measured_motion(clip, self.cell).flatten(0, 1)
        joined = rearrange(
            self.stages(motion.to(self.dtype)), "(b t) d h w -> b t h w d", b=clip.shape[0]
        )
        embedded: Tensor = self.proj(joined)
        return embedded


def _folded(modules: Sequence[nn.Module]) -> nn.Sequential:
    """Convolutions, batch norms and activations in turn, each norm folded into its convolution."""
    stages: list[nn.Module] = []
    for convolution, norm, activation in zip(*(modules[i::3] for i in range(3)), strict=True):
        fused = fuse_conv_bn_eval(cast(nn.Conv2d, convolution), cast(nn.BatchNorm2d, norm))
        stages += [fused, activation]
    return nn.Sequential(*stages)


def _over_one_frame(convolution: nn.Conv3d, volume: Tensor) -> Tensor:
    """A convolution of three frames over a single one, whose neighbours are zero.

    In bfloat16 on processors with AMX, oneDNN's own answer was wrong and changed from call to call
    (torch 2.14; one clip of one frame was 0.16 off, eight were NaN).
    """
    weight = convolution.weight[:, :, 1]
    return F.conv2d(volume[:, :, 0], weight, convolution.bias, stride=2, padding=1)[:, :, None]


FROM_PIXELS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    LinearPatches: PixelPatches,
    ConvStem: PixelStem,
    FlowStem: PixelFlowStem,
}


def _normalisation(preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """Scale and shift per colour: a normalised value is `pixel * scale + shift`."""
    mean, std = torch.tensor(preprocessing.mean) * 255, torch.tensor(preprocessing.std) * 255
    return 1 / std, -mean / std
