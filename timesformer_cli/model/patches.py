"""From pixels to the patch grid: `(b t c h w)` to `(b t h w d)`."""

from einops import rearrange
from torch import Tensor, nn

from timesformer_cli.config import ModelConfig
from timesformer_cli.model.attention import TokenLinear
from timesformer_cli.model.flow import FlowStem


class LinearPatches(nn.Module):
    """One linear map for every patch, as published; a tubelet is a patch several frames deep."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.patch, self.tubelet = config.patch, config.tubelet
        self.proj = TokenLinear(config.channels * config.tubelet * config.patch**2, config.dim)

    def forward(self, clip: Tensor) -> Tensor:
        cut = rearrange(
            clip,
            "b (t f) c (h p) (w q) -> b t h w (c f p q)",
            f=self.tubelet,
            p=self.patch,
            q=self.patch,
        )
        embedded: Tensor = self.proj(cut)
        return embedded


class ConvStem(nn.Module):
    """3-D convolutions that halve the picture down to the patch grid and keep every frame.

    Learns motion from little data, where a linear map of patches does not.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        before = config.channels
        for width in config.stem_widths:
            stages += [
                nn.Conv3d(before, width, 3, stride=(1, 2, 2), padding=1, bias=False),
                nn.BatchNorm3d(width),
                nn.ReLU(inplace=True),
            ]
            before = width
        self.stages = nn.Sequential(*stages)
        self.proj = nn.Conv3d(before, config.dim, 1)

    def forward(self, clip: Tensor) -> Tensor:
        volume: Tensor = self.proj(self.stages(rearrange(clip, "b t c h w -> b c t h w")))
        return rearrange(volume, "b d t h w -> b t h w d")


EMBEDDINGS = {"linear": LinearPatches, "conv-stem": ConvStem, "flow-stem": FlowStem}
