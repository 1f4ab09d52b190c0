"""Classify videos: which label each shows, and how sure the model is."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from timesformer_cli.callbacks import NoteCallback, ignore_note
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import UsageError, VideoError
from timesformer_cli.inference.process_tuning import let_threads_sleep
from timesformer_cli.video import DecodePool, VideoPath, View
from timesformer_cli.weights.catalogue import DEFAULT

if TYPE_CHECKING:
    from timesformer_cli.inference.batching import Scored, Scorer
    from timesformer_cli.inference.open import RunnableModel
    from timesformer_cli.model import TimeSformer
    from timesformer_cli.weights.description import Description
    from timesformer_cli.weights.hub.locate import Located


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifyOptions:
    """What `tsf classify` can be told; `frames` and `stride` None: as the model was trained.

    `device` may name several, with commas: a process each. `compile` hands the model to
    torch.compile. `debug` lets the messages of other processes through to stderr.
    """

    model: "str | Located | TimeSformer | RunnableModel" = DEFAULT
    top_k: int = 5
    frames: int | None = None
    stride: int | None = None
    clips: int = 1
    crops: int = 1
    device: str = "auto"
    dtype: str = "auto"
    compile: bool = False
    batch_size: int = 8
    workers: int | None = None
    timeout: float = 60.0
    decoder: str = "auto"
    debug: bool = False

    @property
    def name(self) -> str:
        """What the model is called in results: its class, where it is an object of the caller's."""
        from timesformer_cli.weights.hub.locate import Located

        if isinstance(self.model, Located):
            return self.model.name
        return self.model if isinstance(self.model, str) else type(self.model).__name__

    @property
    def is_exported(self) -> bool:
        """Whether the model is an exported one, which takes clips of one shape."""
        from timesformer_cli.inference.exported.model import ExportedModel
        from timesformer_cli.weights.hub.locate import EXPORTED

        return isinstance(self.model, ExportedModel) or self.name.endswith(EXPORTED)


@dataclass(frozen=True, slots=True)
class Prediction:
    """One label with its softmax score, averaged over the views."""

    label: str
    index: int
    score: float


@dataclass(frozen=True, slots=True)
class Seconds:
    """Time spent on one video."""

    decode: float
    model: float


@dataclass(frozen=True, slots=True)
class Classified:
    """A video that was read and scored; best prediction first."""

    video: str
    status: str
    predictions: tuple[Prediction, ...]
    model: str
    device: str
    dtype: str
    decoder: str
    views: tuple[View, ...]
    seconds: Seconds
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a video could not be read."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A video that could not be read; the others go on."""

    video: str
    status: str
    error: Fault


Result = Classified | Failed


def result_to_dict(result: Result) -> dict[str, Any]:
    """The result, field for field; `warnings` only where there are some."""
    values = asdict(result)
    if not values.get("warnings", True):
        del values["warnings"]
    return values


def classify_videos(
    videos: Iterable[VideoPath],
    options: ClassifyOptions,
    note: NoteCallback = ignore_note,
) -> Iterator[Result]:
    """Results in input order, as they come; `note` hears what had to be assumed.

    Raises UsageError, WeightsError or DeviceError before the first result; a bad video becomes a
    `Failed` and never an exception.
    """
    videos = list(videos)
    readable = sum(video.error is None for video in videos)
    if readable > 1:
        let_threads_sleep()
    with ExitStack() as stack:
        # The decoders start first: they warm up while torch is imported and weights are read.
        pool = stack.enter_context(
            DecodePool(
                workers=min(options.workers or os.cpu_count() or 1, max(1, readable)),
                timeout=options.timeout,
                decoder=options.decoder,
                debug=options.debug,
            )
        )
        scorer = _scorer(options, note, stack)
        sampling, preprocessing = _clips(scorer.description, options)
        from timesformer_cli.inference.batching import score_videos

        decoded = pool.decode(videos, sampling, preprocessing, options.clips, options.crops)
        scored = score_videos(scorer, decoded, options.batch_size)
        for video, outcome in zip(videos, scored, strict=True):
            yield _result(video, outcome, scorer, options)


def _scorer(options: ClassifyOptions, note: NoteCallback, stack: ExitStack) -> "Scorer":
    """The model loaded and placed; what it holds beside memory goes with the stack."""
    from timesformer_cli.inference.device_pool import DevicePool
    from timesformer_cli.inference.fast.model import make_fast
    from timesformer_cli.inference.open import open_model
    from timesformer_cli.inference.predictor import Predictor
    from timesformer_cli.model import TimeSformer
    from timesformer_cli.weights.hub.locate import Located, as_located

    model, devices, compiled = options.model, options.device.split(","), options.compile
    scorer: Scorer
    notes: tuple[str, ...] = ()
    if isinstance(model, str | Located) and len(devices) > 1:
        located = as_located(model)
        several = DevicePool(located, devices, options.dtype, compile=compiled, debug=options.debug)
        stack.callback(several.close)
        scorer, notes = several, several.notes
    elif isinstance(model, str | Located):
        opened, notes = open_model(model, options.device, options.dtype, compile=compiled)
        scorer = Predictor(opened)
    elif isinstance(model, TimeSformer):  # a model of the caller's runs where and in what it is
        weight = model.head.weight
        scorer = Predictor(make_fast(model, weight.device, weight.dtype, compile=compiled))
    elif compiled:
        raise UsageError("a model made ready is compiled by its own .compile()")
    else:
        scorer = Predictor(model)
    for text in notes:
        note(text)
    if compiled:
        note("compiling with the first batch, which takes up to a minute")
    return scorer


def _clips(model: "Description", options: ClassifyOptions) -> tuple[Sampling, Preprocessing]:
    """How clips are taken; raises UsageError where the model cannot take them."""
    sampling, preprocessing = model.sampling, model.preprocessing
    frames = options.frames or sampling.frames
    if frames != sampling.frames and options.is_exported:
        raise UsageError(
            f"{options.name}: exported for clips of {sampling.frames} frames; leave out "
            f"--frames, or export another with --frames {frames}"
        )
    model.config.scheme.require_divisible(model.config.grid_of(frames, *preprocessing.crop))
    stride = options.stride or sampling.stride
    return replace(sampling, frames=frames, stride=stride), preprocessing


def _result(
    video: VideoPath, outcome: "Scored", scorer: "Scorer", options: ClassifyOptions
) -> Result:
    if isinstance(outcome, VideoError):
        return Failed(video.path, "error", Fault(outcome.kind, str(outcome)))
    decoded, outputs = outcome
    labels = scorer.description.labels
    best = outputs.scores.topk(min(options.top_k, len(labels)))
    return Classified(
        video=video.path,
        status="ok",
        predictions=tuple(
            Prediction(labels[index], index, round(score, 6))
            for score, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ),
        model=options.name,
        device=scorer.device,
        dtype=scorer.dtype,
        decoder=decoded.decoder,
        views=decoded.views,
        seconds=Seconds(decode=round(decoded.seconds, 4), model=round(outputs.seconds, 4)),
        warnings=decoded.warnings,
    )
