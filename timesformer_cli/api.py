"""The two functions of the Python interface."""

import os
import warnings
from collections.abc import Iterable
from typing import Any

from timesformer_cli.catalogue import DEFAULT
from timesformer_cli.model import TimeSformer
from timesformer_cli.tasks.classify import Options, Result, run

Path = str | os.PathLike[str]


def load_model(
    name_or_path: Path = DEFAULT, *, device: str = "cpu", dtype: str = "float32"
) -> TimeSformer:
    """A model that maps normalised RGB clips, float `(b t c h w)`, to logits `(b classes)`.

    Takes what `--model` takes, and the device and dtype names of the command. It carries
    `.config`, `.labels`, `.preprocessing` and `.sampling`. Raises WeightsError, DeviceError.
    """
    from timesformer_cli.inference.models import load
    from timesformer_cli.inference.predictor import find_device, find_dtype

    place = find_device(device)
    model, notes = load(os.fspath(name_or_path))
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return model.to(place, find_dtype(dtype, place))


def classify(
    videos: Path | Iterable[Path], model: Path | TimeSformer = DEFAULT, **options: Any
) -> list[Result]:
    """Classify one video or several: files, folders and globs, as the command takes them.

    `options` are the fields of `timesformer_cli.tasks.classify.Options`. A video that cannot be
    read becomes a result with `status` "error"; nothing is raised for it.
    """
    from timesformer_cli.video import find_videos

    arguments = [videos] if isinstance(videos, str | os.PathLike) else videos
    chosen = Options(model=model if isinstance(model, TimeSformer) else os.fspath(model), **options)
    items = find_videos([os.fspath(path) for path in arguments])
    return list(run(items, chosen, lambda text: warnings.warn(text, stacklevel=4)))
