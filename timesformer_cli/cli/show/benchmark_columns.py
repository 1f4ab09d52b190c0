"""The columns of a benchmark's table: what each shows, and which go first on a narrow terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from timesformer_cli.benchmark.rows import Details, SchemeRow
from timesformer_cli.benchmark.run_schemes import BenchmarkReport
from timesformer_cli.cli.formats import percent
from timesformer_cli.typed.schemes import scheme_label

GAP = 2  # spaces between columns
ESSENTIAL = 3  # columns up to this rank are shown before the bar is
NOTHING = ""


@dataclass(frozen=True, slots=True)
class BenchmarkColumn:
    """One column of the table."""

    heading: tuple[str, str]  # two lines
    rank: int  # columns of the highest rank are left out first
    cell: Callable[[SchemeRow, Details], str | Text]
    left: bool = False


def columns(report: BenchmarkReport) -> list[BenchmarkColumn]:
    """All columns that this report fills, in the order in which they are shown."""
    rows = report.rows
    every = [
        BenchmarkColumn(("", "scheme"), 0, _scheme, left=True),
        BenchmarkColumn(("", "frames"), 0, lambda row, _: str(row.frames)),
        BenchmarkColumn(("", "px"), 0, lambda row, _: str(row.image_size)),
        BenchmarkColumn(("", "tokens"), 8, lambda row, _: _count(row.tokens)),
        BenchmarkColumn(
            ("compared", "a token"), 6, lambda row, _: _count(row.comparisons_per_token)
        ),
        BenchmarkColumn(("params", "M"), 4, lambda row, _: _number(row.parameters, 1e6)),
        BenchmarkColumn(("", "GMACs"), 1, lambda row, _: _number(row.gmacs)),
        BenchmarkColumn(("", "GFLOPs"), 5, lambda row, _: _number(row.gflops)),
        BenchmarkColumn(("GFLOPs", "linear"), 7, lambda row, _: _part(row, "projections")),
        BenchmarkColumn(("GFLOPs", "attention"), 7, lambda row, _: _part(row, "attention")),
        BenchmarkColumn(("GFLOPs", "MLP"), 7, lambda row, _: _part(row, "mlp")),
        BenchmarkColumn(("scores", "elements"), 9, lambda row, _: _short(row.score_elements)),
        BenchmarkColumn(("scores", "if stored"), 6, lambda row, _: _scores(row, report)),
        BenchmarkColumn(
            ("memory", "predicted"), 2, lambda row, _: _bytes(row.predicted_peak_bytes)
        ),
        BenchmarkColumn(("memory", "measured"), 2, lambda row, _: _peak(row)),
        BenchmarkColumn(
            ("process", "grew by"), 9, lambda _, more: _bytes(more.resident_growth_bytes)
        ),
        BenchmarkColumn(("latency", "ms"), 1, _latency),
        BenchmarkColumn(("p10 - p90", "ms"), 4, lambda row, _: _spread(row)),
        BenchmarkColumn(("clips", "a second"), 5, lambda row, _: _rate(row.clips_per_second)),
        BenchmarkColumn(
            ("GFLOP/s", "achieved"), 6, lambda row, _: _number(row.gflops_per_second, digits=0)
        ),
        BenchmarkColumn(("of", "peak"), 6, lambda row, _: percent(row.share_of_peak, 0)),
        BenchmarkColumn(("x the", "cheapest"), 3, lambda row, _: _ratio(row, rows)),
    ]
    filled = []
    for column in every:
        cells = [column.cell(*pair) for pair in zip(rows, report.details, strict=True)]
        if any(str(cell) != NOTHING for cell in cells):
            filled.append(column)
    return filled


def fitting(
    columns: Sequence[BenchmarkColumn], report: BenchmarkReport, width: int, bar: int
) -> tuple[list[BenchmarkColumn], int]:
    """Choose as many columns as fit; return them in their order, and the width that is left.

    Lower ranks are chosen first. A bar of `bar` characters comes before all columns that are not
    essential.
    """
    chosen: list[BenchmarkColumn] = []
    room = width + GAP  # the last column needs no gap
    for column in sorted(columns, key=lambda column: column.rank):
        cells = [column.cell(*pair) for pair in zip(report.rows, report.details, strict=True)]
        needed = max(cell_len(str(text)) for text in [*column.heading, *cells]) + GAP
        if needed > room - (bar + GAP if column.rank > ESSENTIAL else 0):
            break
        room -= needed
        chosen.append(column)
    return [column for column in columns if column in chosen], room - GAP


def cost_of(row: SchemeRow) -> float | None:
    """What rows are compared by: time per clip where it was measured, else work."""
    if row.latency_ms is not None:
        return row.latency_ms.median / row.batch_size
    return row.gmacs


def _scheme(row: SchemeRow, _: Details) -> Text:
    return Text(scheme_label(row.attention), "bold")


def _ratio(row: SchemeRow, rows: Sequence[SchemeRow]) -> str:
    if any(other.latency_ms for other in rows) and row.latency_ms is None:
        return NOTHING
    known = [
        cost_of(other) for other in rows if (other.latency_ms is None) == (row.latency_ms is None)
    ]
    costs = [cost for cost in known if cost]
    own = cost_of(row)
    return f"{own / min(costs):.2f}" if own and len(rows) > 1 else NOTHING


def _latency(row: SchemeRow, details: Details) -> str | Text:
    if row.latency_ms is None:
        return Text("OOM", "bold red") if row.status == "oom" else NOTHING
    value = _milliseconds(row.latency_ms.median)
    return Text(f"~{value}", "yellow") if details.noisy else value


def _peak(row: SchemeRow) -> str | Text:
    if row.status == "oom":
        return Text("OOM", "bold red")
    return _bytes(row.measured_peak_bytes)


def _spread(row: SchemeRow) -> str:
    if row.latency_ms is None:
        return NOTHING
    return f"{_milliseconds(row.latency_ms.p10)} - {_milliseconds(row.latency_ms.p90)}"


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _count(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"


def _number(value: float | None, unit: float = 1, digits: int = 1) -> str:
    return NOTHING if value is None else f"{value / unit:,.{digits}f}"


def _part(row: SchemeRow, name: str) -> str:
    split = row.gmacs_split
    return NOTHING if split is None else f"{2 * float(getattr(split, name)):,.1f}"


def _rate(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3g}"


def _short(value: int | None) -> str:
    if value is None:
        return NOTHING
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:.1f}{name}"
    return str(value)


def _scores(row: SchemeRow, report: BenchmarkReport) -> str:
    if row.score_elements is None:
        return NOTHING
    return _bytes(row.score_elements * row.batch_size * 4)


def _bytes(value: int | None) -> str:
    if value is None:
        return NOTHING
    return f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"
