"""The Python interface: `load_model`, `classify`, `Classifier` and `timeline`."""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import inf
from tempfile import TemporaryDirectory
from typing import overload

from timesformer_cli.dataset.own_labels import GivenLabels, as_own_labels, asked_of_model
from timesformer_cli.inference.classify import (
    ClassifyOptions,
    Failed,
    Result,
    WarmModel,
    classify_videos,
)
from timesformer_cli.inference.open import RunnableModel
from timesformer_cli.model import TimeSformer
from timesformer_cli.timelines.options import AUTO_PRICE, TimelineOptions
from timesformer_cli.timelines.results import ScoredWindow, Segment, TimelineResult
from timesformer_cli.timelines.run import Step, run_timelines
from timesformer_cli.video import VideoPath, find_videos
from timesformer_cli.weights.catalogue import DEFAULT

Path = str | os.PathLike[str]
Model = Path | TimeSformer | RunnableModel


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
    has `.config`, `.labels`, `.preprocessing` and `.sampling`. What had to be assumed is issued as
    a warning. Raises UsageError, WeightsError and DeviceError.
    """
    from timesformer_cli.inference.device import find_device
    from timesformer_cli.inference.open import open_model
    from timesformer_cli.weights.hub.locate import locate
    from timesformer_cli.weights.load import load_model

    located = locate(os.fspath(name_or_path))
    model: TimeSformer | RunnableModel
    if dtype is None:
        place = find_device(device)
        model, notes = load_model(located)
        model.to(place)
    else:
        model, notes = open_model(located, device, dtype)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return model


def classify(
    videos: Path | Iterable[Path],
    model: Model = DEFAULT,
    *,
    labels: GivenLabels | None = None,
    template: str | Sequence[str] | None = None,
    none_below: float | None = None,
    top_k: int = 5,
    frames: int | None = None,
    stride: int | None = None,
    clips: int = 1,
    crops: int = 1,
    multi_label: bool = False,
    threshold: float | None = None,
    device: str = "auto",
    dtype: str = "auto",
    compile: bool = False,
    batch_size: int = 8,
    workers: int | None = None,
    timeout: float = 60.0,
    decoder: str = "auto",
    fps: float | None = None,
    debug: bool = False,
) -> list[Result]:
    """Classify one video or several: files, folders and globs, as the command takes them.

    The keywords are the command's options. Each video gets `top_k` labels, of `labels` where they are
    given: classes of the model, or words where it takes some; a mapping has the texts that say each.
    `frames` and `stride` (in frames of a 30-fps video) are those of the model where None. A video is
    seen in `clips` times `crops` (1 or 3) views, and their scores are averaged. With `multi_label`
    each class is scored by itself, as a multi-label model does unasked; `threshold` takes the place
    of its own. A video may go `timeout` seconds without progress. With `fps`, folders of pictures are
    videos of so many frames a second. A video that cannot be read becomes a result with `status`
    "error"; nothing is raised for it. What had to be assumed is issued as a warning. Raises
    UsageError, WeightsError, DeviceError.
    """
    chosen = ClassifyOptions(
        model=_named(model),
        **asked_of_model(as_own_labels(labels), template, none_below),
        top_k=top_k,
        frames=frames,
        stride=stride,
        clips=clips,
        crops=crops,
        multi_label=multi_label,
        threshold=threshold,
        device=device,
        dtype=dtype,
        compile=compile,
        batch_size=batch_size,
        workers=workers,
        timeout=timeout,
        decoder=decoder,
        debug=debug,
    )
    paths = _paths(videos, fps)
    return list(classify_videos(paths, chosen, lambda text: warnings.warn(text, stacklevel=5)))


def _paths(videos: Path | Iterable[Path], fps: float | None) -> list[VideoPath]:
    arguments = [videos] if isinstance(videos, str | os.PathLike) else videos
    return find_videos([os.fspath(path) for path in arguments], fps=fps)


def _named(model: Model) -> str | TimeSformer | RunnableModel:
    return os.fspath(model) if isinstance(model, str | os.PathLike) else model


class Classifier:
    """A model and its decoders, ready for one call after another; a context manager.

    A call of `classify` starts decoders and makes the model ready each time; here both stay. What it
    takes and raises is the same. Several threads may call it, and their batches take turns.

        with Classifier("camera-motion") as classify:
            for result in classify("videos/"):
                print(result)
    """

    def __init__(
        self,
        model: Model = DEFAULT,
        *,
        labels: GivenLabels | None = None,
        template: str | Sequence[str] | None = None,
        none_below: float | None = None,
        top_k: int = 5,
        frames: int | None = None,
        stride: int | None = None,
        clips: int = 1,
        crops: int = 1,
        multi_label: bool = False,
        threshold: float | None = None,
        device: str = "auto",
        dtype: str = "auto",
        compile: bool = False,
        batch_size: int = 8,
        workers: int | None = None,
        timeout: float = 60.0,
        decoder: str = "auto",
        debug: bool = False,
    ) -> None:
        chosen = ClassifyOptions(
            model=_named(model),
            **asked_of_model(as_own_labels(labels), template, none_below),
            top_k=top_k,
            frames=frames,
            stride=stride,
            clips=clips,
            crops=crops,
            multi_label=multi_label,
            threshold=threshold,
            device=device,
            dtype=dtype,
            compile=compile,
            batch_size=batch_size,
            workers=workers,
            timeout=timeout,
            decoder=decoder,
            debug=debug,
        )
        most = workers or os.cpu_count() or 1
        self._warm = WarmModel(
            chosen, lambda text: warnings.warn(text, stacklevel=4), decoders=most, shared=True
        )

    def __call__(
        self, videos: Path | bytes | Iterable[Path], *, fps: float | None = None
    ) -> Iterator[Result]:
        """The labels of each video as they come: files, folders and globs, or a file's bytes.

        With `fps`, folders of pictures are videos of so many frames a second. A video that cannot
        be read becomes a result with `status` "error". Bytes are called "bytes" in their result.
        """
        if isinstance(videos, bytes):
            yield from self._of_bytes(videos)
        else:
            yield from self._warm.classified(_paths(videos, fps))

    def _of_bytes(self, content: bytes) -> Iterator[Result]:
        with TemporaryDirectory(prefix="tsf-") as folder:
            path = os.path.join(folder, "video")
            with open(path, "wb") as file:
                file.write(content)
            for result in self._warm.classified([VideoPath(path)]):
                yield replace(result, video="bytes")

    def __enter__(self) -> "Classifier":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the decoders, and the processes of the model where it has some."""
        self._warm.close()


class VideoTimeline:
    """A video that is being followed, to its end by `result` and `segments`; iterate for windows."""

    def __init__(self, steps: Iterator[Step | TimelineResult]) -> None:
        self._steps = steps
        self._result: TimelineResult | None = None

    def __iter__(self) -> Iterator[ScoredWindow]:
        for step in self._steps:
            if isinstance(step, Step):
                yield from step.scored
            else:
                self._result = step

    def result(self) -> TimelineResult:
        """All that is known of the video; one that could not be read has the status "error"."""
        for _ in self:
            pass
        assert self._result is not None
        return self._result

    def segments(self) -> tuple[Segment, ...]:
        """What happens when; empty where the video could not be read."""
        result = self.result()
        return () if isinstance(result, Failed) else result.segments


def timeline(
    video: Path,
    model: Model = DEFAULT,
    *,
    every: float | None = None,
    start: float = 0.0,
    end: float = inf,
    labels: GivenLabels | None = None,
    template: str | Sequence[str] | None = None,
    none_below: float | None = None,
    threshold: float = 0.0,
    smooth: float = AUTO_PRICE,
    cuts: bool = True,
    refine: bool = False,
    top_k: int = 5,
    frames: int | None = None,
    stride: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    compile: bool = False,
    batch_size: int = 8,
    timeout: float = 60.0,
    decoder: str = "auto",
    fps: float | None = None,
    debug: bool = False,
) -> VideoTimeline:
    """Follow one video, however long, from `start` to `end` in seconds.

    The answer yields windows, `every` seconds one (None: half of a window's span), while the video
    is decoded, and has `.segments()`. The keywords are the command's options, as for `classify`. What
    had to be assumed is issued as a warning. Raises as that does, once the first window is asked for.
    """
    options = TimelineOptions(
        model=_named(model),
        every=every,
        start=start,
        end=end,
        **asked_of_model(as_own_labels(labels), template, none_below),
        threshold=threshold,
        smooth=smooth,
        cuts=cuts,
        refine=refine,
        windows=True,
        top_k=top_k,
        frames=frames,
        stride=stride,
        device=device,
        dtype=dtype,
        compile=compile,
        batch_size=batch_size,
        timeout=timeout,
        decoder=decoder,
        debug=debug,
    )
    found = [VideoPath(os.fspath(video), fps=fps)]
    return VideoTimeline(
        run_timelines(found, options, lambda text: warnings.warn(text, stacklevel=4))
    )
