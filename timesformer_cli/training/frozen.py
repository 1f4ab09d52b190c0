"""A head on a backbone that stays as it is: no epochs, but features of every clip and one fit.

Each training clip is seen once, in its middle, and once mirrored where the recipe mirrors clips.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from timesformer_cli.errors import TsfError
from timesformer_cli.training.closed_head import ClosedHead, Numbers, fit_head
from timesformer_cli.training.processes import Processes
from timesformer_cli.training.samples import Features
from timesformer_cli.training.state import Position, TrainingCallbacks, TrainingStopped
from timesformer_cli.training.validate import ValidationScores, validate_model

if TYPE_CHECKING:
    from timesformer_cli.training.session import TrainingSession


def train_frozen(
    session: "TrainingSession", folder: Path, callbacks: TrainingCallbacks
) -> Position:
    """Fit the head and write the model; the history has one row, of clips left out in turn.

    Raises TrainingStopped when `callbacks.stopping` asks for it.
    """
    began = time.perf_counter()

    def heed() -> None:
        if callbacks.stopping():
            raise TrainingStopped(folder)

    heed()
    train, groups = session.frozen_samples(heed, callbacks.lost)
    classes = session.settings.classes
    known = np.array(train.targets)
    targets = known if session.settings.multi_label else np.eye(classes)[known]
    of_class = session.settings.class_weights
    weights = np.array(of_class)[known] if of_class else None
    head = fit_head(train.features.cpu().double().numpy(), targets, groups, weights=weights)
    with torch.no_grad():
        session.model.head.weight.copy_(torch.from_numpy(head.weight))
        session.model.head.bias.copy_(torch.from_numpy(head.bias))
    row: dict[str, Any] = {
        "epoch": 1,
        "loss": head.loss,
        "accuracy": _left_out_right(head, targets, several=session.settings.multi_label),
    }
    scores = _validated(session, heed, callbacks)
    if scores is not None:
        row |= scores.row()
    seconds = time.perf_counter() - began
    row |= {"strength": head.strength, "seconds": round(seconds, 2)}
    callbacks.note(
        f"the head is a ridge regression, {head.strength:.1g} strong, on {len(groups)} views; of "
        f"clips left out in turn, {row['accuracy']:.1%} are right"
    )
    session.write(session.model, folder, scores)
    callbacks.epoch([row])
    return Position(epoch=1, history=[row], best_epoch=1, seconds=seconds)


def _left_out_right(head: ClosedHead, targets: Numbers, *, several: bool) -> float:
    """The share of views whose answer is right when their clip is left out."""
    if several:
        return float(((head.answers >= 0) == (targets > 0)).all(axis=1).mean())
    return float((head.answers.argmax(axis=1) == targets.argmax(axis=1)).mean())


def _validated(
    session: "TrainingSession", heed: Callable[[], None], callbacks: TrainingCallbacks
) -> ValidationScores | None:
    held_out = session.held_out_clips()
    if held_out is None:
        return None
    settings = session.settings
    try:
        features = Features.of_clips(
            session.model, held_out, settings.dtype, heed=heed, lost=callbacks.lost
        )
    except TsfError:
        callbacks.note("nothing validates, since none of the validation clips can be read")
        return None
    return validate_model(
        session.model.head,
        features,
        settings.device,
        settings.dtype,
        Processes(),  # the others have gone home
        heed,
        classes=settings.classes,
        multi_label=settings.multi_label,
    )
