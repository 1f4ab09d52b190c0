"""The rows of a benchmark: what a configuration costs on paper, then what was measured of it."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from timesformer_cli import cost
from timesformer_cli.benchmark.options import SchemeBenchmarkOptions
from timesformer_cli.config import ModelConfig

# What the published form gets when nobody chooses: torch takes a fused kernel wherever one fits.
AUTO_KERNEL: cost.Kernel = "fused"
TRAINING = 3  # a training step multiplies about three times as much: forward, and back twice
KERNELS: dict[str, cost.Kernel] = {"auto": AUTO_KERNEL, "math": "math", "fused": "fused"}


@dataclass(frozen=True, slots=True)
class MacsSplit:
    """Multiply-adds by where they are spent; `projections` takes in every linear map outside the
    MLPs: patches, q k v, output, the extra maps and the head.
    """

    projections: float
    attention: float
    mlp: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of a batch."""

    median: float
    p10: float
    p90: float


@dataclass(frozen=True, slots=True)
class SchemeRow:
    """One configuration; what was not computed or not measured is None.

    Giga multiply-adds (and twice as many floating-point operations) are those of one view; bytes
    are of the weights and of all that is alive beside them, at the batch size.
    """

    attention: str
    frames: int
    image_size: int
    size: str
    batch_size: int
    tokens: int | None = None
    comparisons_per_token: int | None = None
    parameters: int | None = None
    gmacs: float | None = None
    gflops: float | None = None
    gmacs_split: MacsSplit | None = None
    score_elements: int | None = None
    predicted_peak_bytes: int | None = None
    measured_peak_bytes: int | None = None
    latency_ms: Latency | None = None
    clips_per_second: float | None = None
    gflops_per_second: float | None = None
    share_of_peak: float | None = None
    status: str = "skipped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Details:
    """What to know of a row beside its numbers: how it was measured, or why it was not."""

    runs: int | None = None
    warmup: int | None = None
    noisy: str = ""
    resident_growth_bytes: int | None = None
    product_gflops_per_second: float | None = None
    reason: str = ""
    failed: bool = False


def on_paper(config: ModelConfig, options: SchemeBenchmarkOptions, item_bytes: int) -> SchemeRow:
    """A row with all that follows from the definition; an element takes so many bytes."""
    spent = cost.macs(config)
    weights = cost.weight_bytes(config, item_bytes=item_bytes)
    activations = cost.activation_bytes(
        config,
        batch_size=options.batch_size,
        item_bytes=item_bytes,
        kernel=KERNELS[options.kernel],
        train=options.train,
        checkpoint_gradients=options.checkpoint_gradients,
    )
    return SchemeRow(
        attention=config.attention,
        frames=config.frames,
        image_size=config.height,
        size=options.size,
        batch_size=options.batch_size,
        tokens=cost.tokens(config),
        comparisons_per_token=cost.comparisons_per_token(config),
        parameters=cost.parameters(config),
        gmacs=spent.total / 1e9,
        gflops=2 * spent.total / 1e9,
        gmacs_split=MacsSplit(
            projections=(spent.embedding + spent.projections + spent.head) / 1e9,
            attention=spent.attention / 1e9,
            mlp=spent.mlp / 1e9,
        ),
        score_elements=cost.score_elements(config),
        predicted_peak_bytes=weights + activations,
    )


def measured(
    row: SchemeRow, answer: dict[str, Any], options: SchemeBenchmarkOptions
) -> tuple[SchemeRow, Details]:
    """The row with what a measuring process answered."""
    if answer["status"] != "ok":
        status = "oom" if answer["status"] == "oom" else "skipped"
        failed = answer["status"] == "failed"
        return replace(row, status=status), Details(reason=answer["reason"], failed=failed)
    latency = Latency(*(round(answer[name], 3) for name in ("median", "p10", "p90")))
    seconds = answer["median"] / 1000
    speed = _gflops(row, options) * row.batch_size / seconds
    product = answer["product_flops"] / 1e9
    row = replace(
        row,
        measured_peak_bytes=answer["peak_bytes"],
        latency_ms=latency,
        clips_per_second=round(row.batch_size / seconds, 4),
        gflops_per_second=round(speed, 2),
        share_of_peak=round(speed / product, 4),
        status="ok",
    )
    return row, Details(
        runs=answer["runs"],
        warmup=answer["warmup"],
        noisy=answer["noisy"],
        resident_growth_bytes=answer["resident_growth"],
        product_gflops_per_second=round(product, 2),
    )


def _gflops(row: SchemeRow, options: SchemeBenchmarkOptions) -> float:
    """What a view takes; beside its checkpointed gradients, all but each block's last map again."""
    assert row.gflops is not None and row.gmacs_split is not None
    again = row.gflops - row.gmacs_split.mlp if options.checkpoint_gradients else 0.0
    return TRAINING * row.gflops + again if options.train else row.gflops


def row_to_dict(row: SchemeRow) -> dict[str, Any]:
    """The row, field for field."""
    return asdict(row)
