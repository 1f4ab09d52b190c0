"""Classify videos: which label each shows, and how sure the model is."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import UsageError, VideoError
from timesformer_cli.inference.process_tuning import let_threads_sleep
from timesformer_cli.video import Decoded, DecodePool, Found, View
from timesformer_cli.weights.catalogue import DEFAULT

if TYPE_CHECKING:
    from timesformer_cli.inference.batching import Scored, Scorer
    from timesformer_cli.inference.open import Form
    from timesformer_cli.model import TimeSformer
    from timesformer_cli.weights.description import Description
    from timesformer_cli.weights.hub.stall import Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What `tsf classify` can be told; `frames` and `stride` None: as the model was trained.

    `device` may name several, with commas: a process each. `compile` hands the model to
    torch.compile. `debug` lets the messages of other processes through to stderr.
    """

    model: "str | TimeSformer | Form" = DEFAULT
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


def to_dict(result: Result) -> dict[str, Any]:
    """The result, field for field; `warnings` only where there are some."""
    values = asdict(result)
    if not values.get("warnings", True):
        del values["warnings"]
    return values


def fetch(model: str, progress: "Progress | None" = None) -> None:
    """Download the model where the cache lacks it; `run` would too, but silently."""
    from timesformer_cli.weights.hub.locate import resolve

    resolve(model, progress=progress)


def run(
    items: Iterable[Found], options: Options, note: Callable[[str], None] = lambda text: None
) -> Iterator[Result]:
    """Results in input order, as they come; `note` hears what had to be assumed.

    Raises UsageError, WeightsError or DeviceError before the first result; a bad video becomes a
    `Failed` and never an exception.
    """
    items = list(items)
    readable = [item.path for item in items if item.error is None]
    if len(readable) > 1:
        let_threads_sleep()
    with ExitStack() as stack:
        # The decoders start first: they warm up while torch is imported and weights are read.
        pool = stack.enter_context(
            DecodePool(
                workers=min(options.workers or os.cpu_count() or 1, max(1, len(readable))),
                timeout=options.timeout,
                decoder=options.decoder,
                debug=options.debug,
            )
        )
        scorer = _scorer(options, note, stack)
        sampling, preprocessing = _clips(scorer.description, options)
        from timesformer_cli.inference.batching import score_videos

        decoded = pool.decode(readable, sampling, preprocessing, options.clips, options.crops)
        scored = score_videos(scorer, _with_errors(items, decoded), options.batch_size)
        for item, outcome in zip(items, scored, strict=True):
            yield _result(item, outcome, scorer, options)


def _scorer(options: Options, note: Callable[[str], None], stack: ExitStack) -> "Scorer":
    """The model loaded and placed; what it holds beside memory goes with the stack."""
    from timesformer_cli.inference.device_pool import Devices
    from timesformer_cli.inference.open import ready
    from timesformer_cli.inference.predictor import Predictor, make_ready
    from timesformer_cli.model import TimeSformer

    model, devices, compiled = options.model, options.device.split(","), options.compile
    scorer: Scorer
    notes: tuple[str, ...] = ()
    if isinstance(model, str) and len(devices) > 1:
        several = Devices(model, devices, options.dtype, compile=compiled, debug=options.debug)
        stack.callback(several.close)
        scorer, notes = several, several.notes
    elif isinstance(model, str):
        form, notes = ready(model, options.device, options.dtype, compile=compiled)
        scorer = Predictor(form)
    elif isinstance(model, TimeSformer):  # a model of the caller's runs where and in what it is
        weight = model.head.weight
        scorer = Predictor(make_ready(model, weight.device, weight.dtype, compile=compiled))
    elif compiled:
        raise UsageError("a model made ready is compiled by its own .compile()")
    else:
        scorer = Predictor(model)
    for text in notes:
        note(text)
    if compiled:
        note("compiling with the first batch, which takes up to a minute")
    return scorer


def _clips(model: "Description", options: Options) -> tuple[Sampling, Preprocessing]:
    """How clips are taken; raises UsageError where the model cannot take them."""
    from timesformer_cli.inference.exported.model import Artefact
    from timesformer_cli.weights.hub.locate import is_artefact

    sampling, preprocessing = model.sampling, model.preprocessing
    assert sampling is not None and preprocessing is not None
    frames = options.frames or sampling.frames
    exported = isinstance(options.model, Artefact) or is_artefact(_name(options))
    if exported and frames != sampling.frames:
        raise UsageError(
            f"{_name(options)}: exported for clips of {sampling.frames} frames; leave out "
            f"--frames, or export another with --frames {frames}"
        )
    model.config.scheme.check(model.config.grid_of(frames, *preprocessing.crop))
    stride = options.stride or sampling.stride
    return replace(sampling, frames=frames, stride=stride), preprocessing


def _name(options: Options) -> str:
    given = options.model
    return given if isinstance(given, str) else type(given).__name__


def _with_errors(
    items: list[Found], decoded: Iterator[Decoded | VideoError]
) -> Iterator[Decoded | VideoError]:
    for item in items:
        yield next(decoded) if item.error is None else item.error


def _result(item: Found, outcome: "Scored", scorer: "Scorer", options: Options) -> Result:
    if isinstance(outcome, VideoError):
        return Failed(item.path, "error", Fault(outcome.kind, str(outcome)))
    decoded, scores, seconds = outcome
    labels = scorer.description.labels
    best = scores.topk(min(options.top_k, len(labels)))
    return Classified(
        video=item.path,
        status="ok",
        predictions=tuple(
            Prediction(labels[index], index, round(score, 6))
            for score, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ),
        model=_name(options),
        device=scorer.device,
        dtype=scorer.dtype,
        decoder=decoded.decoder,
        views=decoded.views,
        seconds=Seconds(decode=round(decoded.seconds, 4), model=round(seconds, 4)),
        warnings=decoded.warnings,
    )
