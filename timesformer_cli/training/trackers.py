"""Trackers that a training is followed in: TensorBoard, Trackio, Weights & Biases.

Each gets a number for every entry of a row of the history, the picture of the first batch, and the
confusion of each held-out split as a picture. Nothing of this takes part in the training.
"""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from timesformer_cli.errors import UsageError
from timesformer_cli.installing import how_to_install
from timesformer_cli.video.facts import Pixels

PROJECT = "tsf"
CELL, MARGIN, LETTERS = 34, 150, 20  # pixels of a confusion's cell and its names; letters of these
WIDEST = 40  # classes up to which the confusion is drawn


class Tracker(Protocol):
    """What a training tells a tracker; epochs are counted from 1."""

    def numbers(self, values: Mapping[str, float], epoch: int) -> None:
        """Numbers of an epoch, by name."""
        ...

    def picture(self, name: str, pixels: Pixels, epoch: int) -> None:
        """A picture, RGB `(h w 3)`."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class _TensorBoard:
    def __init__(self, folder: Path, settings: Mapping[str, Any], after: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Whatever a run that was killed wrote of later epochs is void: they come again.
        self._writer = SummaryWriter(str(folder), purge_step=after + 1)
        if not after:
            text = json.dumps(settings, indent=2)
            self._writer.add_text("settings", f"```\n{text}\n```", 0)

    def numbers(self, values: Mapping[str, float], epoch: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def picture(self, name: str, pixels: Pixels, epoch: int) -> None:
        self._writer.add_image(name, pixels, epoch, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _Logged:
    """Trackio and Weights & Biases, which have one interface."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def numbers(self, values: Mapping[str, float], epoch: int) -> None:
        self._module.log(dict(values), step=epoch)

    def picture(self, name: str, pixels: Pixels, epoch: int) -> None:
        self._module.log({name: self._module.Image(pixels)}, step=epoch)

    def close(self) -> None:
        self._module.finish()


def _trackio(folder: Path, settings: Mapping[str, Any], after: int) -> Tracker:
    import trackio

    # A run is known by its name, which is also a folder for its pictures.
    name = f"{folder.name}-{settings['run']}"
    trackio.init(project=PROJECT, name=name, config=dict(settings), resume="allow", embed=False)
    return _Logged(trackio)


def _wandb(folder: Path, settings: Mapping[str, Any], after: int) -> Tracker:
    import wandb

    wandb.init(
        project=PROJECT,
        name=folder.name,
        id=settings["run"],
        resume="allow",
        dir=folder,
        config=dict(settings),
    )
    return _Logged(wandb)


OPENERS: Mapping[str, Callable[[Path, Mapping[str, Any], int], Tracker]] = {
    "tensorboard": _TensorBoard,
    "trackio": _trackio,
    "wandb": _wandb,
}


def require_tracker(name: str | None) -> None:
    """Raise UsageError for a tracker that is not installed."""
    if name is not None and importlib.util.find_spec(name) is None:
        raise UsageError(f"--log {name} needs a package: {how_to_install(name)}")


@contextmanager
def tracking(
    name: str | None, folder: Path, settings: Mapping[str, Any], after: int
) -> Iterator[Tracker | None]:
    """The tracker of that name for the length of the block, or None; `after` epochs are over."""
    if name is None:
        yield None
        return
    require_tracker(name)
    with redirect_stdout(sys.stderr):  # Trackio says on stdout where to look
        tracker = OPENERS[name](folder, settings, after)
    try:
        yield tracker
    finally:
        with redirect_stdout(sys.stderr):
            tracker.close()


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """What of a history's row a tracker plots: all that is known but the epoch."""
    return {name: value for name, value in row.items() if name != "epoch" and value is not None}


def confusion_picture(
    confusion: Mapping[tuple[int, int], int], labels: Sequence[str]
) -> Pixels | None:
    """Clips of each class (rows) that were given each answer; None for more classes than can be read.

    A cell's blue is its share of the row.
    """
    count = len(labels)
    if count > WIDEST or not confusion:
        return None
    side = MARGIN + CELL * count
    sheet = Image.new("RGB", (side, side), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for row, label in enumerate(labels):
        at = MARGIN + CELL * row
        pen.text((4, at + 10), label[:LETTERS], "black", font)
        name = Image.new("RGB", (MARGIN, CELL), "white")
        ImageDraw.Draw(name).text((4, 10), label[:LETTERS], "black", font)
        sheet.paste(name.rotate(90, expand=True), (at, 0))
        total = sum(confusion.get((row, column), 0) for column in range(count))
        for column in range(count):
            clips = confusion.get((row, column), 0)
            share = clips / max(1, total)
            left = MARGIN + CELL * column
            pale = round(255 * (1 - share))
            pen.rectangle((left, at, left + CELL - 2, at + CELL - 2), (pale, pale, 255))
            if clips:
                pen.text((left + 6, at + 10), str(clips), "white" if share > 0.5 else "black", font)
    return np.asarray(sheet)
