"""Requests to a decode worker and its answers: a JSON header, then raw pixels."""

from dataclasses import asdict, dataclass
from typing import Any

from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.video.facts import Pixels, Probe
from timesformer_cli.video.sample import Jitter


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeRequest:
    """One video to decode, and how to take clips from it."""

    path: str
    sampling: Sampling
    preprocessing: Preprocessing
    clips: int = 1
    crops: int = 1  # per clip: 1 (centre), 3 (along the long side) or 0 (the whole picture)
    decoder: str = "auto"  # or "decord", "av", "opencv"
    jitter: Jitter | None = None  # random place of a training clip; None takes the fixed places
    without: tuple[str, ...] = ()  # decoders that auto leaves out: this file brought them down
    fps: float | None = None  # the path is a folder of pictures, so many a second
    timeout: float = 60.0  # seconds, then the worker ends itself if its parent did not end it

    def to_header(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> "DecodeRequest":
        """The inverse of `to_header`; lists become tuples again, which JSON does not have."""
        preprocessing, jitter = header["preprocessing"], header["jitter"]
        for name in ("resize", "crop", "mean", "std"):
            if isinstance(preprocessing[name], list):
                preprocessing[name] = tuple(preprocessing[name])
        made = {
            "sampling": Sampling(**header["sampling"]),
            "preprocessing": Preprocessing(**preprocessing),
            "jitter": jitter and Jitter(**jitter),
            "without": tuple(header["without"]),
        }
        return cls(**header | made)


@dataclass(frozen=True, slots=True)
class View:
    """One clip seen through one crop; all times are seconds from the start of the video."""

    start: float
    end: float
    crop: str  # "center", "left", "right", "top", "bottom" or "whole"
    times: tuple[float, ...]  # the moment that was asked for, one per frame


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """The decoded clips of one video."""

    frames: Pixels  # RGB, (views, frames, height, width, 3); the crops of one clip lie together
    views: tuple[View, ...]  # one per row of `frames`
    decoder: str  # the one that read the file
    warnings: tuple[str, ...]
    seconds: float  # that decoding took
    probe: Probe

    def to_header(self) -> dict[str, Any]:
        """Everything but the pixels, ready for JSON."""
        return {
            "shape": self.frames.shape,
            "views": [asdict(view) for view in self.views],
            "decoder": self.decoder,
            "warnings": self.warnings,
            "seconds": self.seconds,
            "probe": asdict(self.probe),
        }

    @classmethod
    def from_header(cls, header: dict[str, Any], frames: Pixels) -> "Decoded":
        """The inverse of `to_header`, with the pixels that followed the header."""
        return cls(
            frames=frames.reshape(header["shape"]),
            views=tuple(
                View(**{**view, "times": tuple(view["times"])}) for view in header["views"]
            ),
            decoder=header["decoder"],
            warnings=tuple(header["warnings"]),
            seconds=header["seconds"],
            probe=Probe(**{**header["probe"], "notes": tuple(header["probe"]["notes"])}),
        )
