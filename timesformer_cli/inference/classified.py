"""What is said of a video: its labels and how sure the model is, or why it could not be read."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.inference.little_seen import little_seen
from timesformer_cli.inference.several_labels import said_labels
from timesformer_cli.results import IF_ANY, when
from timesformer_cli.video import VideoPath

if TYPE_CHECKING:
    from timesformer_cli.inference.batching import Scored, Scorer
    from timesformer_cli.inference.classify import ClassifyOptions
    from timesformer_cli.video.facts import Pixels


@dataclass(frozen=True, slots=True)
class ClassifiedView:
    """One clip seen through one crop, as `video.View` has it, and what it alone shows."""

    start: float
    end: float
    crop: str
    times: tuple[float, ...]
    # Best first; none where this is the only view.
    predictions: tuple[Prediction, ...] = field(default=(), metadata=IF_ANY)


@dataclass(frozen=True, slots=True)
class Seconds:
    """Time spent on one video."""

    decode: float
    model: float  # the video's share of its batches


@dataclass(frozen=True, slots=True)
class Classified:
    """A video that was read and scored."""

    video: str
    status: Literal["ok"]
    predictions: tuple[Prediction, ...]  # best first
    model: str
    device: str
    dtype: str
    decoder: str  # the one that read the video
    views: tuple[ClassifiedView, ...]
    seconds: Seconds
    multi_label: bool = False  # whether the video may have several labels: scores are sigmoids
    # Of several, those that reach their thresholds, best first.
    labels: tuple[str, ...] = field(default=(), metadata=when("multi_label"))
    warnings: tuple[str, ...] = field(default=(), metadata=IF_ANY)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a video could not be read."""

    kind: ErrorKind  # for programs
    message: str  # a sentence, for people


@dataclass(frozen=True, slots=True)
class Failed:
    """A video that could not be read; the other videos are not affected."""

    video: str
    status: Literal["error"]
    error: Fault


Result = Classified | Failed
# seen(result, pixels): each result, and the pixels of its views, `(views t h w 3)`; None without any.
SeenCallback = Callable[[Result, "Pixels | None"], None]


def failed(path: str, error: VideoError) -> Failed:
    """The result of a video that could not be read."""
    return Failed(path, "error", Fault(error.kind, str(error)))


def classified_of(
    video: VideoPath, outcome: "Scored", scorer: "Scorer | None", options: "ClassifyOptions"
) -> Result:
    """What is said of a video once it was scored, or could not be read."""
    if isinstance(outcome, VideoError):
        return failed(video.path, outcome)
    decoded, outputs = outcome
    assert scorer is not None and outputs.view_scores is not None
    choice, several = scorer.choice, len(decoded.views) > 1
    views = (
        ClassifiedView(
            start=view.start,
            end=view.end,
            crop=view.crop,
            times=view.times,
            predictions=choice.predictions(scores, options.top_k) if several else (),
        )
        for view, scores in zip(decoded.views, outputs.view_scores, strict=True)
    )
    return Classified(
        video=video.path,
        status="ok",
        predictions=choice.predictions(outputs.scores, options.top_k),
        model=options.name,
        device=scorer.device,
        dtype=scorer.dtype,
        decoder=decoded.decoder,
        views=tuple(views),
        multi_label=scorer.description.config.multi_label,
        labels=said_labels(outputs.scores, scorer.description, choice, options.threshold),
        seconds=Seconds(decode=round(decoded.seconds, 4), model=round(outputs.seconds, 4)),
        warnings=decoded.warnings + little_seen(decoded),
    )
