"""The second transformer of a factorised encoder: from the frames' class tokens to the clip's."""

import torch
from einops import rearrange
from torch import Tensor, nn

from timesformer_cli.config import ModelConfig
from timesformer_cli.model.block import make_blocks
from timesformer_cli.model.positions import POSITIONS


class FrameEncoder(nn.Module):
    """Maps a token a frame, `(b t d)`, to one a clip, `(b 1 d)` (arXiv 2103.15691, section 3.3)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.cls = nn.Parameter(torch.empty(1, 1, config.dim))
        self.positions = POSITIONS[config.positions](config)
        self.blocks = make_blocks(config)

    def forward(self, frames: Tensor) -> Tensor:
        cls, patches = self.positions(
            self.cls.expand(len(frames), -1, -1), rearrange(frames, "b t d -> b t 1 1 d")
        )
        for block in self.blocks:
            cls, patches = block(cls, patches)
        clip: Tensor = cls
        return clip
