"""The rows of a scheme benchmark: costs that follow from the definition, then measurements."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from timesformer_cli import cost
from timesformer_cli.benchmark.options import SchemeBenchmarkOptions
from timesformer_cli.config import ModelConfig

# torch, when it may choose, takes a fused kernel wherever one fits.
AUTO_KERNEL: cost.Kernel = "fused"
# A training step is about three forward passes: one forward, and two for the gradients of the
# weights and of the activations.
TRAINING = 3
KERNELS: dict[str, cost.Kernel] = {"auto": AUTO_KERNEL, "math": "math", "fused": "fused"}


@dataclass(frozen=True, slots=True)
class MacsSplit:
    """Giga multiply-adds by where they are spent."""

    projections: float  # all linear maps outside the MLPs: patches, q k v, output, extra, head
    attention: float  # the two products with the scores
    mlp: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds per batch."""

    median: float
    p10: float
    p90: float


@dataclass(frozen=True, slots=True)
class SchemeRow:
    """One configuration; what was not computed or not measured is None."""

    attention: str  # as in a configuration
    frames: int
    image_size: int
    size: str
    batch_size: int
    tokens: int | None = None
    comparisons_per_token: int | None = None
    parameters: int | None = None
    gmacs: float | None = None  # giga multiply-adds of one view
    gflops: float | None = None  # twice as many
    gmacs_split: MacsSplit | None = None
    score_elements: int | None = None
    # Weights and all that is alive beside them at the worst moment, at the batch size.
    predicted_peak_bytes: int | None = None
    measured_peak_bytes: int | None = None
    latency_ms: Latency | None = None
    clips_per_second: float | None = None
    gflops_per_second: float | None = None
    share_of_peak: float | None = None  # of the speed of a large matrix product
    status: Literal["skipped", "ok", "oom"] = "skipped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Details:
    """How a row was measured, or why it was not."""

    runs: int | None = None
    warmup: int | None = None
    noisy: str = ""  # why its times are not to be trusted; empty where they are
    resident_growth_bytes: int | None = None  # what the whole process grew by
    product_gflops_per_second: float | None = None  # the peak of `share_of_peak`
    reason: str = ""  # why there are no measurements
    failed: bool = False  # for another reason than memory


def on_paper(config: ModelConfig, options: SchemeBenchmarkOptions, item_bytes: int) -> SchemeRow:
    """A row with all that follows from the definition; one element takes `item_bytes`."""
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
    """The row with the answer of a measuring process added to it."""
    if answer["status"] != "ok":
        status: Literal["oom", "skipped"] = "oom" if answer["status"] == "oom" else "skipped"
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
    """Giga floating-point operations of one view, in a training step where that was measured.

    Checkpointed blocks run their forward pass again, all but the last map, whose result nothing
    needs.
    """
    assert row.gflops is not None and row.gmacs_split is not None
    again = row.gflops - row.gmacs_split.mlp if options.checkpoint_gradients else 0.0
    return TRAINING * row.gflops + again if options.train else row.gflops
