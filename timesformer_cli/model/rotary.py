"""Rotary positions: attention turns each head of its queries and keys by the place of the token."""

from collections.abc import Callable
from math import log2, pi, prod

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from timesformer_cli.config import ModelConfig
from timesformer_cli.grouping import Grid, Grouping
from timesformer_cli.model.regroup import group

LONGEST_WAVE = 10_000  # wavelength of the slowest sine, in units of 2 pi positions
HIGHEST_FREQUENCY = 5  # half turns from the middle of the picture to its edge

# The angles of the members of each group, `(g m k)` for heads of width k, or of one channel more; g
# is 1 where the groups have the same ones. Given are the grouping, the grid, the width, the device.
Angles = Callable[[Grouping, Grid, int, torch.device], Tensor]


def turned(tokens: tuple[Tensor, ...], angles: Tensor, heads: int) -> tuple[Tensor, ...]:
    """Turn each head of queries and keys `(b g m d)` by the angles `(g m k)`."""
    angles = rearrange(angles, "g m k -> g m 1 k")
    like = tokens[0]
    sin, cos = angles.sin().to(like), angles.cos().to(like)
    return tuple(_turned(part, sin, cos, heads) for part in tokens)


def _turned(tokens: Tensor, sin: Tensor, cos: Tensor, heads: int) -> Tensor:
    split = rearrange(tokens, "b g m (heads k) -> b g m heads k", heads=heads)
    width = sin.shape[-1]
    pairs = split[..., :width]
    first, second = rearrange(pairs, "... (k pair) -> pair ... k", pair=2)
    across = torch.stack([-second, first], dim=-1).flatten(-2)
    pairs = pairs * cos + across * sin
    if width < split.shape[-1]:  # an odd width: a channel without a partner stays as it is
        pairs = torch.cat([pairs, split[..., width:]], dim=-1)
    return rearrange(pairs, "b g m heads k -> b g m (heads k)")


def _by_member(config: ModelConfig) -> Angles:
    """By the place of the member in its group, as timesformer-pytorch does: its weights work.

    Over rows and columns, each pair of neighbouring channels has one angle. Over time the angles
    are repeated in halves instead, so the two channels of a pair turn by different angles.
    """

    def angles(grouping: Grouping, grid: Grid, width: int, device: torch.device) -> Tensor:
        lengths = grouping.lengths(grid)
        axes = tuple(lengths[name] for name in grouping.members)
        return _ALONG[len(axes)](*axes, width).to(device)[None]

    return angles


def _over_time(frames: int, width: int) -> Tensor:
    """Angles `(frames width)` of a group along time."""
    waves = torch.pow(LONGEST_WAVE, -torch.arange(0, width, 2) / width)
    return torch.outer(torch.arange(frames), waves).repeat(1, 2)


def _over_picture(rows: int, columns: int, width: int) -> Tensor:
    """Angles `(rows * columns width)`: half of the channels for rows, half for columns."""
    scales = pi * torch.exp2(torch.linspace(0, log2(HIGHEST_FREQUENCY), width // 4))
    down, across = (torch.outer(torch.linspace(-1, 1, size), scales) for size in (rows, columns))
    both = [
        rearrange(down, "h k -> h 1 k").expand(-1, columns, -1),
        rearrange(across, "w k -> 1 w k").expand(rows, -1, -1),
    ]
    return torch.cat(both, dim=-1).flatten(0, 1).repeat_interleave(2, dim=-1)


# By how many axes a group has.
_ALONG: dict[int, Callable[..., Tensor]] = {1: _over_time, 2: _over_picture}


def _by_number(config: ModelConfig) -> Angles:
    """By frame, row and column, a third of a head's channels each, as transformers' V-JEPA 2 does.

    - A third is rounded down to an even number, and the channels that are left over never turn.
    - Angles are repeated in halves, while a pair is two neighbouring channels.
    - A patch's place is read off its number in the clip, as if the picture had its native size.
      In a picture of another size these are not the true rows and columns.
    """
    _, rows, columns = config.grid

    def angles(grouping: Grouping, grid: Grid, width: int, device: torch.device) -> Tensor:
        third = width // 3 // 2 * 2
        waves = torch.pow(LONGEST_WAVE, -torch.arange(0, third, 2, device=device) / third)
        patches = prod(grid)
        native = -(-patches // (rows * columns)), rows, columns
        parts = []
        for axis, size in enumerate(native):
            along = torch.outer(torch.arange(size, device=device), waves).repeat(1, 2)
            shape = [1, 1, 1, third]
            shape[axis] = size
            parts.append(along.view(shape).expand(*native, -1))
        table = torch.cat(parts, dim=-1).flatten(0, 2)[:patches]
        table = F.pad(table, (0, width // 2 * 2 - 3 * third))
        return group(table.view(1, *grid, -1), grouping)[0]

    return angles


_KINDS: dict[str, Callable[[ModelConfig], Angles]] = {
    "rotary": _by_member,
    "rotary-3d": _by_number,
}


def angles_of(config: ModelConfig) -> Angles | None:
    """How attention turns queries and keys in a model of this kind; None where it does not."""
    kind = _KINDS.get(config.positions)
    return None if kind is None else kind(config)
