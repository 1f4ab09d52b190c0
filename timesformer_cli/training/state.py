"""The settings of a training loop, its position, and the callbacks that hear of it."""

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
    """How one process trains."""

    recipe: Recipe
    classes: int
    multi_label: bool = False
    class_weights: tuple[float, ...] = ()  # in the loss; none means that all classes count alike
    balanced: bool = False  # whether the best epoch is that of the highest mean class accuracy
    batch_size: int  # clips at once
    accumulate: int = 1  # batches per step
    seed: int = 0
    patience: int | None = None  # epochs without a better validation after which it ends
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32


@dataclass
class Position:
    """How far a training has come; a checkpoint holds it beside the weights and the optimizer."""

    epoch: int = 0  # epochs that are over
    step: int = 0  # steps that are over in this epoch
    # This epoch's loss, right answers and clips, added up.
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    history: list[dict[str, Any]] = field(default_factory=list)  # one row per epoch
    best_epoch: int = 0  # counted from 1
    seconds: float = 0.0  # spent on steps

    @property
    def means(self) -> tuple[float, float]:
        """Loss and accuracy of this epoch so far."""
        loss, right, clips = self.sums
        return loss / max(1.0, clips), right / max(1.0, clips)


@dataclass(frozen=True, slots=True)
class Tick:
    """What is reported after each step."""

    epoch: int  # counted from 1
    epochs: int
    step: int  # of this epoch, counted from 1
    steps: int  # per epoch
    loss: float  # mean of this epoch so far
    accuracy: float  # of this epoch so far
    clips_per_second: float
    seconds_left: float  # until the last epoch is over


def _nothing(*told: Any) -> None:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingCallbacks:
    """What a training calls, in the order in which things happen. The defaults do nothing."""

    note: NoteCallback = _nothing
    checked: Callable[[int, int], None] = _nothing  # (done, total): one more clip was checked
    found: "Callable[[Findings], None]" = _nothing  # all clips were checked
    started: Callable[[], None] = _nothing  # the first step is next
    seen: Callable[[int, int], None] = _nothing  # (done, total): a frozen network saw one more clip
    tick: Callable[[Tick], None] = _nothing  # after every step
    epoch: Callable[[list[dict[str, Any]]], None] = _nothing  # after every epoch, with the history
    lost: Callable[[VideoError], None] = _nothing  # a clip could not be read during training
    save: Callable[[dict[str, Any]], None] = _nothing  # writes this state as a checkpoint
    best: Callable[[], None] = _nothing  # called when validation improves
    stopping: Callable[[], bool] = lambda: False  # True asks the training to stop
