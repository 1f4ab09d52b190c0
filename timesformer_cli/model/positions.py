"""Learned positions of the grid, and the one function that resizes their tables."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from timesformer_cli.config import ModelConfig


def resize_table(table: Tensor, size: tuple[int, ...], mode: str) -> Tensor:
    """Resample a table `(*grid d)` to `(*size d)`; the same table where the grid already fits."""
    if tuple(table.shape[:-1]) == size:
        return table
    resized = F.interpolate(table.movedim(-1, 0)[None].float(), size=size, mode=mode)
    return resized[0].movedim(0, -1).to(table.dtype)


class Positions(nn.Module):
    """One table over rows and columns with the class token in front, one over time."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        t, self.rows, self.columns = config.grid
        self.space = nn.Parameter(torch.empty(1, 1 + self.rows * self.columns, config.dim))
        if config.scheme.sees_time:
            self.time = nn.Parameter(torch.empty(1, t, config.dim))
        else:
            self.register_parameter("time", None)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, cls: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Add to class tokens `(b c d)` and patches `(b t h w d)` where they are."""
        _, t, h, w, _ = patches.shape
        table = rearrange(self.space[0, 1:], "(h w) d -> h w d", h=self.rows)
        patches = patches + resize_table(table, (h, w), "bicubic")
        cls = self.dropout(cls + self.space[:, :1])
        if self.time is None:
            return cls, self.dropout(patches)
        # Nearest, as published: other frame counts then give the published logits.
        time = resize_table(self.time[0], (t,), "nearest")
        return cls, self.dropout(patches + rearrange(time, "t d -> t 1 1 d"))
