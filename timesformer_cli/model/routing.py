"""How tokens get into their groups, attend there and get back: one class per layout of tokens.

A `Grouping` says which patches see one another; a route lays tokens out for it. `route_of` chooses.
"""

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from timesformer_cli.grouping import Grid, Grouping
from timesformer_cli.model.regroup import group, ungroup, visible
from timesformer_cli.model.rotary import Angles, turned

# Softmax attention of queries, keys and values `(n heads m k)`. The mask `(n 1 m m)` or
# `(n 1 1 m)` says which keys a query sees; None shows all.
Mix = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


class Route(Protocol):
    """The layout of one grouping's tokens: first for the linear maps, then for attention."""

    grouping: Grouping
    heads: int

    def gather(self, cls: Tensor, patches: Tensor) -> Tensor:
        """Class tokens `(b c d)` and patches `(b t h w d)`, laid out for the linear maps."""
        ...

    def scatter(self, tokens: Tensor, grid: Grid) -> tuple[Tensor | None, Tensor]:
        """The inverse of `gather`; class tokens are None where they take no part."""
        ...

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, grid: Grid, mix: Mix, frames: Tensor | None = None
    ) -> Tensor:
        """Mix into each token the values of the tokens that it sees.

        Frames that are false in `frames` `(b t)` are seen by nothing. That mask is kept for parity
        with lucidrains' TimeSformer: parity tests give it, no command does.
        """
        ...


class ClassRoute(Route, Protocol):
    """A route that can also attend for class tokens alone.

    The inference form needs it in the last block, where nothing reads the patches.
    """

    def attend_class(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid, mix: Mix) -> Tensor:
        """`attend` for the queries of class tokens alone, `(b c d)`; the result has their shape."""
        ...


class GroupRoute:
    """Tokens as `(b g m d)`; where the class token takes part, it is first in every group.

    With `angles`, for groupings without a class token, queries and keys are turned by their place.
    """

    def __init__(self, grouping: Grouping, heads: int, angles: Angles | None = None) -> None:
        self.grouping, self.heads, self.angles = grouping, heads, angles

    def gather(self, cls: Tensor, patches: Tensor) -> Tensor:
        grouped = group(patches, self.grouping)
        if self.grouping.cls == "absent":
            return grouped
        return torch.cat([self._copies(cls, grouped.shape[1]), grouped], dim=2)

    def scatter(self, tokens: Tensor, grid: Grid) -> tuple[Tensor | None, Tensor]:
        if self.grouping.cls == "absent":
            return None, ungroup(tokens, self.grouping, grid)
        return self._averaged(tokens[:, :, 0]), ungroup(tokens[:, :, 1:], self.grouping, grid)

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, grid: Grid, mix: Mix, frames: Tensor | None = None
    ) -> Tensor:
        assert frames is None  # the network takes marked frames with a global class token only
        if self.angles is not None:
            angles = self.angles(self.grouping, grid, q.shape[-1] // self.heads, q.device)
            q, k = turned((q, k), angles, self.heads)
        seen = None
        if self.grouping.is_masked(grid):
            seen = visible(self.grouping, grid, q.device).repeat(q.shape[0], 1, 1)[:, None]
        return by_head(q, self._keys(k, grid), self._keys(v, grid), self.heads, mix, seen)

    def attend_class(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid, mix: Mix) -> Tensor:
        k, v = self._keys(k, grid), self._keys(v, grid)
        mixed = by_head(self._copies(q, k.shape[1]), k, v, self.heads, mix)
        return self._averaged(mixed[:, :, 0])

    def _copies(self, cls: Tensor, groups: int) -> Tensor:
        """Class tokens `(b c d)` as the groups see them, one per group, `(b g 1 d)`."""
        if self.grouping.cls == "shared":
            cls = cls.expand(-1, groups, -1)
        return cls.unsqueeze(2)

    def _averaged(self, cls: Tensor) -> Tensor:
        """Class tokens of the groups `(b g d)` as the clip's, `(b c d)`: copies are averaged."""
        return cls.mean(dim=1, keepdim=True) if self.grouping.cls == "shared" else cls

    def _keys(self, tokens: Tensor, grid: Grid) -> Tensor:
        """The class token of each group and, of its patches, only those that are keys."""
        if self.grouping.stride == 1:
            return tokens
        lengths = self.grouping.lengths(grid)
        axes = [lengths[name] for name in self.grouping.members]
        classes = tokens.shape[2] - self.grouping.sizes(grid)[1]
        patches: Tensor = tokens[:, :, classes:].unflatten(2, axes)  # type: ignore[no-untyped-call]
        every = (slice(None),) * 2 + (slice(None, None, self.grouping.stride),) * len(axes)
        return torch.cat([tokens[:, :, :classes], patches[every].flatten(2, -2)], dim=2)


class GlobalClassRoute:
    """Tokens as `(b n d)`; the class token is a key in every group and itself sees every token.

    As in lucidrains' TimeSformer. `angles` turn the patches, not the class token.
    """

    def __init__(self, grouping: Grouping, heads: int, angles: Angles | None = None) -> None:
        self.grouping, self.heads, self.angles = grouping, heads, angles

    def gather(self, cls: Tensor, patches: Tensor) -> Tensor:
        return torch.cat([cls, patches.flatten(1, 3)], dim=1)

    def scatter(self, tokens: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        cls, patches = tokens.split_with_sizes([1, tokens.shape[1] - 1], dim=1)
        return cls, patches.unflatten(1, grid)  # type: ignore[no-untyped-call]

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, grid: Grid, mix: Mix, frames: Tensor | None = None
    ) -> Tensor:
        cls = self.attend_class(q[:, :1], k, v, grid, mix, frames)
        q, own_k, own_v = (group(self.scatter(part, grid)[1], self.grouping) for part in (q, k, v))
        if self.angles is not None:
            angles = self.angles(self.grouping, grid, q.shape[-1] // self.heads, q.device)
            q, own_k = turned((q, own_k), angles, self.heads)
        keys, values = (
            torch.cat([every[:, None, :1].expand(-1, q.shape[1], -1, -1), own], dim=2)
            for every, own in ((k, own_k), (v, own_v))
        )
        seen = None
        # A pass within frames is not masked, as in lucidrains': a frame always sees itself.
        if frames is not None and self.grouping.mixes_time:
            members = group(_of_patches(frames, grid), self.grouping).flatten(0, 1)
            seen = _and_class(members.squeeze(-1))
        patches = ungroup(by_head(q, keys, values, self.heads, mix, seen), self.grouping, grid)
        return torch.cat([cls, patches.flatten(1, 3)], dim=1)

    def attend_class(
        self, q: Tensor, k: Tensor, v: Tensor, grid: Grid, mix: Mix, frames: Tensor | None = None
    ) -> Tensor:
        seen = None if frames is None else _and_class(_of_patches(frames, grid).flatten(1))
        return by_head(q[:, None], k[:, None], v[:, None], self.heads, mix, seen)[:, 0]


class SharedHeadsRoute:
    """Tokens as `(b n d)`, without a class token; half of the heads have the second grouping."""

    def __init__(self, grouping: Grouping, heads: int, angles: Angles | None = None) -> None:
        self.grouping, self.heads = grouping, heads
        self.routes = [GroupRoute(part, share, angles) for part, share in grouping.shares(heads)]

    def gather(self, cls: Tensor, patches: Tensor) -> Tensor:
        return patches.flatten(1, 3)

    def scatter(self, tokens: Tensor, grid: Grid) -> tuple[None, Tensor]:
        return None, tokens.unflatten(1, grid)  # type: ignore[no-untyped-call]

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, grid: Grid, mix: Mix, frames: Tensor | None = None
    ) -> Tensor:
        mixed = []
        widths = [route.heads * q.shape[-1] // self.heads for route in self.routes]
        shares = zip(*(torch.split(part, widths, dim=-1) for part in (q, k, v)), strict=True)
        for route, share in zip(self.routes, shares, strict=True):
            q, k, v = (group(self.scatter(part, grid)[1], route.grouping) for part in share)
            tokens = route.attend(q, k, v, grid, mix, frames)
            mixed.append(ungroup(tokens, route.grouping, grid).flatten(1, 3))
        return torch.cat(mixed, dim=-1)


def route_of(grouping: Grouping, heads: int, angles: Angles | None = None) -> Route:
    """Choose the routing class for a grouping."""
    if grouping.second_grouping is not None:
        return SharedHeadsRoute(grouping, heads, angles)
    if grouping.cls == "global":
        return GlobalClassRoute(grouping, heads, angles)
    return GroupRoute(grouping, heads, angles)


def by_head(
    q: Tensor, k: Tensor, v: Tensor, heads: int, mix: Mix, seen: Tensor | None = None
) -> Tensor:
    """Softmax attention in each group: queries, keys and values `(b g m d)` to `(b g m d)`."""
    # Groups join the batch, because the fused kernels take exactly four axes.
    groups = q.shape[1]
    split = "b g m (heads k) -> (b g) heads m k"
    q, k, v = (rearrange(part, split, heads=heads) for part in (q, k, v))
    return rearrange(mix(q, k, v, seen), "(b g) heads m k -> b g m (heads k)", g=groups)


def _of_patches(frames: Tensor, grid: Grid) -> Tensor:
    """A mask of frames `(b t)` as a mask of patches `(b t h w 1)`."""
    return rearrange(frames, "b t -> b t 1 1 1").expand(-1, *grid, -1)


def _and_class(keys: Tensor) -> Tensor:
    """A mask of keys `(n m)`, with the class token in front, for all heads and queries."""
    return F.pad(keys, (1, 0), value=True)[:, None, None]
