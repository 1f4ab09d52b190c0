"""Bring patches into the groups that a sentence makes of the grid, and back."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from timesformer_cli.grouping import Grid, Grouping


def group(patches: Tensor, grouping: Grouping) -> Tensor:
    """Patches `(b t h w d)` as `(b g m d)`, with zeros where the grid is padded."""
    t, h, w = patches.shape[1:4]
    grid = (t, h, w)
    filled, moved = grouping.filled(grid), grouping.moved(grid)
    if filled != grid:
        patches = F.pad(patches, (0, 0, 0, filled[2] - w, 0, filled[1] - h, 0, filled[0] - t))
    if any(moved):
        patches = patches.roll([-by for by in moved], dims=(1, 2, 3))
    if any(grouping.diagonal):
        patches = _moved_on(patches, [-by for by in grouping.diagonal])
    return rearrange(patches, grouping.gather, **grouping.lengths(grid))


def ungroup(tokens: Tensor, grouping: Grouping, grid: Grid) -> Tensor:
    """The inverse: `(b g m d)` as patches `(b t h w d)`."""
    t, h, w = grid
    moved = grouping.moved(grid)
    patches = rearrange(tokens, grouping.scatter, **grouping.lengths(grid))
    if any(grouping.diagonal):
        patches = _moved_on(patches, grouping.diagonal)
    if any(moved):
        patches = patches.roll(moved, dims=(1, 2, 3))
    return patches[:, :t, :h, :w]


def _moved_on(patches: Tensor, diagonal: Sequence[int]) -> Tensor:
    """Each frame of `(b t h w d)` so many rows and columns further than the frame before it."""
    frames = (
        frame.roll([number * by for by in diagonal], dims=(1, 2))
        for number, frame in enumerate(patches.unbind(1))
    )
    return torch.stack([*frames], dim=1)


def visible(grouping: Grouping, grid: Grid, device: torch.device) -> Tensor:
    """Mask `(g m m)` of which members see which: those within reach, never padding.

    Every member sees itself, padding too, because a softmax over nothing is not a number.
    """
    axes = (torch.arange(1, size + 1, dtype=torch.int32, device=device) for size in grid)
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    members = group(places[None], grouping)[0]  # padding is at place 0
    near = members.all(dim=-1)[:, None]
    for place, reach, size in zip(members.unbind(-1), grouping.reach, grid, strict=True):
        if reach < size - 1:
            near = near & ((place[:, :, None] - place[:, None]).abs() <= reach)
    return near | torch.eye(members.shape[1], dtype=torch.bool, device=device)
