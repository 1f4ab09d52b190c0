"""What a training is told, what it has come to, and whom it tells."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from timesformer_cli.callbacks import NoteCallback
from timesformer_cli.errors import VideoError
from timesformer_cli.training.recipe import Recipe

if TYPE_CHECKING:
    from timesformer_cli.training.check import Findings


class TrainingStopped(Exception):
    """The training was asked to stop and its checkpoint is written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How one process trains: `batch_size` clips at once, `accumulate` times a step.

    `patience` is the number of epochs without a better validation after which it ends.
    """

    recipe: Recipe
    classes: int
    batch_size: int
    accumulate: int = 1
    seed: int = 0
    patience: int | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32


@dataclass
class Position:
    """What a training has come to; with the weights, all that a checkpoint holds.

    `sums` are this epoch's loss, right answers and clips; `history` has a row an epoch.
    """

    epoch: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0

    @property
    def means(self) -> tuple[float, float]:
        """Loss and accuracy of this epoch so far."""
        loss, right, clips = self.sums
        return loss / max(1.0, clips), right / max(1.0, clips)


@dataclass(frozen=True, slots=True)
class Tick:
    """After `step` of an epoch's `steps`: its means so far, the pace, and what is left."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    clips_per_second: float
    seconds_left: float


def _nothing(*told: Any) -> None:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingCallbacks:
    """Who hears of a training, in the order in which things happen; all that is not given is
    ignored.
    """

    note: NoteCallback = _nothing
    checked: Callable[[int, int], None] = _nothing  # so many clips were looked at, of so many
    found: "Callable[[Findings], None]" = _nothing  # what all of them are
    started: Callable[[], None] = _nothing  # the first step is next
    tick: Callable[[Tick], None] = _nothing  # after every step
    epoch: Callable[[list[dict[str, Any]]], None] = _nothing  # the history, after every epoch
    lost: Callable[[VideoError], None] = _nothing  # a clip could not be read under way
    save: Callable[[dict[str, Any]], None] = _nothing  # writes a checkpoint
    best: Callable[[], None] = _nothing  # called when validation improves
    stopping: Callable[[], bool] = lambda: False  # whether to stop
