"""What a model costs on paper, read off its configuration and scheme; no torch, no weights."""

from timesformer_cli.cost.memory import ITEM_BYTES, Kernel, activation_bytes, weight_bytes
from timesformer_cli.cost.work import (
    Macs,
    comparisons_per_token,
    macs,
    parameters,
    score_elements,
    tokens,
)

__all__ = [
    "ITEM_BYTES",
    "Kernel",
    "Macs",
    "activation_bytes",
    "comparisons_per_token",
    "macs",
    "parameters",
    "score_elements",
    "tokens",
    "weight_bytes",
]
