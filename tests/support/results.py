"""Results as the commands give them, made by hand: for tests of what shows them."""

from timesformer_cli.inference.classified import Classified, ClassifiedView, Failed, Fault, Seconds
from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.timelines.results import Segment, Timeline
from timesformer_cli.video.windows import Shot


def classified(
    video: str, *scores: tuple[str, float], start: float = 0.0, end: float = 1.75
) -> Classified:
    """A video with these labels, best first, that was seen in 8 frames."""
    times = tuple(start + (end - start) * number / 7 for number in range(8))
    return Classified(
        video=video,
        status="ok",
        predictions=tuple(Prediction(label, at, score) for at, (label, score) in enumerate(scores)),
        model="model",
        device="cpu",
        dtype="float32",
        decoder="av",
        views=(ClassifiedView(start, end, "center", times),),
        seconds=Seconds(0.1, 0.2),
    )


def not_read(video: str, kind: str = "cannot_decode", message: str = "is no video") -> Failed:
    """A video that could not be read."""
    return Failed(video, "error", Fault(kind, message))


def timeline_of(video: str, *segments: tuple[float, float, str, float]) -> Timeline:
    """A timeline of one shot with these segments: start, end, label, score."""
    return Timeline(
        video=video,
        status="ok",
        model="model",
        device="cpu",
        dtype="float32",
        decoder="av",
        fps=30.0,
        span=1.0,
        every=0.5,
        duration=segments[-1][1],
        shots=(Shot(0.0, segments[-1][1]),),
        segments=tuple(
            Segment(start, end, label, number, score, score, None, 2, 0)
            for number, (start, end, label, score) in enumerate(segments)
        ),
    )
