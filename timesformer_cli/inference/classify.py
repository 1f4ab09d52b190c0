"""Classify videos: which label each shows, and how sure the model is."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING, TypeVar

from timesformer_cli.callbacks import NoteCallback, ignore_note
from timesformer_cli.dataset.own_labels import OwnLabel
from timesformer_cli.errors import VideoError
from timesformer_cli.inference.classified import Result, SeenCallback, classified_of
from timesformer_cli.inference.process_tuning import let_threads_sleep
from timesformer_cli.inference.scorer import clips_for, early_clips, model_name, open_scorer
from timesformer_cli.inference.several_labels import require_several
from timesformer_cli.video import DecodePool, VideoPath
from timesformer_cli.video.find import PAUSE
from timesformer_cli.weights.catalogue import DEFAULT

if TYPE_CHECKING:
    from timesformer_cli.config import Preprocessing, Sampling
    from timesformer_cli.inference.batching import Scored, Scorer
    from timesformer_cli.inference.scorer import AnyModel
    from timesformer_cli.video import Decoded

Outcome = TypeVar("Outcome")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifyOptions:
    """The options of `tsf classify`."""

    model: "AnyModel" = DEFAULT
    labels: tuple[OwnLabel, ...] = ()  # what the answer may be; empty means all classes
    templates: tuple[str, ...] = ()  # that say a label of one's own words; empty means the model's
    none_below: float | None = None  # a label that is less similar is none
    top_k: int = 5  # labels per video, best first
    frames: int | None = None  # frames per clip; None means as the model was trained
    stride: int | None = None  # in frames of a 30-fps video; None means as the model was trained
    clips: int = 1  # moments per video; clips times crops are the views
    crops: int = 1  # 1 or 3 per clip
    multi_label: bool = False  # whether each class is scored by itself, whatever the model says
    threshold: float | None = None  # for all classes of such a model; None means its own
    device: str = "auto"  # several devices, separated by commas, get one process each
    dtype: str = "auto"
    compile: bool = False  # whether torch.compile compiles the model
    batch_size: int = 8  # views per run of the model
    workers: int | None = None  # decoder processes; None means one per processor
    timeout: float = 60.0  # seconds to decode one video
    decoder: str = "auto"
    debug: bool = False  # whether the messages of child processes reach stderr

    @property
    def name(self) -> str:
        """What the model is called in results."""
        return model_name(self.model)


# What was asked of the decoders before the model was open, and what they give.
Asked = tuple[
    "tuple[Sampling, Preprocessing, ClassifyOptions] | None", "Iterator[Decoded | VideoError]"
]
NOTHING_ASKED: Asked = (None, iter(()))
EARLY_BYTES = 64 << 20  # of pixels that are decoded while the model is opened


def classify_videos(
    videos: Iterable[VideoPath],
    options: ClassifyOptions,
    note: NoteCallback = ignore_note,
    seen: SeenCallback | None = None,
) -> Iterator[Result]:
    """Classify each video; results come one by one, in input order.

    `note` is called with whatever had to be assumed, `seen` with each result before it comes. Raises
    UsageError, WeightsError or DeviceError before the first result, and WeightsError wherever the
    model's answer is no number. A video that cannot be read becomes a `Failed`, never an exception.
    """
    for video, outcome, scorer in score_paths(videos, options, note):
        result = classified_of(video, outcome, scorer, options)
        if seen is not None:
            seen(result, None if isinstance(outcome, VideoError) else outcome.decoded.frames)
        yield result


def score_paths(
    videos: Iterable[VideoPath],
    options: ClassifyOptions,
    note: NoteCallback = ignore_note,
    *,
    features: bool = False,
) -> Iterator[tuple[VideoPath, "Scored", "Scorer | None"]]:
    """Each video with what the model gives for it, or its error, and the model that gave it.

    In input order, as `classify_videos` says. Without a video that can be read there is no model.
    Videos that are no sequence may still be coming: they are taken one by one.
    """
    readable = early = None
    if isinstance(videos, Sequence):
        readable = early = sum(video.error is None for video in videos)
        if not readable:  # nothing to load a model for
            yield from ((video, video.error, None) for video in videos if video.error)
            return
    let_threads_sleep(soon=readable != 1)  # with one video no decoder works beside the model
    with WarmModel(
        options,
        note,
        decoders=readable,
        early=early or 1,
        answers=not features,
        first=videos if isinstance(videos, Sequence) else (),
    ) as warm:
        for video, outcome in with_outcomes(videos, partial(warm.scored, features=features)):
            yield video, outcome, warm.scorer


def with_outcomes(
    videos: Iterable[VideoPath], stage: Callable[[Iterator[VideoPath]], Iterator[Outcome]]
) -> Iterator[tuple[VideoPath, Outcome]]:
    """Each video with what a stage makes of it, which keeps their order; without any `Pause`."""
    under_way: deque[VideoPath] = deque()

    def noted() -> Iterator[VideoPath]:
        for video in videos:
            under_way.append(video)
            yield video

    for outcome in stage(noted()):
        video = under_way.popleft()
        if video is not PAUSE:
            yield video, outcome


class WarmModel:
    """A model and decoders that are ready, and stay so. Leaving its context ends their processes.

    A `shared` one may be called from several threads: their videos share the decoders, and their
    views share the batches.
    """

    def __init__(
        self,
        options: ClassifyOptions,
        note: NoteCallback = ignore_note,
        *,
        decoders: int | None = None,
        early: int | None = None,
        answers: bool = True,
        first: Sequence[VideoPath] = (),
        shared: bool = False,
    ) -> None:
        """Open the model, with at most so many decoders, of which so many as `early` start at once.

        None means as many as the options say, and all of them. For features alone no `answers` are
        needed. The videos that are scored `first`, where they are known, are decoded while the model
        is opened.

        Raises UsageError, WeightsError, DeviceError.
        """
        self.options = options
        workers = options.workers or os.cpu_count() or 1
        with ExitStack() as stack:
            # The decoders start first: they warm up while torch is imported and weights are read.
            self._pool = stack.enter_context(
                DecodePool(
                    workers=workers if decoders is None else min(workers, decoders),
                    timeout=options.timeout,
                    decoder=options.decoder,
                    early=early,
                    debug=options.debug,
                )
            )
            self._asked = self._ask_early(first)
            self.scorer: Scorer = open_scorer(
                options, note, stack, answers=answers, multi_label=options.multi_label
            )
            self._clips_for(options)  # what does not fit the model is said before the first video
            if shared:
                from timesformer_cli.inference.shared_scorer import SharedScorer

                self.scorer = SharedScorer(self.scorer, options.batch_size)
                stack.callback(self.scorer.close)
            self._stack = stack.pop_all()

    def __enter__(self) -> "WarmModel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the decoders, and the processes of the model where it has some."""
        self._stack.close()

    def scored(
        self,
        videos: Iterable[VideoPath],
        *,
        features: bool = False,
        options: ClassifyOptions | None = None,
        until: float = inf,
    ) -> Iterator["Scored"]:
        """What the model gives for each video, or its error, in input order.

        `options` may take other clips than the model was opened with. Decoding ends at `until`, a
        moment of `time.monotonic`. Raises UsageError for clips that the model does not take.
        """
        from timesformer_cli.inference.batching import score_videos

        options = options or self.options
        clips = self._clips_for(options)
        (asked, first), self._asked = self._asked, NOTHING_ASKED
        if asked == (*clips, options):
            decoded: Iterator[Decoded | VideoError] = (
                outcome for _, outcome in zip(videos, first, strict=True)
            )
        else:
            decoded = self._pool.decode(videos, *clips, options.clips, options.crops, until=until)
        yield from score_videos(self.scorer, decoded, options.batch_size, features=features)

    def classified(
        self,
        videos: Iterable[VideoPath],
        *,
        options: ClassifyOptions | None = None,
        until: float = inf,
    ) -> Iterator[Result]:
        """The labels of each video, or why there are none, in input order, as `scored` says."""
        options = options or self.options
        scored = partial(self.scored, options=options, until=until)
        for video, outcome in with_outcomes(videos, scored):
            yield classified_of(video, outcome, self.scorer, options)

    def whole_pictures(self, videos: Iterable[VideoPath]) -> Iterator["Decoded | VideoError"]:
        """One clip of each video, as the model takes it, but not cropped."""
        return self._pool.decode(videos, *self._clips_for(self.options), 1, 0)

    def _ask_early(self, videos: Sequence[VideoPath]) -> "Asked":
        """Have the first videos decoded as the model's files say, where these say all of it."""
        options = self.options
        if not videos or (clips := early_clips(options)) is None:
            return NOTHING_ASKED
        sampling, (height, width) = clips[0], clips[1].crop
        size = options.clips * max(1, options.crops) * sampling.frames * height * width * 3
        ahead = EARLY_BYTES // size
        outcomes = self._pool.decode(videos, *clips, options.clips, options.crops, ahead=ahead)
        return (*clips, options), outcomes

    def _clips_for(self, options: ClassifyOptions) -> "tuple[Sampling, Preprocessing]":
        if options.threshold is not None:
            require_several(self.scorer.description, options.name, options.threshold)
        return clips_for(self.scorer.description, options)
