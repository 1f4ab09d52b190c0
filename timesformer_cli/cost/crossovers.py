"""Where one attention scheme overtakes another as clips grow longer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from timesformer_cli import cost
from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import UsageError
from timesformer_cli.results import written
from timesformer_cli.typed.schemes import scheme_label

MOST = 256  # frames; the longest clip looked at


@dataclass(frozen=True, kw_only=True, slots=True)
class Crossover:
    """Two schemes and the clip length at which they change places."""

    below: str  # takes fewer multiply-adds per view in clips of fewer frames
    above: str  # takes more of them there
    frames: int | None  # None means that `below` takes fewer at every length that was looked at
    image_size: int  # height and width in pixels
    size: str  # one of SIZES

    @property
    @written
    def text(self) -> str:
        """The sentence under the table."""
        where = f"at {self.image_size} px ({self.size})"
        less = f"{scheme_label(self.below)} costs less than {scheme_label(self.above)}"
        if self.frames is None:
            return f"{less} at any length to {MOST} frames {where}"
        return f"{less} below {self.frames} frames {where}"


def crossovers(schemes: Iterable[str], size: str, image_size: int) -> list[Crossover]:
    """All clip lengths at which two of the schemes change places.

    Where there are only two schemes and they never change places, one row says which costs less.
    """
    costs = {name: costs_by_frames(name, size, image_size) for name in schemes}
    rows = []
    for first, second in combinations(costs, 2):
        changes: list[tuple[int | None, bool]] = [*_changes(costs[first], costs[second])]
        if len(costs) == 2 and not changes and costs[first].keys() & costs[second].keys():
            shared = min(costs[first].keys() & costs[second].keys())
            changes = [(None, costs[first][shared] < costs[second][shared])]
        for frames, first_before in changes:
            below, above = (first, second) if first_before else (second, first)
            rows.append(
                Crossover(below=below, above=above, frames=frames, image_size=image_size, size=size)
            )
    return rows


@cache  # a page of schemes asks for each one's against every other's
def costs_by_frames(name: str, size: str, image_size: int) -> Mapping[int, int]:
    """Multiply-adds per view, for each frame count that the scheme's groups divide."""
    costs = {}
    shape = {"attention": name, "height": image_size, "width": image_size}
    for frames in range(1, MOST + 1):
        try:
            costs[frames] = cost.macs(ModelConfig.of_size(size, frames=frames, **shape)).total
        except UsageError:
            continue
    return costs


def _changes(first: Mapping[int, int], second: Mapping[int, int]) -> Iterable[tuple[int, bool]]:
    """Yield the frame counts at which the order changes, and whether `first` cost less before."""
    before = 0
    for frames in sorted(first.keys() & second.keys()):
        now = first[frames] - second[frames]
        if now * before < 0:
            yield frames, before < 0
        before = now or before
