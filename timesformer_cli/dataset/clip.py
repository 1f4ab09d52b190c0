"""One labelled clip: a video, or a part of one, and its class."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

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
    # Of a video in a tar file: that file, then the values of its `TarPart`; the path is its name.
    member: tuple[str, int, int, int] | None = None
    # File and line that list it; None for what lies in a class folder.
    where: str | None = field(default=None, compare=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "LabelledClip":
        """The inverse of `asdict`, also from JSON, whose lists were tuples."""
        tuples = {name: tuple(each) for name, each in values.items() if isinstance(each, list)}
        return cls(**{**values, **tuples})

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes of the clip: one, but where clips may have several."""
        return (self.label,) if self.labels is None else self.labels

    @property
    def anchored(self) -> "LabelledClip":
        """The same with a path that holds wherever a program is started."""
        member = self.member and (os.path.abspath(self.member[0]), *self.member[1:])
        return replace(self, path=os.path.abspath(self.path), member=member)

    @property
    def file(self) -> str:
        """The path of what lies on the disk: the video, or the tar file that it is in."""
        return self.path if self.member is None else self.member[0]

    @property
    def is_part(self) -> bool:
        """Whether the clip is a part of its video."""
        return self.start > 0 or self.end is not None

    @property
    def video(self) -> VideoPath:
        """What to decode."""
        return VideoPath(
            self.path, fps=self.fps, start=self.start, end=self.end, member=self.member
        )

    @property
    def name(self) -> str:
        """What to call it: its path, and its part where it is one."""
        return self.path + named_part(self.start, self.end)


def named_part(start: float, end: float | None) -> str:
    """` (3.5 to 8 s)` behind the path of a video of which a part is meant; else empty."""
    if end is None:
        return f" (from {start:g} s)" if start else ""
    return f" ({start:g} to {end:g} s)"
