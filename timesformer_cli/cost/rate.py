"""What a model should cost on a machine whose matrix products are that fast."""

from dataclasses import dataclass

from timesformer_cli.config import ModelConfig
from timesformer_cli.cost.memory import ITEM_BYTES, activation_bytes
from timesformer_cli.cost.work import of_encoder, parameters

# The width of tokens at which the fast form reaches half of the rate of a large matrix product in
# that dtype, roughly: narrower ones reach less. Measured on a Xeon with AMX (docs/models.md).
HALF_RATE_WIDTH = {"float32": 160, "bfloat16": 900, "float16": 900}
BUSY = 0.05  # a share above which a rate is lower than the machine's own


@dataclass(frozen=True, kw_only=True, slots=True)
class MachineRate:
    """How fast a device multiplies large matrices, and when that was measured."""

    device: str  # as --device takes it
    title: str  # as its maker calls it
    dtype: str  # that --dtype auto takes there
    gflops: float  # billions of operations a second
    measured: str  # the day, as 2026-11-26
    busy: float | None = None  # share of the processors' time that other programs took meanwhile


def expected_seconds(macs: float, width: int, rate: MachineRate) -> float:
    """The time of so many multiply-adds, at what models whose tokens are that wide reach of the rate."""
    reached = width / (width + HALF_RATE_WIDTH[rate.dtype])
    return 2 * macs / (reached * rate.gflops * 1e9)


def expected_bytes(config: ModelConfig, dtype: str, *, encoder: bool = False) -> int:
    """Weights and activations of one clip at the worst moment.

    Scores of attention are held whole only where they are capped. An `encoder` has neither pooler nor head.
    """
    item = ITEM_BYTES[dtype]
    weights = of_encoder(config)[1] if encoder else parameters(config)
    return weights * item + activation_bytes(config, item_bytes=item, kernel="fused")
