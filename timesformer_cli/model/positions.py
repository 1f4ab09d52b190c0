"""How tokens know their place: learned tables, a computed table, or turns within attention.

The turns stand in `rotary`.
"""

from math import prod

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from timesformer_cli.config import ModelConfig
from timesformer_cli.model.rotary import LONGEST_WAVE


def resize_table(
    table: Tensor, size: tuple[int, ...], mode: str, *, antialias: bool = False
) -> Tensor:
    """Resample a table `(*grid d)` to `(*size d)`; one that already fits is returned as it is."""
    if tuple(table.shape[:-1]) == size:
        return table
    volume = table.movedim(-1, 0)[None].float()
    resized = F.interpolate(volume, size=size, mode=mode, antialias=antialias)
    return resized[0].movedim(0, -1).to(table.dtype)


class SeparateTables(nn.Module):
    """One table over rows and columns, with the class token in front, and one table over time."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        t, self.rows, self.columns = config.grid
        self.classes = int(config.scheme.has_cls)
        self.space = nn.Parameter(
            torch.empty(1, self.classes + self.rows * self.columns, config.dim)
        )
        if config.scheme.mixes_time:
            self.time = nn.Parameter(torch.empty(1, t, config.dim))
        else:
            self.register_parameter("time", None)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, cls: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Add the tables to class tokens `(b c d)` and patches `(b t h w d)`."""
        _, t, h, w, _ = patches.shape
        table = rearrange(self.space[0, self.classes :], "(h w) d -> h w d", h=self.rows)
        patches = patches + resize_table(table, (h, w), "bicubic")
        cls = self.dropout(cls + self.space[:, : self.classes])
        if self.time is None:
            return cls, self.dropout(patches)
        # Nearest, as published: other frame counts then give the published logits.
        time = resize_table(self.time[0], (t,), "nearest")
        return cls, self.dropout(patches + rearrange(time, "t d -> t 1 1 d"))

    def reset_parameters(self) -> None:
        """Initialise as published: truncated normal 0.02, and time at zero."""
        nn.init.trunc_normal_(self.space, std=0.02)
        if self.time is not None:
            nn.init.zeros_(self.time)


class PositionTable(nn.Module):
    """One table over all patches of the clip with the class token in front (arXiv 2103.15691)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.grid = t, h, w = config.grid
        self.classes = config.class_tokens
        self.table = nn.Parameter(torch.empty(1, self.classes + t * h * w, config.dim))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, cls: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Add the tables to class tokens `(b c d)` and patches `(b t h w d)`."""
        _, t, h, w, _ = patches.shape
        table = self.table[0, self.classes :].view(*self.grid, -1)
        patches = patches + resize_table(table, (t, h, w), "trilinear")
        return self.dropout(cls + self.table[:, : self.classes]), self.dropout(patches)

    def reset_parameters(self) -> None:
        """Initialise with a truncated normal of 0.02."""
        nn.init.trunc_normal_(self.table, std=0.02)


class SmoothTable(nn.Module):
    """One table over rows and columns, or over time; no class token (arXiv 2402.13217)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        t, h, w = config.grid
        self.kind = config.positions
        self.size = (t,) if self.kind == "time" else (h, w)
        self.table = nn.Parameter(torch.empty(1, prod(self.size), config.dim))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, cls: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Add the table to patches `(b t h w d)`; there are no class tokens, `(b 0 d)`."""
        _, t, h, w, _ = patches.shape
        return cls, self.dropout(patches + self.resized(t, h, w))

    def resized(self, t: int, h: int, w: int) -> Tensor:
        """The table for a grid of this size, as it is added to patches."""
        table = self.table[0].view(*self.size, -1)
        if len(self.size) > 1:
            return resize_table(table, (h, w), "bilinear", antialias=True)
        # Channels stand for columns: torch's antialiasing is wrong for pictures one pixel wide.
        table = resize_table(table[..., None], (t, table.shape[-1]), "bilinear", antialias=True)
        return rearrange(table, "t d 1 -> t 1 1 d")

    def reset_parameters(self) -> None:
        """Initialise with a truncated normal of 0.02."""
        nn.init.trunc_normal_(self.table, std=0.02)


class Sinusoids(nn.Module):
    """Sines and cosines of a patch's number in the clip; nothing is learned (arXiv 2203.12602).

    The table is computed again for every clip, unless `keep` was called.
    """

    table: Tensor | None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.grid, self.dim = config.grid, config.dim
        self.register_buffer("table", None)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, cls: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Add the table to patches `(b t h w d)`; there are no class tokens, `(b 0 d)`."""
        _, t, h, w, _ = patches.shape
        table = self._computed() if self.table is None else self.table
        table = resize_table(table, (t, h, w), "trilinear").to(patches)
        return cls, self.dropout(patches + table)

    def keep(self) -> None:
        """Compute the table once and keep it."""
        self.table = self._computed()

    def _computed(self) -> Tensor:
        t, h, w = self.grid
        # In float64: the last of a thousand patches would else be off by 1e-4.
        number = torch.arange(t * h * w, dtype=torch.float64, device="cpu")
        even = torch.arange(0, self.dim, 2, dtype=torch.float64, device="cpu")
        waves = torch.pow(LONGEST_WAVE, -even / self.dim)
        angles = torch.outer(number, waves)
        table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
        return table.float().view(t, h, w, self.dim)


class NoPositions(nn.Module):
    """Adds nothing, because attention turns queries and keys by their place instead."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, cls: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return class tokens `(b c d)` and patches `(b t h w d)` unchanged but for dropout."""
        return self.dropout(cls), self.dropout(patches)


POSITIONS = {
    "separate": SeparateTables,
    "table": PositionTable,
    "sinusoidal": Sinusoids,
    "rotary": NoPositions,
    "rotary-3d": NoPositions,
    "frame": SmoothTable,
    "time": SmoothTable,
}
