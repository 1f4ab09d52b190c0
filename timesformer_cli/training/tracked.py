"""A training, told to a tracker as it goes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from timesformer_cli.training.options import PICTURE, RECIPE
from timesformer_cli.training.report import TrainingReport
from timesformer_cli.training.state import TrainingCallbacks
from timesformer_cli.training.trackers import confusion_picture, numbers_of, tracking
from timesformer_cli.weights.description import read_json

Conclude = Callable[[TrainingReport | None], None]


@contextmanager
def told(
    name: str | None, folder: Path, over: int, callbacks: TrainingCallbacks
) -> Iterator[tuple[TrainingCallbacks, Conclude]]:
    """Callbacks that tell the tracker of that name, too, and what to call with the report.

    `over` epochs are over already. Without a name nothing is told.
    """
    settings = read_json(folder / RECIPE) if name is not None else {}
    with tracking(name, folder, settings, over) as tracker:

        def epoch(history: list[dict[str, Any]]) -> None:
            if tracker is not None:
                tracker.numbers(numbers_of(history[-1]), history[-1]["epoch"])
            callbacks.epoch(history)

        def conclude(report: TrainingReport | None) -> None:
            if tracker is None or report is None:
                return
            last = report.history[-1]["epoch"]
            for split, scores in report.scores.items():
                picture = confusion_picture(scores.confusion, report.labels)
                if picture is not None:
                    tracker.picture(f"confusion/{split}", picture, last)
                tracker.numbers({f"best/{split}_accuracy": scores.accuracy}, last)

        if tracker is not None and not over and (folder / PICTURE).exists():
            with Image.open(folder / PICTURE) as picture:
                tracker.picture("batch", np.asarray(picture.convert("RGB")), 0)
        yield replace(callbacks, epoch=epoch), conclude
