"""What is learned: one class per clip, or each class by itself where a clip may have several."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def training_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    multi_label: bool,
    weights: Sequence[float] = (),
    smoothing: float = 0.0,
) -> Tensor:
    """The mean loss of logits and targets `(b classes)`: cross-entropy, or that of each class.

    `weights` are those of the classes: a clip counts as its own do, or, where each class is learned
    by itself, having one counts so much more than not having it. `smoothing` is what the targets
    were smoothed by, which must not count: the share that a common clip leaves to a rare class would
    else weigh as much as the clip itself.
    """
    if multi_label:
        each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        if weights:
            has = (targets - smoothing / 2) / (1 - smoothing)
            each = each * (1 + (logits.new_tensor(weights) - 1) * has)
        return each.mean()
    if not weights:
        return F.cross_entropy(logits, targets)
    shares = (targets - smoothing / targets.shape[1]) / (1 - smoothing)
    of_clip = shares @ logits.new_tensor(weights)
    return (F.cross_entropy(logits, targets, reduction="none") * of_clip).mean()


def known_loss(logits: Tensor, known: Tensor) -> Tensor:
    """The sum over clips of the loss of what is known: class numbers `(b)`, or 1 and 0 for each."""
    if known.ndim == 2:
        each = F.binary_cross_entropy_with_logits(logits, known, reduction="none")
        return each.mean(dim=1).sum()
    return F.cross_entropy(logits, known, reduction="sum")


def right_clips(logits: Tensor, known: Tensor) -> Tensor:
    """Which clips are right `(b)`: their best class, or every class on its side of a half."""
    if known.ndim == 2:
        return ((logits >= 0) == (known > 0)).all(dim=1)
    return logits.argmax(dim=1) == known


def regression_loss(outputs: Tensor, known: Tensor) -> Tensor:
    """The mean distance of outputs from the numbers that are known, squared where it is small."""
    # Where nothing is known, an output is as far from itself as it should be.
    return F.smooth_l1_loss(outputs, torch.where(known.isnan(), outputs.detach(), known), beta=0.5)
