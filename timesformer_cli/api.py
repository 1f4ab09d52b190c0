"""The Python interface: `load_model`, `classify`, `Classifier` and `timeline`."""

from __future__ import annotations  # `help` shows types by the names that they have here

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from timesformer_cli.callbacks import ignore_step
from timesformer_cli.errors import VideoError
from timesformer_cli.explain.options import MODEL_FREE, ExplainOptions
from timesformer_cli.explain.results import Explanation
from timesformer_cli.explain.run import Explainer, open_explained
from timesformer_cli.inference.batching import Scorer
from timesformer_cli.inference.classified import Result
from timesformer_cli.inference.classify import ClassifyOptions, WarmModel, with_outcomes
from timesformer_cli.inference.scorer import model_revision
from timesformer_cli.keywords import (
    ClassifyKeywords,
    ExplainKeywords,
    SegmentKeywords,
    TimelineKeywords,
    options_of,
    signed,
)
from timesformer_cli.library.embed import EmbedResult, clip_result, windows_result
from timesformer_cli.timelines.options import TimelineOptions
from timesformer_cli.timelines.results import TimelineResult
from timesformer_cli.timelines.run import Step, TimelineRun
from timesformer_cli.timelines.video_timeline import VideoTimeline
from timesformer_cli.video.given import GivenVideos, OneVideo
from timesformer_cli.video.stream import VideoFollower
from timesformer_cli.weights.catalogue import DEFAULT
from timesformer_cli.weights.hub.locate import as_located

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from timesformer_cli.inference.runnable import RunnableModel
    from timesformer_cli.model import TimeSformer

Path = str | os.PathLike[str]
Model: TypeAlias = "Path | TimeSformer | RunnableModel"  # in words: an exported file needs no torch
logger = logging.getLogger("timesformer_cli")
# What a classifier's timelines have from it.
KEPT = {field.name for field in fields(ClassifyOptions)} & {f.name for f in fields(TimelineOptions)}
KEPT -= {"model", "threshold"}


@overload
def load_model(
    name_or_path: Path = ..., *, device: str = ..., dtype: None = ...
) -> TimeSformer: ...
@overload
def load_model(name_or_path: Path = ..., *, device: str = ..., dtype: str) -> RunnableModel: ...
def load_model(
    name_or_path: Path = DEFAULT, *, device: str = "cpu", dtype: str | None = None
) -> TimeSformer | RunnableModel:
    """Load a model that maps normalised RGB clips, float `(b t c h w)`, to logits `(b classes)`.

    The arguments are those of the command: whatever `--model` names, and names of devices and
    dtypes. Without a dtype the answer is the model as published, in float32, ready to be trained.
    With a dtype (auto, float32, bfloat16, float16, int8) it is the model that the command runs: it
    is faster and also takes pixels, uint8 RGB `(b t h w c)`. An exported file needs a dtype. Either
    has `.config`, `.labels`, `.preprocessing` and `.sampling`. What had to be assumed is logged.
    Raises UsageError, WeightsError and DeviceError.
    """
    from timesformer_cli.inference.device import find_device
    from timesformer_cli.inference.open import open_model
    from timesformer_cli.weights.load import load_model

    located = as_located(os.fspath(name_or_path))
    model: TimeSformer | RunnableModel
    if dtype is None:
        place = find_device(device)
        model, notes = load_model(located)
        model.to(place)
    else:
        model, notes = open_model(located, device, dtype)
    for note in notes:
        logger.warning(note)
    return model


@signed(ClassifyKeywords, ClassifyOptions)
def classify(
    videos: OneVideo | Iterable[OneVideo],
    model: Model = DEFAULT,
    *,
    fps: float | None = None,
    **keywords: Unpack[ClassifyKeywords],
) -> Iterator[Result]:
    """Classify one video or several, and yield the results as they come.

    What is given is as for a `Classifier`, which this opens with the first result and closes with
    the last. Raises as that does.
    """
    with Classifier(model, **keywords) as classifier:
        yield from classifier(videos, fps=fps)


class Classifier:
    """A model and its decoders, ready for one call after another; a context manager.

    Several threads may call it: they share the decoders, and their views share the batches. A video
    is a path (a file, a folder, or a glob), the content of a file as bytes or as a file opened in
    binary mode, or an array of frames: uint8 RGB `(t h w c)`, NumPy's or a tensor, with `fps`, the
    frames a second. Folders of pictures need `fps`, too. Each item of a list has its own results, in
    order. A video that cannot be read becomes a result with the status "error".

        with Classifier("camera-motion") as classify:
            for result in classify("videos/"):
                print(result)
    """

    @signed(ClassifyKeywords, ClassifyOptions)
    def __init__(self, model: Model = DEFAULT, **keywords: Unpack[ClassifyKeywords]) -> None:
        """Open the model; raises UsageError, WeightsError and DeviceError."""
        self._stack: ExitStack | None = None
        options = options_of(ClassifyOptions, model, keywords)
        self.options = replace(options, model=_located(model))
        self._followers: list[VideoFollower] = []  # that nobody uses
        self._explaining = threading.Lock()
        self._networks: dict[str | None, tuple[TimeSformer | None, Scorer]] = {}  # by scheme
        with ExitStack() as stack:
            self._warm = stack.enter_context(
                WarmModel(self.options, logger.warning, early=1, shared=True)
            )
            self._stack = stack.pop_all()
        scorer = self._warm.scorer
        logger.info("%s is open on %s in %s", self.options.name, scorer.device, scorer.dtype)

    def __call__(
        self, videos: OneVideo | Iterable[OneVideo], *, fps: float | None = None
    ) -> Iterator[Result]:
        """The labels of each video, as they come."""
        with GivenVideos(videos, fps) as given:
            yield from map(given.named, self._warm.classified(given))

    def features(self, video: OneVideo, *, fps: float | None = None) -> npt.NDArray[np.float32]:
        """What the model's head sees of one video, `(d)`: the mean over its views.

        Raises VideoError where it cannot be read, and UsageError for an exported model.
        """
        with GivenVideos([video], fps) as given:
            (outcome,) = self._warm.scored([given.only()], features=True)
        if isinstance(outcome, VideoError):
            raise outcome
        assert outcome.outputs.features is not None
        vector: npt.NDArray[np.float32] = outcome.outputs.features
        return vector

    def embed(
        self,
        videos: OneVideo | Iterable[OneVideo],
        *,
        fps: float | None = None,
        every: float | None = None,
        normalise: bool = False,
    ) -> Iterator[EmbedResult]:
        """A vector for each video, or for each of its windows, `every` seconds one.

        With `normalise` a vector's length is 1. Raises UsageError for an exported model.
        """
        own, revision = self.options, model_revision(self.options.model)
        with GivenVideos(videos, fps, on_disk=every is not None) as given:
            if every is None:
                scored = partial(self._warm.scored, features=True)
                for video, outcome in with_outcomes(given, scored):
                    made = clip_result(
                        video, outcome, self._warm.scorer, own, revision, normalise=normalise
                    )
                    yield given.named(made)
                return
            with self._following(self._timeline_options({"every": every}, features=True)) as run:
                for video in given:
                    yield given.named(windows_result(run, video, revision, normalise=normalise))

    @signed(SegmentKeywords, TimelineOptions)
    def timeline(
        self, video: OneVideo, *, fps: float | None = None, **keywords: Unpack[SegmentKeywords]
    ) -> VideoTimeline:
        """Follow one video, however long: windows while it is decoded, and its segments."""
        options = self._timeline_options(keywords, windows=True)
        return VideoTimeline(_followed(video, fps, partial(self._following, options)))

    @signed(ExplainKeywords, ExplainOptions)
    def explain(
        self,
        videos: OneVideo | Iterable[OneVideo],
        *,
        fps: float | None = None,
        **keywords: Unpack[ExplainKeywords],
    ) -> Iterator[Explanation]:
        """What the model looked at in a clip of each video, for one label.

        All methods but occlusion compute in float32 on the network as published, which the first of
        them loads. Raises UsageError where the model has none, or not what is asked for.
        """
        own = self.options
        device = own.device.split(",")[0]
        kept = {"frames": own.frames, "stride": own.stride, "batch_size": own.batch_size}
        options = options_of(ExplainOptions, own.model, keywords, device=device, **kept)
        explainer = Explainer(options, *self._open_explained(options))
        with GivenVideos(videos, fps) as given:
            for video, outcome in with_outcomes(given, self._warm.whole_pictures):
                with self._explaining:  # what the network does is recorded, for one at a time
                    made = explainer.result(video, outcome, ignore_step)
                yield given.named(made)

    def close(self) -> None:
        """End the decoders, and the processes of the model where it has some."""
        stack, self._stack = self._stack, None
        if stack is not None:
            stack.close()

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_stack", None) is not None:
            warnings.warn("a Classifier was not closed: use `with`", ResourceWarning, stacklevel=2)
            self.close()

    def _timeline_options(self, keywords: Mapping[str, Any], **more: Any) -> TimelineOptions:
        kept = {name: getattr(self.options, name) for name in KEPT}
        return options_of(TimelineOptions, self.options.model, keywords, **kept, **more)

    @contextmanager
    def _following(self, options: TimelineOptions) -> Iterator[TimelineRun]:
        """A run on the open model, with a decoder that nobody else uses."""
        if self._stack is None:
            raise RuntimeError("the classifier is closed")
        try:
            follower = self._followers.pop()
        except IndexError:
            follower = VideoFollower(options.timeout, debug=options.debug)
            self._stack.callback(follower.close)
        scorer = self._warm.scorer
        try:
            with TimelineRun(options, logger.warning, scorer=scorer, follower=follower) as run:
                yield run
        finally:
            self._followers.append(follower)

    def _open_explained(self, options: ExplainOptions) -> tuple[TimeSformer | None, Scorer]:
        scheme = options.attention
        if options.method == MODEL_FREE and scheme is None:
            return None, self._warm.scorer
        with self._explaining:
            if scheme not in self._networks:
                assert self._stack is not None
                self._networks[scheme] = open_explained(options, logger.warning, self._stack)
            return self._networks[scheme]


@signed(TimelineKeywords, TimelineOptions)
def timeline(
    video: OneVideo,
    model: Model = DEFAULT,
    *,
    fps: float | None = None,
    **keywords: Unpack[TimelineKeywords],
) -> VideoTimeline:
    """Follow one video, however long, from `start` to `end` in seconds.

    The answer yields windows, `every` seconds one, while the video is decoded, and has `.segments()`
    and `.result()`. A video is what a `Classifier` takes. Raises UsageError, WeightsError and
    DeviceError, those of the model once the first window is asked for.
    """
    options = options_of(TimelineOptions, _located(model), keywords, windows=True)
    return VideoTimeline(_followed(video, fps, partial(TimelineRun, options, logger.warning)))


def _followed(
    video: OneVideo, fps: float | None, opened: Callable[[], AbstractContextManager[TimelineRun]]
) -> Iterator[Step | TimelineResult]:
    with GivenVideos([video], fps, on_disk=True) as given, opened() as run:
        result = yield from run.timeline(given.only())
        yield given.named(result)


def _located(model: Model) -> Any:
    """What a name means; a model stays as it is."""
    return as_located(os.fspath(model)) if isinstance(model, str | os.PathLike) else model
