"""The proof of an exported file: its logits and its time beside those of the model."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from timesformer_cli.errors import TsfError, VideoError
from timesformer_cli.video import DecodePool
from timesformer_cli.weights.catalogue import ASSETS

if TYPE_CHECKING:
    from torch import Tensor

    from timesformer_cli.inference.exported.manifest import Manifest
    from timesformer_cli.model import TimeSformer

Kind = Literal["onnx", "pt2", "aoti"]
VIDEO = ASSETS / "proof.mp4"
REAL, NOISE = 3, 2  # clips of the video, and of random colours
# A file for any number of clips is traced with two. One and four show that it did not keep the two.
BATCHES = (1, REAL + NOISE - 1)
RUNS, FEWEST = 7, 2  # that are timed: so many, or fewer of a model that takes long
ENOUGH = 4.0  # seconds of timed runs, after which the fewest are enough


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """How the file did beside the model that it was made from."""

    runtime: str
    difference: float  # largest between a logit of the file and the same of the model
    agreement: float  # share of clips with the same best label, from 0 to 1
    clips: int  # that were compared
    real: int  # of these, clips of a video; the others are random colours
    batches: tuple[int, ...]  # clips per call; each clip was in one
    timed: int  # clips per timed call
    milliseconds: float  # of the file, median per call
    eager_milliseconds: float  # of the model as `tsf classify --dtype float32` runs it


def prove(model: "TimeSformer", manifest: "Manifest", path: Path, kind: Kind) -> Proof:
    """Load the file as anyone would, run it and compare it with `model`.

    `model` is the one that the file was made from, in its published form, so that the proof covers
    the fast form too; it is spoilt. Raises WeightsError where the file does not load.
    """
    import torch

    from timesformer_cli.export.write import open_aoti
    from timesformer_cli.inference.exported.model import normalise
    from timesformer_cli.inference.exported.open import open_exported, runtime_name
    from timesformer_cli.inference.process_tuning import collect_memory

    frames = _clips(manifest)
    preprocessing = manifest.description.preprocessing
    clips = torch.from_numpy(normalise(frames.numpy(), preprocessing.mean, preprocessing.std))
    taken = frames if manifest.pixels else clips
    batches = (manifest.batch,) if manifest.batch else BATCHES
    with torch.inference_mode():
        expected = torch.cat([model(clip[None]) for clip in clips])
        parts = torch.split(taken, manifest.batch or list(BATCHES))
        timed = parts[0]
        # One after the other: memory then holds one set of weights and not three.
        of_model = _fast_milliseconds(model, timed)
        model.to("meta")  # what is left of it keeps the whole file of its weights in memory
        collect_memory()
        artefact = open_aoti(path, manifest) if kind == "aoti" else open_exported(path)
        given = torch.cat([artefact(part) for part in parts])
        of_file = _milliseconds(lambda: artefact(timed))
    return Proof(
        runtime=runtime_name(kind),
        difference=float((given - expected).abs().max()),
        agreement=float((given.argmax(dim=1) == expected.argmax(dim=1)).float().mean()),
        clips=len(frames),
        real=REAL,
        batches=batches,
        timed=len(timed),
        milliseconds=of_file,
        eager_milliseconds=of_model,
    )


def _clips(manifest: "Manifest") -> "Tensor":
    """Pixels, uint8 `(b t h w c)`: clips of a video, and clips of random colours.

    The video is decoded and cropped as `tsf classify` does it.
    """
    import torch

    described = manifest.description
    assert described.sampling is not None
    assert described.preprocessing is not None
    with DecodePool() as pool:
        (decoded,) = pool.decode(
            [str(VIDEO)], described.sampling, described.preprocessing, clips=REAL
        )
    if isinstance(decoded, VideoError):
        raise TsfError(f"{VIDEO}: {decoded}; install tsf again")
    real = torch.from_numpy(decoded.frames)
    chance = torch.Generator().manual_seed(0)
    _, frames, height, width, _ = real.shape
    coarse = (NOISE, frames, -(-height // 16), -(-width // 16), 3)
    colours = torch.randint(0, 256, coarse, dtype=torch.uint8, generator=chance)
    noise = colours.repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)
    return torch.cat([real, noise[:, :, :height, :width]])


def _fast_milliseconds(model: "TimeSformer", clips: "Tensor") -> float:
    """What the model takes in its fast form, whose weights are gone afterwards; it is spoilt."""
    import torch

    from timesformer_cli.inference.fast.model import make_fast

    fast = make_fast(model, torch.device("cpu"), torch.float32, consume=True)
    fast(clips)  # the first run warms up; the file has had its own
    return _milliseconds(lambda: fast(clips))


def _milliseconds(call: Callable[[], object]) -> float:
    """Median of FEWEST calls at least, and of RUNS unless ENOUGH seconds pass before."""
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < FEWEST or (len(times) < RUNS and time.perf_counter() - started < ENOUGH):
        began = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)
