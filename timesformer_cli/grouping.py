"""Which patches see one another, as einops sentences over the patch grid."""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import Literal

from timesformer_cli.errors import UsageError

Grid = tuple[int, int, int]
ClassToken = Literal["absent", "shared", "own", "global"]
AXES = ("frames", "rows", "columns")
EVERYWHERE = 1 << 30  # a reach farther than any two patches are apart


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which patches see one another: tokens attend within the groups that a sentence makes."""

    sentence: str  # `grid -> (groups) (members)`, such as "t h w -> (t) (h w)"
    # How the class token takes part. absent: not at all. shared: every group has a copy, and the
    # copies' updates are averaged. own: every group has a class token of its own. global: it is a
    # key in every group, and as a query it sees every token once.
    cls: ClassToken = "shared"
    factors: tuple[tuple[str, int], ...] = ()  # lengths of the axes that the grid does not fix
    # Fill up a grid that the factors do not divide, at its end; a grid smaller than a factor is one
    # group along that axis.
    padded: bool = False
    shift: Grid = (0, 0, 0)  # patches by which the groups are moved along each axis
    # Rows and columns by which the groups move on from each frame to the next, around the edge.
    diagonal: tuple[int, int] = (0, 0)
    # Members farther apart than this do not see each other. It parts members from two edges of the
    # grid that a shift brings into one group; a short reach also narrows what is seen in a group.
    reach: Grid = (EVERYWHERE, EVERYWHERE, EVERYWHERE)
    stride: int = 1  # along each axis, one of so many members is a key
    second_grouping: "Grouping | None" = None  # of the second half of the heads

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
        """Names of the axes within a group."""
        return tuple(parse_sentence(self.sentence)[1][1])

    @property
    def parts(self) -> "tuple[Grouping, ...]":
        """The groupings among which the heads are shared out: this one, or two."""
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
        """Length of every axis that is named; raises UsageError for a grid that does not divide."""
        lengths = dict(self.factors)
        for axis, size, names in zip(AXES, grid, parse_sentence(self.sentence)[0], strict=True):
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
        """The grid with its padding."""
        lengths = self.lengths(grid)
        t, h, w = (
            prod([lengths[name] for name in names]) for names in parse_sentence(self.sentence)[0]
        )
        return t, h, w

    def moved(self, grid: Grid) -> Grid:
        """How far the groups are shifted; 0 along an axis that a single group spans."""
        lengths = self.lengths(grid)
        spanned = [
            all(lengths[name] == 1 for name in names if name not in dict(self.factors))
            for names in parse_sentence(self.sentence)[0]
        ]
        t, h, w = (0 if whole else by for whole, by in zip(spanned, self.shift, strict=True))
        return t, h, w

    def sizes(self, grid: Grid) -> tuple[int, int]:
        """How many groups there are, and how many patches each holds; class tokens do not count."""
        lengths = self.lengths(grid)
        groups, members = parse_sentence(self.sentence)[1]
        return prod([lengths[name] for name in groups]), prod([lengths[name] for name in members])

    def keys(self, grid: Grid) -> int:
        """How many patches of a group are keys."""
        lengths = self.lengths(grid)
        return prod([-(-lengths[name] // self.stride) for name in self.members])

    def seen(self, grid: Grid) -> int:
        """The most patches of its group that any patch sees."""
        lengths, (axes, (_, members)) = self.lengths(grid), parse_sentence(self.sentence)
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
        grid = parse_sentence(self.sentence)[0]
        return any(name in part.members for part in self.parts for name in grid[0])


@lru_cache
def parse_sentence(sentence: str) -> tuple[list[list[str]], list[list[str]]]:
    """Names of the axes: of each axis of the grid, then of the groups and of the members."""
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
