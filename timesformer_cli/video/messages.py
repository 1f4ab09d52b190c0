"""Requests to a decode worker and its answers: a JSON header, then raw pixels."""

from dataclasses import asdict, dataclass
from math import inf
from typing import Any

from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.video.facts import Pixels, Probe
from timesformer_cli.video.sample import Jitter
from timesformer_cli.video.tar_members import TarPart
from timesformer_cli.video.windows import WindowPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeRequest:
    """One video to decode, and how to take clips from it."""

    path: str
    sampling: Sampling
    preprocessing: Preprocessing
    clips: int = 1
    crops: int = 1  # per clip: 1 (centre), 3 (along the long side) or 0 (the whole picture)
    decoder: str = "auto"  # or "decord", "av", "opencv", "torchcodec"
    start: float = 0.0  # seconds; the clips lie between this
    end: float | None = None  # and this; None means the end of the video
    jitter: Jitter | None = None  # random place of a training clip; None takes the fixed places
    without: tuple[str, ...] = ()  # decoders that auto leaves out: this file brought them down
    fps: float | None = None  # the path is a folder of pictures, so many a second
    timeout: float = 60.0  # seconds, then the worker ends itself if its parent did not end it
    every: bool = False  # whether all pictures are wanted from which such a clip may be taken
    part: TarPart | None = None  # the path is a tar file, and the video this member of it

    def to_header(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> "DecodeRequest":
        """The inverse of `to_header`; lists become tuples again, which JSON does not have."""
        jitter, part = header["jitter"], header["part"]
        made = {
            "sampling": Sampling(**header["sampling"]),
            "preprocessing": preprocessing_of_header(header["preprocessing"]),
            "jitter": jitter and Jitter(**jitter),
            "part": part and TarPart(*part),
            "without": tuple(header["without"]),
        }
        return cls(**header | made)


def preprocessing_of_header(values: dict[str, Any]) -> Preprocessing:
    """From JSON, whose lists were tuples."""
    tuples = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return Preprocessing(**values | tuples)


@dataclass(frozen=True, slots=True)
class View:
    """One clip seen through one crop; all times are seconds from the start of the video."""

    start: float
    end: float
    crop: str  # "center", "left", "right", "top", "bottom", "whole"; "every" of all pictures
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


@dataclass(frozen=True, kw_only=True, slots=True)
class FollowRequest:
    """One video to decode forwards, and which windows to make of it."""

    path: str
    plan: WindowPlan
    preprocessing: Preprocessing
    decoder: str = "auto"
    without: tuple[str, ...] = ()  # decoders that auto leaves out: this file brought them down
    fps: float | None = None  # the path is a folder of pictures, so many a second
    timeout: float = 60.0  # seconds without a sign of life, then the worker ends itself

    def to_header(self) -> dict[str, Any]:
        """All fields, ready for JSON, which has no infinity."""
        values = asdict(self)
        values["plan"]["end"] = None if self.plan.end == inf else self.plan.end
        return values | {"follow": True}

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> "FollowRequest":
        """The inverse of `to_header`."""
        plan = header["plan"]
        plan["sampling"] = Sampling(**plan["sampling"])
        plan["end"] = inf if plan["end"] is None else plan["end"]
        made = {
            "plan": WindowPlan(**plan),
            "preprocessing": preprocessing_of_header(header["preprocessing"]),
            "without": tuple(header["without"]),
        }
        return cls(**{name: value for name, value in header.items() if name != "follow"} | made)


@dataclass(frozen=True, kw_only=True, slots=True)
class Followed:
    """What is known of a video once it was followed to its end."""

    decoder: str
    end: float  # seconds; where the video, or the plan, ended
    warnings: tuple[str, ...]
    fault: str  # why the video ended before its end; empty where it did not
