"""What a model costs on paper: multiply-adds, parameters, memory. No torch, no weights.

A `ModelConfig` goes in, numbers come out. The one idea: a scheme's groupings say how many groups
there are and how many tokens each of them holds, so every cost is a closed form over the rows that
the model itself is built from. `work` counts multiply-adds and parameters, `memory` the bytes alive
at the worst moment, `crossovers` the clip lengths at which two schemes change places; `published`
holds the papers' own numbers.
"""

from timesformer_cli.cost.memory import ITEM_BYTES, Kernel, activation_bytes, weight_bytes
from timesformer_cli.cost.work import (
    Macs,
    comparisons_per_token,
    macs,
    of_encoder,
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
    "of_encoder",
    "parameters",
    "score_elements",
    "tokens",
    "weight_bytes",
]
