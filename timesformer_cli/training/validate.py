"""Scores of a model on held-out clips."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from timesformer_cli.dataset.metrics import mean_class_accuracy
from timesformer_cli.dataset.multi_label import MultiLabelScores, score_labels
from timesformer_cli.errors import VideoError
from timesformer_cli.training.objective import known_loss
from timesformer_cli.training.processes import Processes
from timesformer_cli.training.samples import BATCH, Samples

# Scores of some clips, each class by itself, and which classes they have: 1 and 0.
Pair = tuple[list[list[float]], list[list[float]]]


@dataclass(frozen=True, slots=True)
class ValidationScores:
    """Scores over all clips that could be read."""

    loss: float  # mean per clip
    # From 0 to 1: top-1, or the share of clips that get their labels and no other.
    accuracy: float
    # Clips per pair of label and prediction; empty where clips may have several labels.
    confusion: dict[tuple[int, int], int]
    clips: int
    several: MultiLabelScores | None = None  # where clips may have several labels
    lost: tuple[int, ...] = ()  # the numbers of the clips that could not be read

    def row(self) -> dict[str, Any]:
        """What a history says of them; there must be clips that could be read."""
        row: dict[str, Any] = {"val_loss": self.loss, "val_accuracy": self.accuracy}
        if self.several is None:
            row["val_mean_class_accuracy"] = mean_class_accuracy(self.confusion)
        else:
            row |= {"val_map": self.several.mean_average_precision, "val_f1": self.several.f1}
        return row | ({"val_lost": list(self.lost)} if self.lost else {})


@torch.no_grad()
def validate_model(
    model: nn.Module,
    samples: Samples,
    device: torch.device,
    dtype: torch.dtype,
    processes: Processes,
    heed: Callable[[], None] = lambda: None,
    *,
    classes: int | None = None,
    multi_label: bool = False,
    labels: Sequence[str] = (),
    thresholds: Sequence[float] | None = None,
    tell: Callable[[VideoError], None] = lambda error: None,
) -> ValidationScores:
    """Score all samples that can be read, divided among the processes.

    `heed` is called after each batch, where there is only one process. Of the model's outputs the
    first `classes` are the classes; without it, all are. With `multi_label` each class is decided by
    itself, at these thresholds or else at those that are best on these samples; `labels` names the
    classes in the scores. `tell` hears of each clip that cannot be read.
    """
    training = model.training
    model.eval()
    own = range(processes.rank, len(samples), processes.count)
    stream = zip(own, samples.stream(own, 0), strict=True)
    losses, confusion = 0.0, Counter[tuple[int, int]]()
    pairs: list[Pair] = []
    lost: dict[int, VideoError] = {}
    while batch := list(islice(stream, BATCH)):
        known = [sample for _, sample in batch if not isinstance(sample, VideoError)]
        lost |= {number: each for number, each in batch if isinstance(each, VideoError)}
        if known:
            clips, targets, *_ = zip(*known, strict=True)
            inputs, numbers = torch.stack(clips), torch.tensor(targets, device=device)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                logits = model(inputs)[:, :classes].float()
            losses += known_loss(logits, numbers).item()
            if multi_label:
                pairs.append((logits.sigmoid().tolist(), numbers.tolist()))
            else:
                confusion.update(zip(numbers.tolist(), logits.argmax(dim=1).tolist(), strict=True))
        # Heeding may wait for all processes, and they may have different numbers of batches.
        if processes.count == 1:
            heed()
    model.train(training)
    told = {number: (error.kind, str(error)) for number, error in lost.items()}
    gathered = processes.gather((losses, confusion, pairs, told))
    losses = sum(loss for loss, *_ in gathered)
    unread = dict(sorted(item for *_, of_process in gathered for item in of_process.items()))
    for kind, message in unread.values():
        tell(VideoError(kind, message))
    if multi_label:
        every = [pair for *_, of_process, _ in gathered for pair in of_process]
        return _of_several(losses, every, labels, thresholds, tuple(unread))
    together = sum((cells for _, cells, *_ in gathered), Counter[tuple[int, int]]())
    count = max(1, together.total())
    right = sum(count for (label, given), count in together.items() if label == given)
    return ValidationScores(
        losses / count, right / count, dict(together), together.total(), lost=tuple(unread)
    )


def _of_several(
    losses: float,
    pairs: Sequence[Pair],
    labels: Sequence[str],
    thresholds: Sequence[float] | None,
    lost: tuple[int, ...],
) -> ValidationScores:
    scores = np.array([row for rows, _ in pairs for row in rows], dtype=np.float64)
    truth = np.array([row for _, rows in pairs for row in rows], dtype=np.float64) > 0
    names = labels or [str(number) for number in range(scores.shape[-1])]
    shape = len(scores), len(names)
    scores, truth = scores.reshape(shape), truth.reshape(shape)
    several = score_labels(truth, scores, names, thresholds)
    clips = len(scores)
    return ValidationScores(losses / max(1, clips), several.exact, {}, clips, several, lost)
