"""Rotary positions: queries and keys turned by where their patch is in its group."""

from collections.abc import Callable
from math import log2, pi

import torch
from einops import rearrange
from torch import Tensor

from timesformer_cli.grouping import Grid, Grouping

LONGEST_WAVE = 10_000  # frames over 2 pi
HIGHEST_FREQUENCY = 5  # half turns from the middle of the picture to its edge


def turned(tokens: Tensor, grouping: Grouping, grid: Grid, heads: int) -> Tensor:
    """Queries or keys of patches `(b g m d)`, each head turned by the member's place.

    As timesformer-pytorch does, for the sake of its weights: over rows and columns each pair of
    neighbouring channels has one angle; over time the angles are repeated in halves instead, so
    that the two channels of a pair turn by different ones.
    """
    lengths = grouping.lengths(grid)
    axes = tuple(lengths[name] for name in grouping.members)
    width = tokens.shape[-1] // heads
    angles = rearrange(ANGLES[len(axes)](*axes, width), "m k -> m 1 k")
    sin, cos = angles.sin().to(tokens), angles.cos().to(tokens)
    split = rearrange(tokens, "b g m (heads k) -> b g m heads k", heads=heads)
    one, other = rearrange(split, "... (k pair) -> pair ... k", pair=2)
    across = torch.stack([-other, one], dim=-1).flatten(-2)
    return rearrange(split * cos + across * sin, "b g m heads k -> b g m (heads k)")


def _over_time(frames: int, width: int) -> Tensor:
    """Angles `(frames width)`."""
    waves = torch.pow(LONGEST_WAVE, -torch.arange(0, width, 2) / width)
    return torch.outer(torch.arange(frames), waves).repeat(1, 2)


def _over_picture(rows: int, columns: int, width: int) -> Tensor:
    """Angles `(rows * columns width)`: half of the channels for each of the axes."""
    scales = pi * torch.exp2(torch.linspace(0, log2(HIGHEST_FREQUENCY), width // 4))
    down, across = (torch.outer(torch.linspace(-1, 1, size), scales) for size in (rows, columns))
    both = [
        rearrange(down, "h k -> h 1 k").expand(-1, columns, -1),
        rearrange(across, "w k -> 1 w k").expand(rows, -1, -1),
    ]
    return torch.cat(both, dim=-1).flatten(0, 1).repeat_interleave(2, dim=-1)


ANGLES: dict[int, Callable[..., Tensor]] = {1: _over_time, 2: _over_picture}
