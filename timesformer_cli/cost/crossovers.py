"""Where one attention scheme overtakes another as clips grow longer."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations

from timesformer_cli import cost
from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import UsageError

MOST = 256  # frames; the longest clip looked at


@dataclass(frozen=True, kw_only=True, slots=True)
class Crossover:
    """Scheme `below` takes fewer multiply-adds a view than `above` in clips of fewer `frames`;
    with `frames` None, in all that were looked at.
    """

    below: str
    above: str
    frames: int | None
    image_size: int
    size: str

    def __str__(self) -> str:
        """The sentence under the table."""
        where = f"at {self.image_size} px ({self.size})"
        if self.frames is None:
            return (
                f"{self.below} costs less than {self.above} at any length to {MOST} frames {where}"
            )
        return f"{self.below} costs less than {self.above} below {self.frames} frames {where}"


def crossovers(schemes: Iterable[str], size: str, image_size: int) -> list[Crossover]:
    """Each change of places between two of the schemes; of two that never change, who is ahead,
    where these two are all there are.
    """
    costs = {name: costs_by_frames(name, size, image_size) for name in schemes}
    found = []
    for one, other in combinations(costs, 2):
        changes: list[tuple[int | None, bool]] = [*_changes(costs[one], costs[other])]
        if len(costs) == 2 and not changes:
            changes = [(None, costs[one][2] < costs[other][2])]
        for frames, one_before in changes:
            below, above = (one, other) if one_before else (other, one)
            found.append(
                Crossover(below=below, above=above, frames=frames, image_size=image_size, size=size)
            )
    return found


def costs_by_frames(name: str, size: str, image_size: int) -> dict[int, int]:
    """Multiply-adds of a view by its frames, where the scheme's groups divide them."""
    shape = ModelConfig.of_size(size, attention=name, height=image_size, width=image_size, frames=4)
    costs = {}
    for frames in range(1, MOST + 1):
        try:
            costs[frames] = cost.macs(replace(shape, frames=frames)).total
        except UsageError:
            continue
    return costs


def _changes(one: dict[int, int], other: dict[int, int]) -> Iterable[tuple[int, bool]]:
    """Frames from which the order is another, and whether `one` was the cheaper before."""
    before = 0
    for frames in sorted(one.keys() & other.keys()):
        now = one[frames] - other[frames]
        if now * before < 0:
            yield frames, before < 0
        before = now or before
