"""Explain videos: what the model looked at in a clip, for one label."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from timesformer_cli.callbacks import NoteCallback, StepCallback, ignore_note, ignore_step
from timesformer_cli.errors import UsageError, VideoError
from timesformer_cli.explain.blanking import (
    Score,
    carried_by_frames,
    occlusion,
    prove_map,
    scorings,
)
from timesformer_cli.explain.options import MODEL_FREE, ExplainOptions
from timesformer_cli.explain.results import CropBox, Explained, Explanation, Map
from timesformer_cli.inference.classified import failed
from timesformer_cli.inference.classify import with_outcomes
from timesformer_cli.inference.scorer import clips_for, model_name, open_scorer
from timesformer_cli.video import Decoded, DecodePool, VideoPath
from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.transform import crop_corners

if TYPE_CHECKING:
    from timesformer_cli.inference.batching import Scorer
    from timesformer_cli.model import TimeSformer


def explain_videos(
    videos: Iterable[VideoPath],
    options: ExplainOptions,
    note: NoteCallback = ignore_note,
    step: StepCallback = ignore_step,
) -> Iterator[Explanation]:
    """Explain one clip of each video, the one that `classify` takes; in input order.

    `step` hears of the runs of the model. Raises UsageError, WeightsError and DeviceError before
    the first result. A video that cannot be read becomes a `Failed`.
    """
    readable = not isinstance(videos, Sequence) or any(video.error is None for video in videos)
    if not readable:  # nothing to load a model for
        yield from (failed(video.path, video.error) for video in videos if video.error)
        return
    with ExitStack() as stack:
        pool = stack.enter_context(
            DecodePool(1, options.timeout, options.decoder, debug=options.debug)
        )
        explainer = Explainer(options, *open_explained(options, note, stack))
        # Whole pictures: the cropped-away part is drawn, too.
        decode = partial(
            pool.decode,
            sampling=explainer.sampling,
            preprocessing=explainer.preprocessing,
            clips=1,
            crops=0,
        )
        for video, outcome in with_outcomes(videos, decode):
            yield explainer.result(video, outcome, step)


class Explainer:
    """A model that is ready, and what is asked about its answers."""

    def __init__(
        self, options: ExplainOptions, network: "TimeSformer | None", scorer: "Scorer"
    ) -> None:
        """Take what `open_explained` gave; raises UsageError where the options do not fit it."""
        self.options, self.network, self.scorer = options, network, scorer
        self.sampling, self.preprocessing = clips_for(self.scorer.description, options)
        labels = self.scorer.description.labels
        if not labels:
            raise UsageError(
                f"{model_name(options.model)} has no classes of its own to explain: it takes words"
            )
        if options.label is not None and options.label not in labels:
            raise UsageError(
                f"{model_name(options.model)} has no label '{options.label}'; see tsf info"
            )
        frames, (height, width) = self.sampling.frames, self.preprocessing.crop
        self.grid = self.scorer.description.config.grid_of(frames, height, width)
        if self.network is not None:
            _require_within(options, self.network, self.grid)

    def result(
        self, video: VideoPath, outcome: Decoded | VideoError, step: StepCallback
    ) -> Explanation:
        """The explanation of a video, or why there is none."""
        if isinstance(outcome, VideoError):
            return failed(video.path, outcome)
        return self.explain(video.path, outcome, step)

    def explain(self, path: str, decoded: Decoded, step: StepCallback) -> Explained:
        """The explanation of one decoded clip, whose pictures are whole."""
        began = time.perf_counter()
        pictures = decoded.frames[0]
        frames, (left, top, wide, high) = self.cropped(pictures)
        labels = self.scorer.description.labels
        (scores,) = self.scored(iter([frames]))
        best = int(scores.argmax())
        label = best if self.options.label is None else labels.index(self.options.label)
        rows = self.grid[0]
        counted = scorings(
            rows,
            self.grid,
            occluded=self.options.method == MODEL_FREE,
            proved=self.options.prove,
        )
        done = 0

        def score(clips: Iterator[Pixels]) -> npt.NDArray[np.float32]:
            nonlocal done
            answers = []
            for answer in self.scored(clips):
                answers.append(answer[label])
                done += 1
                step(done, counted, f"explaining {path}")
            return np.array(answers, np.float32)

        map = self._map(frames, label, score)
        total = map.sum()
        map = map / total if total > 0 else map
        carried = carried_by_frames(frames, rows, score)
        scale = decoded.probe.width / pictures.shape[2], decoded.probe.height / pictures.shape[1]
        return Explained(
            video=path,
            status="ok",
            model=model_name(self.options.model),
            device=self.scorer.device,
            decoder=decoded.decoder,
            label=labels[label],
            score=round(float(scores[label]), 6),
            best=labels[best],
            method=self.options.method,
            map=map,
            times=decoded.views[0].times,
            crop=CropBox(
                left=round(left * scale[0], 2),
                top=round(top * scale[1], 2),
                width=round(wide * scale[0], 2),
                height=round(high * scale[1], 2),
            ),
            carried=carried,
            proof=prove_map(frames, map, score) if self.options.prove else None,
            seconds=round(time.perf_counter() - began, 4),
            warnings=decoded.warnings,
            pictures=pictures,
            seen=(left, top, wide, high),
        )

    def _map(self, frames: Pixels, label: int, score: Score) -> Map:
        if self.network is None or self.options.method == MODEL_FREE:
            return occlusion(frames, self.grid, score)
        from timesformer_cli.explain.maps import map_by

        return map_by(self.network, frames, label, self.options)

    def cropped(self, pictures: Pixels) -> tuple[Pixels, tuple[int, int, int, int]]:
        """What the model sees of whole pictures, with its left, top, width and height there."""
        high, wide = self.preprocessing.crop
        corners = crop_corners(pictures.shape[2], pictures.shape[1], (high, wide), 1)
        ((left, top),) = corners.values()
        frames = np.ascontiguousarray(pictures[:, top : top + high, left : left + wide])
        return frames, (left, top, wide, high)

    def scored(self, clips: Iterator[Pixels]) -> Iterator[npt.NDArray[np.float32]]:
        """All scores of each clip, in batches."""
        while batch := list(islice(clips, self.options.batch_size)):
            yield from self.scorer.start(np.stack(batch))().scores.numpy()


def open_explained(
    options: ExplainOptions, note: NoteCallback, stack: ExitStack
) -> "tuple[TimeSformer | None, Scorer]":
    """The network as published, whose attention can be recorded, and its fast form.

    The method that needs scores alone gets no network. Raises UsageError, WeightsError and
    DeviceError.
    """
    if options.method == MODEL_FREE and options.attention is None:
        return None, open_scorer(options, note, stack, answers=False)
    from timesformer_cli.inference.device import find_device
    from timesformer_cli.inference.fast.model import make_fast
    from timesformer_cli.inference.predictor import Predictor
    from timesformer_cli.model import TimeSformer
    from timesformer_cli.weights.hub.locate import Located, as_located
    from timesformer_cli.weights.load import load_model

    name, network = model_name(options.model), options.model
    if isinstance(network, str | Located):
        located = as_located(network)
        if located.exported:
            if options.attention is not None:
                raise UsageError(f"{name}: an exported model keeps its attention scheme")
            raise UsageError(f"{name}: its attention cannot be seen; give --method {MODEL_FREE}")
        place = find_device(options.device)
        network, notes = load_model(located)
        for text in notes:
            note(text)
        network = network.to(place).eval().requires_grad_(False)
    if not isinstance(network, TimeSformer):
        raise UsageError(f"{name}: its attention cannot be seen; give --method {MODEL_FREE}")
    if options.attention not in (None, network.config.attention):
        network = _with_scheme(network, options.attention, name, note)
    weight = network.head.weight
    return network, Predictor(make_fast(network, weight.device, weight.dtype), name)


def _with_scheme(
    network: "TimeSformer", attention: str, name: str, note: NoteCallback
) -> "TimeSformer":
    """The network with another scheme, before any training; raises UsageError and WeightsError."""
    from timesformer_cli.model.inflate import inflate

    config = network.config.with_attention(attention)
    note(
        f"{name} with {config.scheme_name} in place of {network.config.scheme_name}: its weights as "
        "training would start from them, so the answer is not the model's own"
    )
    changed = inflate(network, config).to(network.head.weight.device)
    return changed.requires_grad_(False)


def _require_within(options: ExplainOptions, network: "TimeSformer", grid: tuple[int, ...]) -> None:
    """Raise UsageError for a layer, a head or a patch that is not there."""
    heads, depth = network.config.heads, network.config.depth
    asked = [("--layer", options.layer, depth, "blocks"), ("--head", options.head, heads, "heads")]
    names = ("frame", "row", "column")
    if options.query is not None:
        asked += [
            (f"--query's {name}", place, size, f"{name}s of patches")
            for name, place, size in zip(names, options.query, grid, strict=True)
        ]
    for option, number, most, what in asked:
        if number is not None and not 1 <= number <= most:
            raise UsageError(f"{option} is {number}; {model_name(options.model)} has {most} {what}")
