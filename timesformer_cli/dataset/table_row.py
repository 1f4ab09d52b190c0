"""What a table, a list or an annotation says of one clip."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    """What a row says of a clip, as it is written there."""

    where: str  # file and line
    path: str
    label: str
    split: str | None = None  # one of SPLITS
    group: str | None = None
    labels: tuple[str, ...] | None = None  # of clips that may have several; None is `label` alone
    complete: bool = True  # whether no other row may add labels to the same clip
    start: float = 0.0  # seconds; with `end` the part of the video that is the clip
    end: float | None = None  # None means the end of the video
    # Names without folder and suffix under which the video may lie anywhere below the source.
    names: tuple[str, ...] = ()
    cut: str | None = None  # such a name of a file that is this part alone, cut out already


def names_of_id(name: str, start: float, end: float | None) -> dict[str, Any]:
    """The fields that say where the video of an id may lie, and its part that is cut out already."""
    cut = None
    if end is not None and start == int(start) and end == int(end):
        cut = f"{name}_{int(start):06d}_{int(end):06d}"  # as Kinetics' downloaders call them
    return {"names": (name, f"v_{name}"), "cut": cut}
