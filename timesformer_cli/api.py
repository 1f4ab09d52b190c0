"""The two functions of the Python interface."""

import os
import warnings
from collections.abc import Iterable
from typing import Any, overload

from timesformer_cli.inference.classify import Options, Result, run
from timesformer_cli.inference.open import Form
from timesformer_cli.model import TimeSformer
from timesformer_cli.weights.catalogue import DEFAULT

Path = str | os.PathLike[str]


@overload
def load_model(
    name_or_path: Path = ..., *, device: str = ..., dtype: None = ...
) -> TimeSformer: ...
@overload
def load_model(name_or_path: Path = ..., *, device: str = ..., dtype: str) -> Form: ...
def load_model(
    name_or_path: Path = DEFAULT, *, device: str = "cpu", dtype: str | None = None
) -> TimeSformer | Form:
    """A model that maps normalised RGB clips, float `(b t c h w)`, to logits `(b classes)`.

    Takes what `--model` takes, and the device and dtype names of the command. Without a dtype it
    is the model as published, float32, ready to be trained; with one (auto, float32, bfloat16,
    float16, int8) it is what the command runs: faster, and it takes pixels too, uint8 RGB
    `(b t h w c)`. An exported file is only ever the latter. It carries `.config`, `.labels`,
    `.preprocessing` and `.sampling`. Raises WeightsError, DeviceError.
    """
    from timesformer_cli.inference.device import find_device
    from timesformer_cli.inference.open import ready
    from timesformer_cli.weights.load import load

    name = os.fspath(name_or_path)
    model: TimeSformer | Form
    if dtype is None:
        place = find_device(device)
        model, notes = load(name)
        model.to(place)
    else:
        model, notes = ready(name, device, dtype)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return model


def classify(
    videos: Path | Iterable[Path],
    model: Path | TimeSformer | Form = DEFAULT,
    **options: Any,
) -> list[Result]:
    """Classify one video or several: files, folders and globs, as the command takes them.

    `options` are the fields of `timesformer_cli.inference.classify.Options`. A video that cannot be
    read becomes a result with `status` "error"; nothing is raised for it.
    """
    from timesformer_cli.video import find_videos

    arguments = [videos] if isinstance(videos, str | os.PathLike) else videos
    if isinstance(model, str | os.PathLike):
        model = os.fspath(model)
    chosen = Options(model=model, **options)
    items = find_videos([os.fspath(path) for path in arguments])
    return list(run(items, chosen, lambda text: warnings.warn(text, stacklevel=4)))
