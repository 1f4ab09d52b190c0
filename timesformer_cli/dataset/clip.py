"""One labelled clip: a video, or a part of one, and its class."""

import os
from dataclasses import dataclass, field, replace

from timesformer_cli.video import VideoPath


@dataclass(frozen=True, slots=True)
class LabelledClip:
    """One clip and its class, or its classes where clips may have several."""

    path: str
    label: str  # several stand as in a table, parted by bars
    split: str | None = None  # train, val or test; None means that the source does not say
    group: str | None = None  # clips of one group, such as takes of one scene, stay in one split
    labels: tuple[str, ...] | None = None  # where clips may have several, or none
    start: float = 0.0  # seconds; with `end` the part of the video that is the clip
    end: float | None = None  # None means the end of the video
    fps: float | None = None  # the path is a folder of pictures, so many of them a second
    # File and line that list it; None for what lies in a class folder.
    where: str | None = field(default=None, compare=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes of the clip: one, but where clips may have several."""
        return (self.label,) if self.labels is None else self.labels

    @property
    def anchored(self) -> "LabelledClip":
        """The same with a path that holds wherever a program is started."""
        return replace(self, path=os.path.abspath(self.path))

    @property
    def is_part(self) -> bool:
        """Whether the clip is a part of its video."""
        return self.start > 0 or self.end is not None

    @property
    def video(self) -> VideoPath:
        """What to decode."""
        return VideoPath(self.path, fps=self.fps, start=self.start, end=self.end)

    @property
    def name(self) -> str:
        """What to call it: its path, and its part where it is one."""
        return self.path + named_part(self.start, self.end)


def named_part(start: float, end: float | None) -> str:
    """` (3.5 to 8 s)` behind the path of a video of which a part is meant; else empty."""
    if end is None:
        return f" (from {start:g} s)" if start else ""
    return f" ({start:g} to {end:g} s)"
