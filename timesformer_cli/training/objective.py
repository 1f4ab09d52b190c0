"""What is learned: one class per clip, or each class by itself where a clip may have several."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def training_loss(
    logits: Tensor, targets: Tensor, *, multi_label: bool, weights: Sequence[float] = ()
) -> Tensor:
    """The mean loss of logits and targets `(b classes)`: cross-entropy, or that of each class.

    `weights` are those of the classes; where each is learned by itself, of having it.
    """
    weight = torch.tensor(weights, device=logits.device) if weights else None
    if multi_label:
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight)
    return F.cross_entropy(logits, targets, weight)


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
