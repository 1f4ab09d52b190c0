"""Timelines made by hand, for tests of what is written of them."""

from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.timelines.results import Segment, Timeline
from timesformer_cli.video.windows import Shot


def segment(start: float, end: float, label: str = "pan left", **changes: object) -> Segment:
    """A segment of the first shot."""
    values = {"index": 1, "score": 0.9567, "peak": 0.9593, "windows": 3, "shot": 0}
    values["runner_up"] = Prediction("zoom in", 5, 0.01)
    return Segment(start, end, label, **{**values, **changes})  # type: ignore[arg-type]


def timeline(*segments: Segment, end: float = 60.0, **changes: object) -> Timeline:
    """A timeline of one shot."""
    values = {"video": "film.mp4", "status": "ok", "model": "tiny", "device": "cpu"}
    values |= {"dtype": "float32", "decoder": "av", "fps": 25.0, "span": 2.1, "every": 1.05}
    values |= {"duration": end, "shots": (Shot(0.0, end),), "segments": segments}
    return Timeline(**{**values, **changes})  # type: ignore[arg-type]
