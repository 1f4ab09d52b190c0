"""Vectors for videos, or for their windows, in one pass each."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from timesformer_cli.callbacks import NoteCallback, ignore_note
from timesformer_cli.errors import VideoError
from timesformer_cli.files import regular_file
from timesformer_cli.inference.classified import Failed, failed
from timesformer_cli.inference.classify import ClassifyOptions, score_paths
from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.inference.scorer import model_revision
from timesformer_cli.results import IF_ANY, UNWRITTEN, array
from timesformer_cli.timelines.options import TimelineOptions
from timesformer_cli.video import VideoPath
from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.look import Look, look_of_clip

if TYPE_CHECKING:
    from timesformer_cli.inference.batching import Scored, ScoredVideo, Scorer
    from timesformer_cli.timelines.results import Timeline, TimelineResult
    from timesformer_cli.timelines.run import Step, TimelineRun

    Follow = Callable[[TimelineRun, Callable[[Step], None]], Iterator[TimelineResult]]

Vector = npt.NDArray[np.float32]
NONE_KNOWN: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedding:
    """One vector, and the part of a video that it stands for; times are seconds."""

    start: float
    end: float
    predictions: tuple[Prediction, ...]  # what the model says of the same part, best first
    # The input of the model's head, `(d)`; its length is 1 where asked for.
    vector: Vector = field(metadata=array(axes=1, digits=6))
    # How the pictures look, by which a library finds copies.
    look: Look | None = field(default=None, metadata=UNWRITTEN)


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded:
    """A video with its vectors."""

    video: str
    status: Literal["ok", "partial"]  # partial where the video ended in a fault
    content: str  # SHA-256 of the file's bytes, or of a folder's pictures
    model: str
    revision: str  # which weights: a commit of the hub, or the SHA-256 of their file
    device: str
    dtype: str
    decoder: str
    embeddings: tuple[Embedding, ...]
    warnings: tuple[str, ...] = field(default=(), metadata=IF_ANY)
    error: str = field(default="", metadata=IF_ANY)  # the fault


EmbedResult = Embedded | Failed


def embed_videos(
    videos: Iterable[VideoPath],
    options: ClassifyOptions,
    note: NoteCallback = ignore_note,
    *,
    normalise: bool = False,
    contents: Mapping[str, str] = NONE_KNOWN,
    revision: str | None = None,
) -> Iterator[EmbedResult]:
    """One vector for each video: the mean over its views; results come one by one, in order.

    With `normalise` a vector's length is 1. `contents` of files and the model's `revision` are not
    computed again where they are known. Raises as `classify_videos` does, and UsageError for an
    exported model, which gives scores only.
    """
    revision = model_revision(options.model) if revision is None else revision
    for video, outcome, scorer in score_paths(videos, options, note, features=True):
        content = contents.get(video.path)
        yield clip_result(
            video, outcome, scorer, options, revision, normalise=normalise, content=content
        )


def clip_result(
    video: VideoPath,
    outcome: "Scored",
    scorer: "Scorer | None",
    options: ClassifyOptions,
    revision: str,
    *,
    normalise: bool,
    content: str | None = None,
) -> EmbedResult:
    """The one vector of a video that was scored, with its features, or why there is none."""
    if isinstance(outcome, VideoError):
        return failed(video.path, outcome)
    assert scorer is not None
    content = content or content_of(video.path, video.frames)
    return clip_embedded(video.path, outcome, scorer, options, content, revision, normalise)


def clip_embedded(
    video: str,
    scored: "ScoredVideo",
    scorer: "Scorer",
    options: ClassifyOptions,
    content: str,
    revision: str,
    normalise: bool,
) -> Embedded:
    """The one vector of a video that was scored, with its features."""
    decoded, outputs = scored
    assert outputs.features is not None
    embedding = Embedding(
        start=min(view.start for view in decoded.views),
        end=max(view.end for view in decoded.views),
        predictions=scorer.choice.predictions(outputs.scores, options.top_k),
        vector=_prepared(outputs.features, normalise),
        look=look_of_clip(decoded.frames.reshape(-1, *decoded.frames.shape[2:])),
    )
    return Embedded(
        video=video,
        status="ok",
        content=content,
        model=options.name,
        revision=revision,
        device=scorer.device,
        dtype=scorer.dtype,
        decoder=decoded.decoder,
        embeddings=(embedding,),
        warnings=decoded.warnings,
    )


def embed_windows(
    options: TimelineOptions,
    follow: "Follow",
    note: NoteCallback = ignore_note,
    *,
    normalise: bool = False,
    contents: Mapping[str, str] = NONE_KNOWN,
    revision: str | None = None,
) -> Iterator[EmbedResult]:
    """A vector for each window of videos, as `tsf timeline` takes windows.

    `follow` gives the timelines of a run and tells of their steps on the way. Raises as
    `TimelineRun` does.
    """
    from timesformer_cli.timelines.run import TimelineRun

    revision = model_revision(options.model) if revision is None else revision
    steps: list[Step] = []
    with TimelineRun(replace(options, features=True), note) as run:
        for result in follow(run, steps.append):
            if isinstance(result, Failed):
                yield result
            else:
                content = contents.get(result.video) or content_of(result.video)
                yield windows_embedded(result, steps, content, revision, normalise)
            steps.clear()


def windows_result(
    run: "TimelineRun", video: VideoPath, revision: str, *, normalise: bool
) -> EmbedResult:
    """The vectors of one video's windows, on a run that takes features."""
    from timesformer_cli.timelines.run import ended

    steps: list[Step] = []
    result = ended(run.timeline(video), steps.append)
    if isinstance(result, Failed):
        return result
    return windows_embedded(result, steps, content_of(video.path), revision, normalise)


def windows_embedded(
    timeline: "Timeline", steps: "Iterable[Step]", content: str, revision: str, normalise: bool
) -> Embedded:
    """The vectors of a video's windows, from the steps that its timeline was made of."""
    return Embedded(
        video=timeline.video,
        status=timeline.status,
        content=content,
        model=timeline.model,
        revision=revision,
        device=timeline.device,
        dtype=timeline.dtype,
        decoder=timeline.decoder,
        embeddings=tuple(_of_steps(steps, normalise)),
        warnings=timeline.warnings,
        error=timeline.error,
    )


def _of_steps(steps: "Iterable[Step]", normalise: bool) -> Iterator[Embedding]:
    for step in steps:
        if step.features is None or step.looks is None:
            continue
        for window, vector, look in zip(step.scored, step.features, step.looks, strict=True):
            yield Embedding(
                start=window.start,
                end=window.end,
                predictions=window.predictions,
                vector=_prepared(vector, normalise),
                look=look,
            )


def _prepared(vector: Vector, normalise: bool) -> Vector:
    length = float(np.linalg.norm(vector)) if normalise else 0.0
    return vector / length if length else vector


def content_of(path: str, frames: Pixels | None = None) -> str:
    """The SHA-256 of a file, or of the names and contents of a folder's files; raises OSError.

    Two copies of a video have the same, wherever they lie. Frames in memory have that of their bytes.
    """
    if frames is not None:
        return hashlib.sha256(frames.tobytes()).hexdigest()
    taken = hashlib.sha256()
    place = Path(path)
    if not place.is_dir():
        with regular_file(place) as (file, _):
            return hashlib.file_digest(file, "sha256").hexdigest()
    for inner in sorted(file for file in place.iterdir() if file.is_file()):
        with regular_file(inner) as (file, _):
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        taken.update(f"{inner.name}\0{digest}\n".encode("utf-8", "surrogateescape"))
    return taken.hexdigest()
