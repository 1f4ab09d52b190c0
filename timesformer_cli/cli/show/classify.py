"""Classification results as a table, JSON, JSON lines, CSV or a page."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from rich.table import Table
from rich.text import Text

from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import (
    BAR,
    bar,
    label_cell,
    percent,
    shortened,
    write_csv,
    write_json,
    write_json_lines,
    write_parquet,
)
from timesformer_cli.cli.stderr import note, printable
from timesformer_cli.dataset.multi_label import join_labels
from timesformer_cli.inference.classified import Failed, Result
from timesformer_cli.pages.page import render_report
from timesformer_cli.parquet import FITTING, PREDICTIONS, Columns

if TYPE_CHECKING:
    from timesformer_cli.pages.pictures import FramePictures

LABEL = 26  # characters of a label's column
CSV_COLUMNS = (
    "video status rank label index score model device dtype decoder error_kind error_message said"
).split()
SIMILARITY = "similarity"  # a column where labels were given
PARQUET_COLUMNS: Columns = {
    **dict.fromkeys(("video", "status", "label"), str),
    **dict.fromkeys(("score", "start", "end"), float),
    "predictions": PREDICTIONS,
    **dict.fromkeys("model device dtype decoder error_kind error_message labels".split(), str),
}
SAID, UNSAID_LABEL = "+ ", "  "  # before a label, where a video may have several


def as_table(
    results: Iterable[Result], stream: TextIO, paths: Sequence[str], *, similarity: bool = False
) -> None:
    """One block of rows per video; all blocks have the same columns."""
    console = new_console(stream)
    longest = max((len(printable(path)) for path in paths), default=0)
    rest = LABEL + BAR + len("100.0 %") + 3 * 2 + similarity * (len(SIMILARITY) + 2)
    if console.is_terminal:
        longest = min(longest, max(12, console.width - rest))
    else:
        console.width = max(console.width, longest + rest)
    several = False
    for number, result in enumerate(results):
        table = Table(box=None, show_header=number == 0, padding=(0, 2, 0, 0), pad_edge=False)
        table.add_column("video", width=longest, no_wrap=True)
        table.add_column("label", width=LABEL)
        table.add_column("score", width=len("100.0 %"), justify="right")
        table.add_column("", width=BAR, no_wrap=True)
        if similarity:
            table.add_column(SIMILARITY, justify="right")
        name = shortened(printable(result.video), longest)
        if isinstance(result, Failed):
            # The reason is as wide as all other columns together, so it is a line, not a row.
            console.print(table) if number == 0 else None
            line = Text.assemble((name.ljust(longest + 2), ""), (result.error.kind, "bold red"))
            line.append(f": {printable(result.error.message)}")
            console.print(line, soft_wrap=True)
            continue
        for rank, prediction in enumerate(result.predictions):
            fit, best = prediction.similarity, rank == 0
            label = label_cell(prediction.label)
            if result.multi_label:
                best = prediction.label in result.labels
                label = (SAID if best else UNSAID_LABEL) + label
            table.add_row(
                Text(name if rank == 0 else "", style="bold"),
                Text(label, style="green" if best else ""),
                percent(prediction.score),
                Text(bar(prediction.score, console), style="green" if best else "dim"),
                *([] if fit is None else [f"{fit:.3f}"]),
            )
        console.print(table)
        several = several or result.multi_label
        for warning in result.warnings:
            note(f"{result.video} {warning}")
    if several:
        note("several labels a video: + stands before those that reach their thresholds")


def as_json(results: Iterable[Result], stream: TextIO, paths: Sequence[str]) -> None:
    """One array, written when all results are known, so that it is never cut short."""
    write_json(list(results), stream)


def as_jsonl(results: Iterable[Result], stream: TextIO, paths: Sequence[str]) -> None:
    """One object per line, each as soon as it is known."""
    write_json_lines(results, stream)


def as_csv(
    results: Iterable[Result], stream: TextIO, paths: Sequence[str], *, similarity: bool = False
) -> None:
    """One row per prediction; a video that failed has one row with its error."""
    rows = (row for result in results for row in _csv_rows(result, similarity))
    write_csv(rows, [*CSV_COLUMNS, *[SIMILARITY] * similarity], stream)


def as_parquet(
    results: Iterable[Result], stream: TextIO, paths: Sequence[str], *, similarity: bool = False
) -> None:
    """One row per video, with its labels as a list."""
    rows = (row for result in results for row in parquet_rows_of(result, similarity))
    write_parquet(rows, parquet_columns(similarity), stream)


def as_html(
    results: Iterable[Result],
    stream: TextIO,
    paths: Sequence[str],
    *,
    pictures: "FramePictures | None" = None,
) -> None:
    """A page with a table of all videos, written when all results are known."""
    every = list(results)
    shown = () if pictures is None else pictures.last(len(every))
    stream.write(render_report("classify", every, stream, shown))


RENDERERS = {
    "table": as_table,
    "json": as_json,
    "jsonl": as_jsonl,
    "csv": as_csv,
    "parquet": as_parquet,
    "html": as_html,
}
# The same where labels were given, which then have a similarity.
FITTED_RENDERERS = RENDERERS | {
    "table": partial(as_table, similarity=True),
    "csv": partial(as_csv, similarity=True),
    "parquet": partial(as_parquet, similarity=True),
}


def _csv_rows(result: Result, similarity: bool) -> Iterator[dict[str, object]]:
    common = {"video": result.video, "status": result.status}
    if isinstance(result, Failed):
        error = {"error_kind": result.error.kind, "error_message": result.error.message}
        yield {**common, **error}
        return
    ran = {name: getattr(result, name) for name in ("model", "device", "dtype", "decoder")}
    for rank, prediction in enumerate(result.predictions, start=1):
        names = ("label", "index", "score", *[SIMILARITY] * similarity)
        said = {name: getattr(prediction, name) for name in names}
        if result.multi_label:
            said["said"] = "yes" if prediction.label in result.labels else "no"
        yield {**common, "rank": rank, **said, **ran}


def parquet_columns(similarity: bool) -> Columns:
    """The columns of `parquet_rows_of`."""
    more: Columns = {SIMILARITY: float, "predictions": FITTING} if similarity else {}
    return {**PARQUET_COLUMNS, **more}


def parquet_rows_of(result: Result, similarity: bool = False) -> Iterator[dict[str, Any]]:
    """The one row of a video."""
    common = {"video": result.video, "status": result.status}
    if isinstance(result, Failed):
        error = {"error_kind": result.error.kind, "error_message": result.error.message}
        yield common | error
        return
    best = result.predictions[0]
    yield common | {
        **{name: getattr(result, name) for name in ("model", "device", "dtype", "decoder")},
        "label": best.label,
        "score": best.score,
        **({SIMILARITY: best.similarity} if similarity else {}),
        "start": min(view.start for view in result.views),
        "end": max(view.end for view in result.views),
        "predictions": [asdict(prediction) for prediction in result.predictions],
        "labels": join_labels(result.labels) if result.multi_label else None,
    }
