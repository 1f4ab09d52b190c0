"""Scores of a model on held-out clips."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import torch
import torch.nn.functional as F
from torch import nn

from timesformer_cli.errors import VideoError
from timesformer_cli.training.processes import Processes
from timesformer_cli.training.samples import BATCH, Samples


@dataclass(frozen=True, slots=True)
class ValidationScores:
    """Scores over all clips that could be read."""

    loss: float  # mean per clip
    accuracy: float  # top-1, from 0 to 1
    confusion: dict[tuple[int, int], int]  # clips per pair of label and prediction


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
) -> ValidationScores:
    """Score all samples that can be read, divided among the processes.

    `heed` is called after each batch, where there is only one process. Of the model's outputs the
    first `classes` are the classes; without it, all are.
    """
    training = model.training
    model.eval()
    stream = samples.stream(range(processes.rank, len(samples), processes.count), 0)
    losses, confusion = 0.0, Counter[tuple[int, int]]()
    while batch := list(islice(stream, BATCH)):
        known = [sample for sample in batch if not isinstance(sample, VideoError)]
        if known:
            clips, targets, *_ = zip(*known, strict=True)
            inputs, numbers = torch.stack(clips), torch.tensor(targets, device=device)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                logits = model(inputs)[:, :classes].float()
            losses += F.cross_entropy(logits, numbers, reduction="sum").item()
            confusion.update(zip(numbers.tolist(), logits.argmax(dim=1).tolist(), strict=True))
        # Heeding may wait for all processes, and they may have different numbers of batches.
        if processes.count == 1:
            heed()
    model.train(training)
    gathered = processes.gather((losses, confusion))
    together = sum((cells for _, cells in gathered), Counter[tuple[int, int]]())
    count = max(1, together.total())
    right = sum(count for (label, given), count in together.items() if label == given)
    return ValidationScores(
        sum(loss for loss, _ in gathered) / count, right / count, dict(together)
    )
