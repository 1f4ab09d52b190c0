"""What the two benchmarks can be told."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timesformer_cli.weights.hub.locate import Located


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemeBenchmarkOptions:
    """What `tsf benchmark` can be told; `runs` and `warmup` None: chosen by the time a run takes;
    `memory_limit` in bytes, None: what is free. Of schemes named together, `paper` or `all`, those
    that fit.
    """

    attention: tuple[str, ...] = ("paper",)
    frames: tuple[int, ...] = (8,)
    image_sizes: tuple[int, ...] = (224,)
    size: str = "base"
    batch_size: int = 1
    device: str = "auto"
    dtype: str = "auto"
    kernel: str = "auto"
    measure: bool = True
    runs: int | None = None
    warmup: int | None = None
    memory_limit: int | None = None
    train: bool = False
    checkpoint_gradients: bool = False
    compile: bool = False
    debug: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelBenchmarkOptions:
    """What `tsf benchmark --model` can be told; `runs` None: about 5 s of them each."""

    models: "tuple[str | Located, ...]"
    batch_size: int = 1
    device: str = "auto"
    dtype: str = "auto"
    runs: int | None = None
