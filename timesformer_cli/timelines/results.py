"""What `tsf timeline` says of a video."""

from dataclasses import dataclass, field
from typing import Any, Literal

from timesformer_cli.inference.classified import Failed
from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.results import IF_ANY
from timesformer_cli.video.windows import Shot


@dataclass(frozen=True, slots=True)
class ScoredWindow:
    """One clip of the video and what the model says of it; times are seconds."""

    start: float
    end: float
    shot: int  # the number of its shot, from 0
    predictions: tuple[Prediction, ...]  # best first


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one shot that has one label; times are seconds."""

    start: float
    end: float
    label: str
    index: int  # of the label among the model's classes
    score: float  # of the label, averaged over the segment's windows
    peak: float  # the best of its scores
    runner_up: Prediction | None  # the second label, averaged over the same windows
    windows: int
    shot: int
    # Of the label, averaged; None where no labels were given.
    similarity: float | None = field(default=None, metadata=IF_ANY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """A video that was followed to its end, or to a fault in it."""

    video: str
    status: Literal["ok", "partial"]  # partial where the video ended in a fault
    model: str
    device: str
    dtype: str
    decoder: str
    fps: float  # frames a second, as the file says
    span: float  # seconds of one window
    every: float  # seconds between the starts of two windows
    duration: float  # seconds that were looked at, to the end of the last shot
    shots: tuple[Shot, ...]
    segments: tuple[Segment, ...]  # in order; where there is none, no label reached the threshold
    # Only where asked for.
    windows: tuple[ScoredWindow, ...] = field(default=(), metadata=IF_ANY)
    warnings: tuple[str, ...] = field(default=(), metadata=IF_ANY)
    error: str = field(default="", metadata=IF_ANY)  # the fault

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Timeline":
        """The inverse of `results.to_plain`."""
        made: dict[str, Any] = {
            "shots": tuple(Shot(**shot) for shot in values["shots"]),
            "segments": tuple(_segment(segment) for segment in values["segments"]),
            "windows": tuple(_window(window) for window in values.get("windows", ())),
            "warnings": tuple(values.get("warnings", ())),
        }
        return cls(**values | made)


def _segment(values: dict[str, Any]) -> Segment:
    second = values["runner_up"]
    return Segment(**values | {"runner_up": second and Prediction(**second)})


def _window(values: dict[str, Any]) -> ScoredWindow:
    best = tuple(Prediction(**prediction) for prediction in values["predictions"])
    return ScoredWindow(**values | {"predictions": best})


TimelineResult = Timeline | Failed
