"""Which patches see one another, as einops sentences over the patch grid."""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import Literal

from timesformer_cli.errors import UsageError

Grid = tuple[int, int, int]
ClassToken = Literal["absent", "shared", "own", "global"]
AXES = ("frames", "rows", "columns")
EVERYWHERE = 1 << 30  # further than any two patches lie apart


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which patches see one another: `grid -> (groups) (members)`, tokens attend within their group.

    `cls` says how the class token takes part: `absent` (not at all), `shared` (a copy in every
    group, their updates averaged), `own` (each group has one of its own) or `global` (a key in
    every group; as a query it sees every token once).
    `factors` gives the length of the axes that the grid alone does not fix. Where `padded`, a grid
    that they do not divide is filled up at its end, and a grid smaller than they is one group;
    `shift` moves the groups along the axes before. Members further apart than `reach` do not see
    each other: neither across a shifted edge, nor, where it is short, within a group. Of every
    `stride` members along each axis one is a key. `second_grouping` is that of half of the heads.
    """

    sentence: str
    cls: ClassToken = "shared"
    factors: tuple[tuple[str, int], ...] = ()
    padded: bool = False
    shift: Grid = (0, 0, 0)
    reach: Grid = (EVERYWHERE, EVERYWHERE, EVERYWHERE)
    stride: int = 1
    second_grouping: "Grouping | None" = None

    @property
    def gather(self) -> str:
        """The sentence for a tensor: `b <grid> d -> b (groups) (members) d`."""
        grid, grouped = self.sentence.split("->")
        return f"b {grid.strip()} d -> b {grouped.strip()} d"

    @property
    def scatter(self) -> str:
        """The sentence read backwards: groups return to their place in the grid."""
        grid, grouped = self.sentence.split("->")
        return f"b {grouped.strip()} d -> b {grid.strip()} d"

    @property
    def members(self) -> tuple[str, ...]:
        """The axes within a group."""
        return tuple(_parse(self.sentence)[1][1])

    @property
    def parts(self) -> "tuple[Grouping, ...]":
        """The groupings that the heads are shared out among."""
        return (
            (self,)
            if self.second_grouping is None
            else (replace(self, second_grouping=None), self.second_grouping)
        )

    def shares(self, heads: int) -> "tuple[tuple[Grouping, int], ...]":
        """Each part with its number of heads; earlier parts take the remainder."""
        count = len(self.parts)
        return tuple(
            (part, heads // count + (number < heads % count))
            for number, part in enumerate(self.parts)
        )

    def lengths(self, grid: Grid) -> dict[str, int]:
        """Length of every axis the sentence names; raises UsageError where the grid does not divide."""
        lengths = dict(self.factors)
        for axis, size, names in zip(AXES, grid, _parse(self.sentence)[0], strict=True):
            (free,) = [name for name in names if name not in lengths]
            if self.padded:
                lengths |= {name: min(lengths[name], size) for name in names if name != free}
            known = prod([lengths[name] for name in names if name != free])
            if size % known and not self.padded:
                raise UsageError(
                    f"'{self.sentence}' splits the {axis} of the patch grid by {known}, and {size} "
                    f"{axis} do not divide; the nearest that do are "
                    f"{max(known, size - size % known)} and {size - size % known + known}"
                )
            lengths[free] = -(-size // known)
        return lengths

    def filled(self, grid: Grid) -> Grid:
        """The grid with what it is padded by."""
        lengths = self.lengths(grid)
        t, h, w = (prod([lengths[name] for name in names]) for names in _parse(self.sentence)[0])
        return t, h, w

    def moved(self, grid: Grid) -> Grid:
        """How far the groups are shifted: along no axis that one of them spans."""
        lengths = self.lengths(grid)
        spanned = [
            all(lengths[name] == 1 for name in names if name not in dict(self.factors))
            for names in _parse(self.sentence)[0]
        ]
        t, h, w = (0 if one else by for one, by in zip(spanned, self.shift, strict=True))
        return t, h, w

    def sizes(self, grid: Grid) -> tuple[int, int]:
        """How many groups there are, and how many patches each holds (class token not counted)."""
        lengths = self.lengths(grid)
        groups, members = _parse(self.sentence)[1]
        return prod([lengths[name] for name in groups]), prod([lengths[name] for name in members])

    def keys(self, grid: Grid) -> int:
        """How many patches of a group are keys."""
        lengths = self.lengths(grid)
        return prod([-(-lengths[name] // self.stride) for name in self.members])

    def seen(self, grid: Grid) -> int:
        """How many patches of its group a patch sees, where it sees most."""
        lengths, (axes, (_, members)) = self.lengths(grid), _parse(self.sentence)
        count = 1
        for name in members:
            (reach,) = [by for names, by in zip(axes, self.reach, strict=True) if name in names]
            count *= min(-(-lengths[name] // self.stride), 2 * reach + 1)
        return count

    def is_masked(self, grid: Grid) -> bool:
        """Whether some members of a group do not see each other."""
        return self.filled(grid) != tuple(grid) or any(
            reach < size - 1 for reach, size in zip(self.reach, grid, strict=True)
        )

    @property
    def mixes_time(self) -> bool:
        """Whether patches of different frames meet in a group."""
        grid = _parse(self.sentence)[0]
        return any(name in part.members for part in self.parts for name in grid[0])


@lru_cache
def _parse(sentence: str) -> tuple[list[list[str]], list[list[str]]]:
    grid, grouped = sentence.split("->")
    return _axes(grid), _axes(grouped)


def _axes(side: str) -> list[list[str]]:
    """`t (i h) ()` as `[[t], [i, h], []]`."""
    axes: list[list[str]] = []
    inside = False
    for word in side.replace("(", " ( ").replace(")", " ) ").split():
        if word == "(":
            axes.append([])
        elif inside:
            axes[-1] += [word] if word != ")" else []
        elif word != ")":
            axes.append([word])
        inside = word == "(" or (inside and word != ")")
    return axes
