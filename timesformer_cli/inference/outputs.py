"""What one run of a model gives, whichever runtime it had."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from timesformer_cli.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ModelOutputs:
    """The outputs of one run, one row per clip: tensors on the CPU where torch ran it, else arrays.

    Those of a video are arrays.
    """

    # Softmax, sigmoids of a multi-label model, or likeness to words; float32 (b classes).
    scores: Any
    seconds: float  # that the model took for all rows
    features: Any = None  # input of the head, float32 (b d); None unless asked for
    view_scores: Any = None  # of a video's average: the scores (views classes) behind it


Pending = Callable[[], ModelOutputs]  # a run under way; calling it waits for the outputs


def no_number(name: str, dtype: str, advice: str) -> WeightsError:
    """The error of a model whose answer is NaN or infinite, with advice for a smaller dtype."""
    if dtype == "float32":
        advice = "its weights are spoilt; get it again, or train it with a lower learning rate"
    return WeightsError(f"{name}: its answer in {dtype} is no number (NaN or infinite); {advice}")


def as_floats(values: "Tensor | npt.ArrayLike") -> Floats:
    """An array of the values; of a tensor on the CPU, its own memory."""
    return np.asarray(values, np.float32)


def softmax(logits: Floats) -> Floats:
    """Shares that add up to 1 over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return shares
