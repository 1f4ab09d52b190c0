"""Draw a benchmark: work, memory and latency against clip length or picture size."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timesformer_cli.benchmark.rows import SchemeRow
from timesformer_cli.benchmark.run_schemes import BenchmarkReport
from timesformer_cli.cli.draw.style import COLOURS, FAINT, GREY, MARKERS, STYLE, save_figure
from timesformer_cli.errors import UsageError
from timesformer_cli.schemes import RELATIVES
from timesformer_cli.typed.schemes import scheme_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Value = Callable[[SchemeRow], float | None]
Panel = tuple[str, str, Value]


def draw_benchmark(report: BenchmarkReport, path: Path) -> None:
    """Draw the report into a file of the suffix's format; raises UsageError.

    Each picture size has a row of panels, and each scheme a line in them; the paper's schemes stand
    above their relatives. The axis shows frames where there are several counts, else picture sizes.
    """
    import matplotlib
    from matplotlib.figure import Figure

    rows = [row for row in report.rows if row.tokens is not None]
    if not rows:
        raise UsageError("--plot: none of the rows has anything to draw")
    by_size = len({row.frames for row in rows}) == 1 and len({row.image_size for row in rows}) > 1

    def line_of(row: SchemeRow) -> tuple[bool, int]:
        return row.attention in RELATIVES, row.frames if by_size else row.image_size

    kept = sorted({line_of(row) for row in rows})
    panels = _panels(rows)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.1 * len(panels), 3.4 * len(kept) + 0.5), layout="constrained")
        grid = figure.subplots(len(kept), len(panels), squeeze=False)
        for line, axes_of_line in zip(kept, grid, strict=True):
            drawn = [row for row in rows if line_of(row) == line]
            where = ["relatives"] if line[0] else []
            if len({shape for _, shape in kept}) > 1:
                where += [f"{line[1]} frames" if by_size else f"{line[1]} px"]
            for axes, panel in zip(axes_of_line, panels, strict=True):
                _panel(axes, drawn, panel, by_size, ", ".join(where))
        figure.suptitle(_title(report), x=0.01, ha="left", fontsize=10, color=GREY)
        save_figure(figure, path, dpi=160)


def _panels(rows: Sequence[SchemeRow]) -> list[Panel]:
    """Always work and memory (measured where it was, else predicted); latency where measured."""
    panels: list[Panel] = [("Work", "GMACs a view", lambda row: row.gmacs)]
    measured = any(row.measured_peak_bytes for row in rows)
    panels.append(
        ("Peak memory" + (", measured" if measured else ", predicted"), "GiB", _memory(measured))
    )
    if any(row.latency_ms for row in rows):
        panels.append(("Latency", "ms a batch, p10 to p90", _median))
    return panels


def _median(row: SchemeRow) -> float | None:
    return None if row.latency_ms is None else row.latency_ms.median


def _memory(measured: bool) -> Value:
    def value(row: SchemeRow) -> float | None:
        size = row.measured_peak_bytes if measured else row.predicted_peak_bytes
        return None if size is None or row.status == "oom" else size / 2**30

    return value


def _panel(
    axes: "Axes", rows: Sequence[SchemeRow], panel: Panel, by_size: bool, where: str
) -> None:
    title, unit, value = panel
    names = list(dict.fromkeys(row.attention for row in rows))
    ends: list[tuple[float, float, str, str]] = []
    lost: dict[float, list[tuple[str, str]]] = {}
    for number, name in enumerate(names):
        colour = COLOURS[number % len(COLOURS)]
        mine, label = [row for row in rows if row.attention == name], scheme_label(name)
        known = [(_x(row, by_size), y) for row in mine if (y := value(row)) is not None]
        axes.plot(
            *zip(*known, strict=True) if known else ((), ()),
            color=colour,
            marker=MARKERS[number % len(MARKERS)],
            markersize=4.5,
            linewidth=1.6,
        )
        if title == "Latency":
            for row in mine:
                if row.latency_ms:
                    span = (row.latency_ms.p10, row.latency_ms.p90)
                    axes.plot([_x(row, by_size)] * 2, span, color=colour, linewidth=4, alpha=0.3)
        if known:
            ends.append((*known[-1], label, colour))
        for row in mine:
            if value(row) is None and row.status == "oom":
                lost.setdefault(_x(row, by_size), []).append((label, colour))
    _scales(axes, rows, by_size)
    _mark_lost(axes, lost)
    _label(axes, ends)
    axes.set_title(f"{title}  " + (f"({where})" if where else ""), loc="left", fontweight="bold")
    axes.set_ylabel(unit, color=GREY)
    axes.set_xlabel("picture size, px" if by_size else "frames", color=GREY)


def _scales(axes: "Axes", rows: Sequence[SchemeRow], by_size: bool) -> None:
    """Make both axes logarithmic: twice the clip is one step, a power law a straight line."""
    places = sorted({_x(row, by_size) for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()
    axes.xaxis.minorticks_off()
    axes.yaxis.set_major_locator(_ticks())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    # The lines are named on the right; the room for it grows with the span.
    low, high = places[0], places[-1]
    span = max(high / low, 2.0)
    axes.set_xlim(low / span**0.08, high * span**0.42)


def _ticks() -> Any:
    from matplotlib.ticker import LogLocator

    return LogLocator(base=10, subs=(1.0, 2.0, 5.0))


def _mark_lost(axes: "Axes", lost: dict[float, list[tuple[str, str]]]) -> None:
    """Mark with crosses, at the upper edge, where a scheme had too little memory."""
    low, high = axes.get_ylim()
    if lost:
        axes.set_ylim(low, high * (high / low) ** (0.07 * max(map(len, lost.values())) + 0.05))
    last = {name: place for place in sorted(lost) for name, _ in lost[place]}
    for place, schemes in lost.items():
        for number, (name, colour) in enumerate(schemes):
            axes.plot(
                place,
                0.97 - 0.07 * number,
                marker="x",
                markersize=7,
                markeredgewidth=2,
                color=colour,
                transform=axes.get_xaxis_transform(),
                clip_on=False,
            )
            if last[name] != place:  # named once, where there is room to its right
                continue
            axes.annotate(
                f"{name} OOM",
                (place, 0.97 - 0.07 * number),
                (6, 0),
                textcoords="offset points",
                xycoords=axes.get_xaxis_transform(),
                va="center",
                fontsize=8,
                color=colour,
            )


def _label(axes: "Axes", ends: list[tuple[float, float, str, str]]) -> None:
    """Write each name at the end of its line; names of lines that end close are pushed apart."""
    low, high = axes.get_ylim()
    step = (high / low) ** 0.065
    floors = dict.fromkeys((end[0] for end in ends), low / step)
    for x, y, name, colour in sorted(ends, key=lambda end: end[1]):
        floor = floors[x] = max(y, floors[x] * step)
        axes.annotate(
            name,
            (x, floor),
            (8, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            annotation_clip=False,
            bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
        )


def _x(row: SchemeRow, by_size: bool) -> float:
    return float(row.image_size if by_size else row.frames)


def _title(report: BenchmarkReport) -> str:
    first, protocol = report.rows[0], report.protocol
    parts = [f"TimeSformer {first.size}", f"batch of {first.batch_size}", protocol["dtype"]]
    parts.append(f"{protocol['kernel_in_use']} kernel")
    if protocol["measured"]:
        parts += [f"{protocol['device_name']}, {protocol['threads']} threads"]
    return ", ".join(map(str, parts))
