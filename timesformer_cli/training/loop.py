"""The training loop: it may be stopped anywhere, and goes on as if it had not been.

Each epoch:
1. Draw the epoch's order and cut it into whole steps. Clips too few for one more step are left out;
   the next epoch draws another order.
2. Each step: set the learning rate, seed all draws with the seed and the number of the step, add up
   the gradients of `accumulate` batches, clip them, step the optimizer, update the average.
3. After each step: report it, stop where that was asked for, write a checkpoint where one is due.
4. After the last step: validate the resulting weights, add one row to the history, and hand the
   weights out where they are the best so far.

A step depends only on the weights, the optimizer, the seed and the position. So a checkpoint holds
these and no state of a random generator. A training that goes on in the middle of an epoch ends
with the same weights as one that was never stopped, on the CPU bit for bit.
"""

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from timesformer_cli.errors import TsfError, VideoError
from timesformer_cli.training.augment import Targets
from timesformer_cli.training.history import epoch_remarks, is_better, is_measured
from timesformer_cli.training.objective import regression_loss, right_clips, training_loss
from timesformer_cli.training.optimise import make_optimizer, set_rate
from timesformer_cli.training.processes import Processes
from timesformer_cli.training.randomness import STEP, seeded
from timesformer_cli.training.samples import Sample, Samples
from timesformer_cli.training.state import (
    Position,
    Settings,
    Tick,
    TrainingCallbacks,
    TrainingStopped,
)
from timesformer_cli.training.validate import ValidationScores, validate_model

# Between two checkpoints within an epoch pass at least SAVE_SECONDS, and at least SAVE_COST times
# as long as the last checkpoint took: together they take a twentieth of the time at most.
SAVE_SECONDS, SAVE_COST = 60.0, 20


class Training:
    """A module in training: its weights, their average, the optimizer and the position."""

    def __init__(
        self,
        learner: nn.Module,
        settings: Settings,
        processes: Processes,
        callbacks: TrainingCallbacks,
    ) -> None:
        self.learner, self.settings = learner, settings
        self.processes, self.callbacks = processes, callbacks
        self.average: ModelEmaV3 | None = None
        if settings.recipe.average is not None:
            self.average = ModelEmaV3(learner, settings.recipe.average, use_warmup=True)
        self.optimizer = make_optimizer(learner, settings.recipe)
        self.targets = Targets(settings.recipe, settings.classes)
        self.position = Position()
        self.best_scores: ValidationScores | None = None  # of the weights that were handed out
        self._lost: list[VideoError] = []  # clips that nobody was told of yet
        self._clips_a_step = settings.batch_size * settings.accumulate * processes.count
        self._saved, self._save_took = time.monotonic(), 0.0

    @property
    def result(self) -> nn.Module:
        """The weights that count: the averaged ones where the recipe averages."""
        module: nn.Module = self.learner if self.average is None else self.average.module
        return module

    def state(self) -> dict[str, Any]:
        """All that `load` needs to go on from here."""
        return {
            "learner": self.learner.state_dict(),
            "average": None if self.average is None else self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "position": vars(self.position),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go to where the checkpoint was written; the inverse of `state`."""
        self.learner.load_state_dict(state["learner"])
        if self.average is not None:
            self.average.module.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.position = Position(**state["position"])
        # The first process wrote the checkpoint. Its sums may count only once in the total.
        if not self.processes.first:
            self.position.sums = [0.0, 0.0, 0.0]

    def run(self, train: Samples, held_out: Samples | None) -> None:
        """Train to the end, from wherever the position is.

        Raises TrainingStopped, after a checkpoint, when `callbacks.stopping` asks for it. Raises
        TsfError for a loss that is not finite, and where no clip of a batch could be read.
        """
        self._save_after(0)  # a training that is killed in its first minute can go on, too
        shared = self.processes.share(self.learner, self.settings.device)
        while not self.finished:
            self._epoch(shared, train)
            self._conclude(self.validate(held_out) if held_out is not None else None)
            self._save_after(SAVE_COST * self._save_took)
        self._save_after(0)

    @property
    def finished(self) -> bool:
        """Whether all epochs are over, or `patience` epochs have passed without a better one."""
        position, patience = self.position, self.settings.patience
        stale = patience is not None and position.epoch - position.best_epoch >= patience
        return position.epoch >= self.settings.recipe.epochs or stale

    def validate(self, samples: Samples) -> ValidationScores:
        """The scores of the resulting weights on held-out samples."""
        settings = self.settings
        return validate_model(
            self.result,
            samples,
            settings.device,
            settings.dtype,
            self.processes,
            self._heed,
            classes=settings.classes,
            multi_label=settings.multi_label,
            tell=self.callbacks.lost,
        )

    def _epoch(self, shared: nn.Module, samples: Samples) -> None:
        """Take the steps that are left of the epoch."""
        position, settings = self.position, self.settings
        steps, epochs = len(samples) // self._clips_a_step, settings.recipe.epochs
        stream = samples.stream(self._indices(samples, steps), position.epoch)
        self.learner.train()
        before, began = position.step, time.perf_counter()  # both for the pace since a resume
        while position.step < steps:
            done = position.epoch * steps + position.step
            set_rate(self.optimizer, settings.recipe.rate(done, epochs * steps, self._clips_a_step))
            # Drop path and mixing draw in here; each process draws its own.
            with seeded(settings.seed, STEP, done, self.processes.rank):
                self._step(shared, stream)
            if self.average is not None:
                self.average.update(self.learner, done + 1)
            position.step += 1
            each = (time.perf_counter() - began) / (position.step - before)
            self.callbacks.tick(
                Tick(
                    position.epoch + 1,
                    epochs,
                    position.step,
                    steps,
                    *position.means,
                    clips_per_second=self._clips_a_step / each,
                    seconds_left=each * (epochs * steps - done - 1),
                )
            )
            self._heed()
            self._save_after(max(SAVE_SECONDS, SAVE_COST * self._save_took))
        position.seconds += time.perf_counter() - began

    def _indices(self, samples: Samples, steps: int) -> list[int]:
        """The numbers of this process's samples in what is left of the epoch.

        With batches of 2 and two processes: `0 0 1 1 0 0 1 1`, the process that takes each sample.
        """
        own, together = self.settings.batch_size, self.settings.batch_size * self.processes.count
        first, end = self.position.step * self._clips_a_step, steps * self._clips_a_step
        left = samples.order(self.position.epoch)[first:end]
        rank = self.processes.rank
        return [index for place, index in enumerate(left) if place % together // own == rank]

    def _step(self, shared: nn.Module, stream: Iterator[Sample | VideoError]) -> None:
        settings = self.settings
        self.optimizer.zero_grad()
        for part in range(1, settings.accumulate + 1):
            inputs, numbers, *beside = self._batch(stream)
            inputs, targets = self.targets(inputs, numbers)
            with self._gradients_meet(shared, last=part == settings.accumulate):
                with torch.autocast(
                    settings.device.type, settings.dtype, enabled=settings.dtype != torch.float32
                ):
                    outputs = shared(inputs)
                logits = outputs[:, : settings.classes].float()
                loss = training_loss(
                    logits,
                    targets,
                    multi_label=settings.multi_label,
                    weights=settings.class_weights,
                    smoothing=settings.recipe.label_smoothing,
                )
                for known in beside:
                    loss = loss + regression_loss(outputs[:, settings.classes :].float(), known)
                (loss / settings.accumulate).backward()  # type: ignore[no-untyped-call]
            self._count(loss.item(), logits, numbers)
        if settings.recipe.clip_gradient is not None:
            # A clip that weighs ten times as much has ten times the gradient. Cut to the norm of the
            # others, rare classes hardly count (120 to 6 clips: recall 59, 0, 43 % for 77, 84, 92).
            most = settings.recipe.clip_gradient * max((1.0, *settings.class_weights))
            nn.utils.clip_grad_norm_(self.learner.parameters(), most)
        self.optimizer.step()

    @staticmethod
    def _gradients_meet(shared: nn.Module, *, last: bool) -> AbstractContextManager[None]:
        """Let the processes average their gradients once per step, after its last batch.

        DistributedDataParallel would do so after every batch.
        """
        if last or not isinstance(shared, nn.parallel.DistributedDataParallel):
            return nullcontext()
        return shared.no_sync()

    def _batch(self, stream: Iterator[Sample | VideoError]) -> tuple[Tensor, ...]:
        """Inputs, classes, and where the samples have them the numbers beside their classes."""
        samples: list[Sample] = []
        for sample in islice(stream, self.settings.batch_size):
            if isinstance(sample, VideoError):
                self._lost.append(sample)
            else:
                samples.append(sample)
        if not samples:
            named = "; ".join(map(str, self._lost))
            raise TsfError(f"none of the clips of a batch could be read: {named}")
        inputs, numbers, *beside = zip(*samples, strict=True)
        device = self.settings.device
        stacked = [torch.stack(tensors).to(device) for tensors in beside]
        return torch.stack(inputs), torch.tensor(numbers, device=device), *stacked

    def _count(self, loss: float, logits: Tensor, numbers: Tensor) -> None:
        # Checked before the optimizer's step, so no such loss gets into the weights.
        if not math.isfinite(loss):
            where = f"epoch {self.position.epoch + 1}, step {self.position.step + 1}"
            raise TsfError(f"the loss is {loss} in {where}; try a lower --learning-rate")
        right = int(right_clips(logits, numbers).sum())
        added = (loss * len(numbers), right, len(numbers))
        self.position.sums = [a + b for a, b in zip(self.position.sums, added, strict=True)]

    def _conclude(self, scores: ValidationScores | None) -> None:
        """Add a row to the history and hand out weights that are the best so far.

        The best have the highest accuracy (mean class accuracy where classes are balanced, mean
        average precision where clips may have several labels), and among those the lowest loss.
        Scores on other clips are not compared. Raises TsfError for weights that are not finite.
        """
        position = self.position
        self._require_finite(scores)
        position.sums = self.processes.sum(position.sums)
        loss, accuracy = position.means
        row: dict[str, Any] = {"epoch": position.epoch + 1, "loss": loss, "accuracy": accuracy}
        row["learning_rate"] = max(group["lr"] for group in self.optimizer.param_groups)
        if scores is not None and scores.clips:
            row |= scores.row()
        row["seconds"] = round(position.seconds, 2)
        best = position.history[position.best_epoch - 1] if position.best_epoch else None
        before = position.history[-1] if position.history else {}
        position.history.append(row)
        position.epoch, position.step, position.sums = position.epoch + 1, 0, [0.0, 0.0, 0.0]
        for remark in epoch_remarks(row, before, best, scores):
            self.callbacks.note(remark)
        if best is None or is_better(row, best, balanced=self.settings.balanced):
            position.best_epoch = position.epoch
            self.best_scores = scores if is_measured(row) else None
            # Where nothing validates, only the weights of the last epoch are handed out.
            if is_measured(row) or self.finished:
                self.callbacks.best()
        self.callbacks.epoch(position.history)

    def _require_finite(self, scores: ValidationScores | None) -> None:
        """Raise TsfError, before anything is written, for weights that are no numbers any more."""
        position = self.position
        if all(bool(part.isfinite().all()) for part in self.result.state_dict().values()):
            return
        said = "" if scores is None else f" (the validation loss is {scores.loss})"
        best = position.best_epoch
        is_there = best and is_measured(position.history[best - 1])
        kept = f"the model of epoch {best} is kept" if is_there else "no model was written"
        raise TsfError(
            f"the weights are not finite after epoch {position.epoch + 1}{said}; {kept}, and the last "
            "checkpoint is from before; try a lower --learning-rate"
        )

    def _heed(self) -> None:
        """Stop all processes where one of them is asked to; each hears of the clips that any lost."""
        lost = [(error.kind, str(error)) for error in self._lost]
        self._lost.clear()
        gathered = self.processes.gather((self.callbacks.stopping(), lost))
        for kind, message in (error for _, lost in gathered for error in lost):
            self.callbacks.lost(VideoError(kind, message))
        if any(stopping for stopping, _ in gathered):
            self._save_after(0)
            raise TrainingStopped

    def _save_after(self, seconds: float) -> None:
        """Write a checkpoint where the last one is at least `seconds` old."""
        if time.monotonic() - self._saved >= seconds and self.processes.first:
            began = time.monotonic()
            self.callbacks.save(self.state())
            self._saved = time.monotonic()
            self._save_took = self._saved - began
