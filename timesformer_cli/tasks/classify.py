"""Classify videos: which label each shows, and how sure the model is."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from timesformer_cli.catalogue import DEFAULT
from timesformer_cli.config import Sampling
from timesformer_cli.errors import UsageError, VideoError
from timesformer_cli.video import Decoded, DecodePool, Found, View, let_threads_sleep

if TYPE_CHECKING:
    from timesformer_cli.inference.predictor import Predictor
    from timesformer_cli.inference.ready import Form
    from timesformer_cli.inference.stream import Scored
    from timesformer_cli.model import TimeSformer
    from timesformer_cli.weights.watch import Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What `tsf classify` can be told; `frames` and `stride` None: as the model was trained.

    `debug` lets the decoders' own messages through to stderr.
    """

    model: "str | TimeSformer | Form" = DEFAULT
    top_k: int = 5
    frames: int | None = None
    stride: int | None = None
    clips: int = 1
    crops: int = 1
    device: str = "auto"
    dtype: str = "auto"
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
    from timesformer_cli.weights.hub import resolve

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
    # The decoders start first, so that they warm up while torch is imported and weights are read.
    with DecodePool(
        workers=min(options.workers or os.cpu_count() or 1, max(1, len(readable))),
        timeout=options.timeout,
        decoder=options.decoder,
        debug=options.debug,
    ) as pool:
        name, predictor, sampling = _prepare(options, note)
        from timesformer_cli.inference.stream import score_videos

        decoded = pool.decode(
            readable, sampling, predictor.form.preprocessing, options.clips, options.crops
        )
        scored = score_videos(predictor, _with_errors(items, decoded), options.batch_size)
        for item, outcome in zip(items, scored, strict=True):
            yield _result(item, outcome, name, predictor, options)


def _prepare(options: Options, note: Callable[[str], None]) -> "tuple[str, Predictor, Sampling]":
    """The model loaded, placed and checked against the clips it will get."""
    from timesformer_cli.inference.artefact import Artefact
    from timesformer_cli.inference.predictor import Predictor, make_ready
    from timesformer_cli.inference.ready import ready
    from timesformer_cli.model import TimeSformer

    form: Form
    if isinstance(options.model, str):
        name = options.model
        form, notes = ready(name, options.device, options.dtype)
        for text in notes:
            note(text)
    else:  # a model of the caller's runs where and in what it is
        name, given = type(options.model).__name__, options.model
        if isinstance(given, TimeSformer):
            form = make_ready(given, given.head.weight.device, given.head.weight.dtype)
        else:
            form = given
    sampling = replace(
        form.sampling,
        frames=options.frames or form.sampling.frames,
        stride=options.stride or form.sampling.stride,
    )
    if isinstance(form, Artefact) and sampling.frames != form.sampling.frames:
        raise UsageError(
            f"{name}: exported for clips of {form.sampling.frames} frames; leave out --frames, or "
            f"export another with --frames {sampling.frames}"
        )
    grid = form.config.grid_of(sampling.frames, *form.preprocessing.crop)
    form.config.scheme.check(grid)
    return name, Predictor(form), sampling


def _with_errors(
    items: list[Found], decoded: Iterator[Decoded | VideoError]
) -> Iterator[Decoded | VideoError]:
    for item in items:
        yield next(decoded) if item.error is None else item.error


def _result(
    item: Found, outcome: "Scored", name: str, predictor: "Predictor", options: Options
) -> Result:
    if isinstance(outcome, VideoError):
        return Failed(item.path, "error", Fault(outcome.kind, str(outcome)))
    decoded, scores, seconds = outcome
    labels = predictor.form.labels
    best = scores.topk(min(options.top_k, len(labels)))
    return Classified(
        video=item.path,
        status="ok",
        predictions=tuple(
            Prediction(labels[index], index, round(score, 6))
            for score, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ),
        model=name,
        device=str(predictor.form.device),
        dtype=str(predictor.form.dtype).removeprefix("torch."),
        decoder=decoded.decoder,
        views=decoded.views,
        seconds=Seconds(decode=round(decoded.seconds, 4), model=round(seconds, 4)),
        warnings=decoded.warnings,
    )
