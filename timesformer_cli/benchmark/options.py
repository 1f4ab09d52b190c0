"""The options of the two benchmarks."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timesformer_cli.weights.hub.locate import Located


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemeBenchmarkOptions:
    """The options of `tsf benchmark` without `--model`."""

    attention: tuple[str, ...] = ("paper",)  # schemes; `paper` and `all` name several
    frames: tuple[int, ...] = (8,)
    image_sizes: tuple[int, ...] = (224,)  # pixels, height and width
    size: str = "base"
    batch_size: int = 1
    device: str = "auto"
    dtype: str = "auto"
    kernel: str = "auto"  # of attention: auto, math or fused
    measure: bool = True  # False leaves the rows on paper
    runs: int | None = None  # None chooses by the time that a run takes
    warmup: int | None = None  # likewise
    memory_limit: int | None = None  # bytes; None allows nine tenths of what is free
    train: bool = False  # whether a run is a training step
    checkpoint_gradients: bool = False
    compile: bool = False
    debug: bool = False  # whether the messages of measuring processes reach stderr


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelBenchmarkOptions:
    """The options of `tsf benchmark --model`."""

    models: "tuple[str | Located, ...]"
    batch_size: int = 1
    device: str = "auto"  # of checkpoints; an exported file has its own
    dtype: str = "auto"  # likewise
    runs: int | None = None  # per model; None runs the slowest model for about 5 seconds
