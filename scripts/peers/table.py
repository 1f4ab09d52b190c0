"""The report of a comparison, and its Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scripts.peers.decoding import DecodeRow
from scripts.peers.models import ModelRow
from scripts.peers.processes import ProcessRow
from scripts.peers.turns import Spread

PROTOCOL = """\
Medians (fastest to slowest) of {runs} alternating runs, {warmup} before them not counted."""
MODEL_NOTES = """\
The model alone: TimeSformer-{size}, divided, 8 x 224 x 224, {classes} classes, the same random weights; `tsf` takes \
uint8 frames, the others what was normalised beforehand. timesformer-pytorch and timm's ViT, which sees frames \
one by one, are other networks of that width and depth. Speeds are against transformers in float32, its default, \
in the same dtype, and against the fastest other runtime of the same network in that dtype. onnxruntime and \
OpenVINO run our own export, or transformers' model as torch exports it. Share: useful FLOPs ({useful}) \
of the machine's fastest matrix product at the model's shapes: {peaks}. MB: the process's own peak since its start. \
Top-1 and logits: against transformers in float32; the difference is the largest, in standard deviations of the logits."""
PROCESS_NOTES = """\
Whole processes, from start to end: `tsf` in {dtype}, its default here, and transformers' \
`pipeline("video-classification")` in float32, its own. MB: resident at once in the process and all below it."""

DECODE_NOTES = """\
Processor time, all threads, of opening a file (ten seconds, 30 times over) and reading one clip of 8 frames from it; \
`tsf` also resizes and crops them. Speed: against torchcodec in its exact mode."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything that was measured, and where and how; its JSON is field for field."""

    machine: dict[str, str | int | float]
    default_dtype: str  # of `tsf` on this machine
    size: str  # of the model, one of SIZES
    classes: int
    runs: int
    warmup: int
    products_gflops_per_second: dict[str, float]  # the fastest matrix product, by dtype
    models: Sequence[ModelRow]
    processes: Sequence[ProcessRow]
    decoding: Sequence[DecodeRow] = ()


def markdown(report: Report) -> str:
    """The report as Markdown: the machine, one table per kind of row, and how to read them."""
    named = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    parts = [named, PROTOCOL.format(runs=report.runs, warmup=report.warmup)]
    if report.models:
        parts += [_model_table(report.models), _model_notes(report)]
    if report.processes:
        notes = PROCESS_NOTES.format(dtype=report.default_dtype)
        parts += [_process_table(report.processes), notes]
    if report.decoding:
        parts += [_decode_table(report.decoding), DECODE_NOTES]
    return "\n\n".join(parts) + "\n"


def _model_table(rows: Iterable[ModelRow]) -> str:
    head = "batch | model | dtype | ms a batch | clips/s | speed | same dtype | fastest peer | share of peak | MB | same top-1 | logits off"
    return table(
        head,
        (
            (
                row.batch_size,
                row.contender,
                row.dtype,
                _spread(row.seconds, 1000, 0),
                f"{row.clips_per_second:.2f}",
                _times(row.times_default),
                _times(row.times_same_dtype),
                _times(row.times_fastest),
                "" if row.share_of_peak is None else f"{row.share_of_peak:.0%}",
                _megabytes(row.peak_bytes),
                "" if row.same_top1 is None else f"{row.same_top1}/{row.batch_size}",
                "" if row.logit_difference is None else f"{row.logit_difference:.1e}",
            )
            for row in rows
        ),
    )


def _model_notes(report: Report) -> str:
    useful = {row.contender: row.useful_gflops for row in report.models}
    peaks = report.products_gflops_per_second.items()
    return MODEL_NOTES.format(
        size=report.size,
        classes=report.classes,
        useful=", ".join(f"{name} {gflops:.0f} G a clip" for name, gflops in useful.items()),
        peaks=", ".join(f"{dtype} {gflops:.0f} GFLOP/s" for dtype, gflops in peaks),
    )


def _process_table(rows: Iterable[ProcessRow]) -> str:
    return table(
        "what | process | clips | seconds | seconds a clip | speed | MB",
        (
            (
                row.what,
                row.contender,
                row.clips or "",
                _spread(row.seconds, 1, 2),
                f"{row.seconds.median / row.clips:.2f}" if row.clips else "",
                _times(row.times_default),
                _megabytes(row.peak_bytes),
            )
            for row in rows
        ),
    )


def _decode_table(rows: Iterable[DecodeRow]) -> str:
    return table(
        "where | decoder | ms of a processor | speed",
        (
            (row.where, row.contender, _spread(row.cpu_seconds, 1000, 1), _times(row.times_default))
            for row in rows
        ),
    )


def table(head: str, rows: Iterable[Iterable[object]]) -> str:
    """Rows as Markdown; `head` has the columns' names with `|` between them."""
    rule = " | ".join("---" for _ in head.split("|"))
    body = [" | ".join(map(str, row)) for row in rows]
    return "\n".join(f"| {line} |" for line in (head, rule, *body))


def _spread(value: Spread, unit: int, digits: int) -> str:
    median, least, most = (
        f"{unit * seconds:,.{digits}f}" for seconds in (value.median, value.least, value.most)
    )
    return f"{median} ({least} to {most})"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}x"


def _megabytes(value: int | None) -> str:
    return "" if value is None else f"{value / 1e6:,.0f}"
