"""Every attention scheme, as einops sentences over the patch grid."""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import Literal

from timesformer_cli.errors import UsageError

Grid = tuple[int, int, int]
ClassToken = Literal["absent", "shared", "own"]
AXES = ("frames", "rows", "columns")


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which patches see one another: `grid -> (groups) (members)`, tokens attend within their group.

    `cls` says how the class token takes part: `absent` (not at all), `shared` (a copy in every
    group, their updates averaged) or `own` (each group has one of its own).
    `factors` gives the length of the axes that the grid alone does not fix.
    """

    sentence: str
    cls: ClassToken = "shared"
    factors: tuple[tuple[str, int], ...] = ()

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

    def lengths(self, grid: Grid) -> dict[str, int]:
        """Length of every axis the sentence names; raises UsageError where the grid does not divide."""
        lengths = dict(self.factors)
        for axis, size, names in zip(AXES, grid, _parse(self.sentence)[0], strict=True):
            (free,) = [name for name in names if name not in lengths]
            known = prod(lengths[name] for name in names if name != free)
            if size % known:
                raise UsageError(
                    f"'{self.sentence}' splits the {axis} of the patch grid by {known}, and {size} "
                    f"{axis} do not divide; the nearest that do are "
                    f"{max(known, size - size % known)} and {size - size % known + known}"
                )
            lengths[free] = size // known
        return lengths

    def sizes(self, grid: Grid) -> tuple[int, int]:
        """How many groups there are, and how many patches each holds (class token not counted)."""
        lengths = self.lengths(grid)
        groups, members = _parse(self.sentence)[1]
        return prod(lengths[name] for name in groups), prod(lengths[name] for name in members)

    @property
    def mixes_time(self) -> bool:
        """Whether patches of different frames meet in a group."""
        grid, (_, members) = _parse(self.sentence)
        return any(name in members for name in grid[0])


@dataclass(frozen=True, slots=True)
class Scheme:
    """The attention passes of one block, in order, each with weights of its own."""

    passes: tuple[Grouping, ...]
    summary: str

    @property
    def sees_time(self) -> bool:
        """Whether frames meet at all; a scheme that does not has no temporal positions."""
        return any(grouping.mixes_time for grouping in self.passes)

    @property
    def cls_per_frame(self) -> bool:
        """Whether each frame keeps a class token of its own, averaged before the head."""
        return any(grouping.cls == "own" for grouping in self.passes)

    def check(self, grid: Grid) -> None:
        """Raise UsageError where the grid (frames, rows, columns of patches) does not divide."""
        for grouping in self.passes:
            grouping.lengths(grid)


# The outer factor of a split names the group in LOCAL (neighbours stay together), the inner one in
# STRIDED (every second patch): the same split, read from its two ends.
JOINT = Grouping("t h w -> () (t h w)")
SPACE = Grouping("t h w -> (t) (h w)")
TIME = Grouping("t h w -> (h w) (t)", cls="absent")
WIDTH = Grouping("t h w -> (t h) (w)")
HEIGHT = Grouping("t h w -> (t w) (h)")
LOCAL = Grouping("t (i h) (j w) -> (i j) (t h w)", factors=(("i", 2), ("j", 2)))
STRIDED = Grouping("(t s) (h i) (w j) -> (s i j) (t h w)", factors=(("s", 2), ("i", 2), ("j", 2)))

# Order and definitions: arXiv 2102.05095, section 3 and figure 1.
SCHEMES: dict[str, Scheme] = {
    "space": Scheme((replace(SPACE, cls="own"),), "each frame alone, averaged at the end"),
    "joint": Scheme((JOINT,), "every patch sees every patch of the clip"),
    "divided": Scheme((TIME, SPACE), "the same place in all frames, then the frame"),
    "sparse": Scheme((LOCAL, STRIDED), "a quarter of the picture, then every second patch"),
    "axial": Scheme((TIME, WIDTH, HEIGHT), "along time, then width, then height"),
}


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
