"""Benchmark of attention schemes: what they cost on paper and on this machine."""

import platform
from dataclasses import dataclass, field, replace
from typing import Any

from timesformer_cli import cost
from timesformer_cli.benchmark.measurer import measurer
from timesformer_cli.benchmark.options import SchemeBenchmarkOptions
from timesformer_cli.benchmark.plan import GROUPS, UnfitConfig, plan_rows
from timesformer_cli.benchmark.rows import KERNELS, Details, SchemeRow, measured, on_paper
from timesformer_cli.callbacks import StepCallback, ignore_step
from timesformer_cli.config import ModelConfig
from timesformer_cli.cost.crossovers import Crossover, crossovers
from timesformer_cli.errors import UsageError
from timesformer_cli.results import UNWRITTEN
from timesformer_cli.schemes import PAPER

FREE_SHARE = 0.9  # of the free memory that a row may need, where no limit was given


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkReport:
    """The whole table, and how it was measured."""

    protocol: dict[str, Any]  # the machine, the options, and the details as plain values
    rows: tuple[SchemeRow, ...]  # as planned
    details: tuple[Details, ...] = field(metadata=UNWRITTEN)  # one per row; in `protocol` too
    crossovers: tuple[Crossover, ...]  # of schemes named themselves; of a group, the paper's


def benchmark_schemes(
    options: SchemeBenchmarkOptions, watch: StepCallback = ignore_step
) -> BenchmarkReport:
    """The whole table; `watch` hears which row is next.

    Raises UsageError, before anything is measured, for options that cannot be, and DeviceError.
    """
    if options.kernel not in KERNELS:
        raise UsageError(f"unknown kernel '{options.kernel}'; there are {', '.join(KERNELS)}")
    if options.checkpoint_gradients and not options.train:
        raise UsageError("--checkpoint-gradients is of a training step; give --train as well")
    planned_rows = plan_rows(options.attention, options.frames, options.image_sizes, options.size)
    greeting: dict[str, Any] = {"device": None, "device_name": None, "threads": None, "torch": None}
    greeting["dtype"] = "float32" if options.dtype == "auto" else options.dtype
    done: list[tuple[SchemeRow, Details]] = []
    for number, planned in enumerate(planned_rows):
        if isinstance(planned, UnfitConfig):
            row = SchemeRow(
                planned.attention,
                planned.frames,
                planned.pixels,
                options.size,
                options.batch_size,
            )
            done.append((row, Details(reason=planned.reason)))
            continue
        watch(number, len(planned_rows), _name(planned, options.size))
        if options.measure:
            row, details, greeting = _measure(planned, options)
        else:
            row, details = _predict(planned, options, greeting["dtype"], options.memory_limit)
        done.append((row, details))
    rows, all_details = tuple(row for row, _ in done), tuple(details for _, details in done)
    return BenchmarkReport(
        protocol=_protocol(options, greeting, all_details),
        rows=rows,
        details=all_details,
        crossovers=_crossovers(options, rows),
    )


def _measure(
    config: ModelConfig, options: SchemeBenchmarkOptions
) -> tuple[SchemeRow, Details, dict[str, Any]]:
    """Measure one row in a process of its own, unless its prediction is above the limit."""
    with measurer(options.device, options.dtype, options.debug) as process:
        greeting = process.greeting
        limit = options.memory_limit
        if limit is None and greeting["free_bytes"] is not None:
            limit = int(FREE_SHARE * greeting["free_bytes"])
        row, details = _predict(config, options, greeting["dtype"], limit)
        if row.status == "oom":
            return row, details, greeting
        answer = process.measure(
            {
                "config": config.to_dict(),
                "batch_size": options.batch_size,
                "kernel": options.kernel,
                "runs": options.runs,
                "warmup": options.warmup,
                "train": options.train,
                "checkpoint_gradients": options.checkpoint_gradients,
                "compile": options.compile,
                "limit_bytes": limit,
            }
        )
    return *measured(row, answer, options), greeting


def _predict(
    config: ModelConfig, options: SchemeBenchmarkOptions, dtype: str, limit: int | None
) -> tuple[SchemeRow, Details]:
    """The row on paper; it is out of memory where it is predicted to need more than the limit."""
    row = on_paper(config, options, cost.ITEM_BYTES[dtype])
    needed = row.predicted_peak_bytes or 0
    if limit is not None and needed > limit:
        return replace(row, status="oom"), Details(reason="predicted to need more than the limit")
    return row, Details()


def _name(config: ModelConfig, size: str) -> str:
    return f"{config.scheme_name}, {config.frames} frames at {config.height} px, {size}"


def _protocol(
    options: SchemeBenchmarkOptions, greeting: dict[str, Any], details: tuple[Details, ...]
) -> dict[str, Any]:
    return {
        "measured": options.measure,
        "device": greeting["device"],
        "device_name": greeting["device_name"],
        "threads": greeting["threads"],
        "dtype": greeting["dtype"],
        "kernel": options.kernel,
        "kernel_in_use": KERNELS[options.kernel],
        "runs": options.runs,
        "warmup": options.warmup,
        "train": options.train,
        "checkpoint_gradients": options.checkpoint_gradients,
        "compile": options.compile,
        "memory_limit_bytes": options.memory_limit,
        "torch": greeting["torch"],
        "python": platform.python_version(),
        "rows": [_detail(of_row) for of_row in details],
    }


def _detail(details: Details) -> dict[str, Any]:
    return {
        "runs": details.runs,
        "warmup": details.warmup,
        "noisy": details.noisy or None,
        "resident_growth_bytes": details.resident_growth_bytes,
        "product_gflops_per_second": details.product_gflops_per_second,
        "reason": details.reason or None,
    }


def _crossovers(
    options: SchemeBenchmarkOptions, rows: tuple[SchemeRow, ...]
) -> tuple[Crossover, ...]:
    """Where one scheme becomes cheaper than another, for each picture size.

    Of a group only the paper's schemes are compared.
    """
    crossings: list[Crossover] = []
    given = [PAPER if name in GROUPS else (name,) for name in options.attention]
    named = {name for names in given for name in names}
    for pixels in dict.fromkeys(options.image_sizes):
        known = [row for row in rows if row.image_size == pixels and row.tokens is not None]
        known = [row for row in known if row.attention in named]
        crossings += crossovers(dict.fromkeys(row.attention for row in known), options.size, pixels)
    return tuple(crossings)
