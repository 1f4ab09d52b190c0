"""An evaluation as tables, JSON or a page: scores, classes, confusion, and two models side by side."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import (
    bar,
    label_cell,
    percent,
    shortened,
    write_json,
    write_json_lines,
)
from timesformer_cli.cli.stderr import printable
from timesformer_cli.dataset.clip import named_part
from timesformer_cli.dataset.label_matching import folded
from timesformer_cli.dataset.multi_label import LabelScores, split_labels
from timesformer_cli.evaluation.run import Evaluation, EvaluationReport
from timesformer_cli.evaluation.verdicts import (
    TOP,
    Cell,
    ClassScores,
    Difference,
    EvaluationScores,
    Judged,
    Unread,
    Verdict,
)
from timesformer_cli.pages.page import render_report
from timesformer_cli.results import to_json

if TYPE_CHECKING:
    from timesformer_cli.pages.pictures import FramePictures

LABEL, NAME, PATH = 28, 18, 24  # characters: a class at most, a model at most, a path at least
MOST_CLASSES, FEW_CLASSES = 40, 20  # where there are more than 40, only the worst 20 have rows
MOST_ROWS = 10  # of lists that are only an excerpt
Part = Table | Text


def as_table(report: EvaluationReport, stream: TextIO) -> None:
    """Scores, one row per class, what is taken for what, and videos that could not be read."""
    console = new_console(stream)
    for part in _parts(report, console):
        console.print(part, soft_wrap=isinstance(part, Text))


def as_json(report: EvaluationReport, stream: TextIO) -> None:
    """The report, field for field."""
    write_json(report, stream)


def as_html(
    report: EvaluationReport,
    stream: TextIO,
    verdicts: Sequence[Verdict] = (),
    pictures: "FramePictures | None" = None,
) -> None:
    """A page: the report, and the verdict on each video with its best five predictions."""
    every = [
        # Of several labels, all are known.
        replace(each, predictions=each.predictions[:TOP]) if isinstance(each, Judged) else each
        for each in verdicts
    ]
    shown = () if pictures is None else pictures.last(len(every))
    stream.write(render_report("evaluate", every, stream, shown, report=to_json(report)))


RENDERERS: dict[str, Callable[[EvaluationReport, TextIO], None]] = {
    "table": as_table,
    "json": as_json,
    "html": as_html,
}


def write_predictions(verdicts: Iterable[Verdict], stream: TextIO) -> None:
    """Write one JSON object per line and video."""
    write_json_lines(verdicts, stream)


def _parts(report: EvaluationReport, console: Console) -> Iterator[Part]:
    evaluations = report.evaluations
    yield _heading(report)
    yield Text()
    yield _scores(evaluations)
    if evaluations[0].scores.readable:
        yield Text()
        if report.comparison is None and evaluations[0].scores.several is not None:
            yield from _several(evaluations[0].scores.several.classes)
        elif report.comparison is None:
            yield from _classes(evaluations[0].scores.classes, console)
            yield from _confusion(evaluations[0].scores, console)
        else:
            yield from _comparison(report, console.width)
    yield from _unreadable(evaluations)
    yield Text()
    for evaluation in evaluations:
        yield Text(_conditions(evaluation, report.protocol), style="dim")
    legend = "interval: 95 %, Wilson; calibration error: expected, over 15 bins of confidence"
    if evaluations[0].scores.multi_label:
        legend = "mAP and F1: means over the classes that videos have; each class at its threshold"
    yield Text(legend, style="dim")


def _heading(report: EvaluationReport) -> Text:
    scores = report.evaluations[0].scores
    labels = {row.label for row in scores.classes if row.videos}
    for video in scores.unreadable:
        labels.update(split_labels(video.label) if scores.multi_label else [video.label])
    where = report.data + (f", split {report.split}" if report.split else "")
    many = "es" * (len(labels) != 1)
    return Text(
        f"{printable(where)}: {scores.videos:,} video{'s' * (scores.videos != 1)}, "
        f"{len(labels)} class{many}"
    )


def _scores(evaluations: Sequence[Evaluation]) -> Table:
    table = _table([""], [_name(evaluation) for evaluation in evaluations])
    every = [evaluation.scores for evaluation in evaluations]
    if every[0].multi_label:
        several = [scores.several for scores in every]
        best = (percent(None if each is None else each.mean_average_precision) for each in several)
        table.add_row("mAP", *(Text(text, "bold green") for text in best))
        table.add_row("F1", *(percent(None if each is None else each.f1) for each in several))
        table.add_row(
            "all labels right", *(percent(None if each is None else each.exact) for each in several)
        )
        _add_counts(table, every)
        return table
    table.add_row("top-1", *(Text(percent(scores.top1), "bold green") for scores in every))
    table.add_row("  interval", *(_interval(scores) for scores in every))
    if any(scores.top5 is not None for scores in every):
        table.add_row("top-5", *(percent(scores.top5) for scores in every))
    table.add_row("mean class accuracy", *(percent(each.mean_class_accuracy) for each in every))
    table.add_row("calibration error", *(percent(each.calibration_error) for each in every))
    _add_counts(table, every)
    return table


def _add_counts(table: Table, every: Sequence[EvaluationScores]) -> None:
    table.add_row("right", *(f"{scores.correct:,} of {scores.readable:,}" for scores in every))
    if any(scores.unreadable for scores in every):
        counts = (Text(str(len(scores.unreadable)), "bold red") for scores in every)
        table.add_row("not read, not counted", *counts)


def _several(classes: Sequence[LabelScores]) -> Iterator[Part]:
    """A row per class; of many classes only the worst."""
    shown = list(classes)
    if len(classes) > MOST_CLASSES:
        shown = [row for row in classes if row.average_precision is not None]
        shown = sorted(shown, key=lambda row: row.average_precision or 0)[:FEW_CLASSES]
    table = _table(["class"], ["videos", "AP", "precision", "recall", "F1", "threshold"])
    for row in shown:
        shares = (row.average_precision, row.precision, row.recall, row.f1)
        cells = (str(row.clips), *map(percent, shares), f"{row.threshold:.3f}")
        table.add_row(Text(printable(row.label)), *cells)
    yield table
    yield from _more(len(classes) - len(shown), "classes, of higher AP or without videos")


def _classes(classes: Sequence[ClassScores], console: Console) -> Iterator[Part]:
    """A row per class; of many classes only the worst."""
    shown = list(classes)
    if len(classes) > MOST_CLASSES:
        shown = [row for row in classes if row.recall is not None]
        shown = sorted(shown, key=lambda row: row.recall or 0)[:FEW_CLASSES]
    table = _table(["class"], ["videos", "precision", "recall"])
    table.add_column("", no_wrap=True)
    for row in shown:
        shares = (percent(row.precision), percent(row.recall))
        drawn = Text(bar(row.recall or 0, console), "green")
        table.add_row(Text(label_cell(row.label)), str(row.videos), *shares, drawn)
    yield table
    yield from _more(len(classes) - len(shown), "classes, of higher recall or without videos")


def _confusion(scores: EvaluationScores, console: Console) -> Iterator[Part]:
    """The whole matrix where it fits, else the pairs that are confused most often."""
    labels = [row.label for row in scores.classes]
    width = max(len(str(max(len(labels), *(cell.videos for cell in scores.confusion)))), 2)
    if LABEL + 3 + len(labels) * (width + 1) <= console.width:
        yield Text()
        yield _matrix(labels, scores.confusion, width)
        return
    wrong = [cell for cell in scores.confusion if cell.label != cell.predicted]
    if wrong:
        table = _table(["most confused", "taken for"], ["videos"])
        for cell in sorted(wrong, key=lambda cell: -cell.videos)[:MOST_ROWS]:
            names = (Text(label_cell(name)) for name in (cell.label, cell.predicted))
            table.add_row(*names, str(cell.videos))
        yield Text()
        yield table
        yield from _more(len(wrong) - MOST_ROWS, "pairs")


def _matrix(labels: Sequence[str], confusion: Iterable[Cell], width: int) -> Table:
    """Rows are labels; columns are predictions and are headed by the number of their row."""
    videos = {(cell.label, cell.predicted): cell.videos for cell in confusion}
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("predicted as", max_width=LABEL + 3, no_wrap=True)
    for number in range(1, len(labels) + 1):
        table.add_column(str(number), width=width, justify="right", no_wrap=True)
    for number, label in enumerate(labels, start=1):
        cells = []
        for predicted in labels:
            count = videos.get((label, predicted), 0)
            style = "dim" if not count else "green" if predicted == label else "bold red"
            cells.append(Text(str(count) if count else "·", style))
        table.add_row(Text(f"{number:2} {label_cell(label)}"), *cells)
    return table


def _comparison(report: EvaluationReport, width: int) -> Iterator[Part]:
    """McNemar's test, then the classes and videos that the two models differ in."""
    comparison, (first, second) = report.comparison, report.evaluations
    assert comparison is not None
    yield Text(
        f"right: both {comparison.both}, only the first {comparison.only_first}, "
        f"only the second {comparison.only_second}, neither {comparison.neither}"
    )
    p = comparison.p_value
    p_value = f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"
    yield Text.assemble("McNemar's exact test: p = ", (p_value, "bold"))
    yield Text()
    recalls = {folded(row.label): row.recall for row in second.scores.classes}
    classes = [row for row in first.scores.classes if row.recall is not None]
    rows = [(row, recalls.get(folded(row.label))) for row in classes]
    if len(rows) > MOST_CLASSES:
        rows = sorted(rows, key=lambda row: -abs((row[0].recall or 0) - (row[1] or 0)))
        rows = rows[:FEW_CLASSES]
    table = _table(["recall of class"], ["videos", _name(first), _name(second)])
    for row, second_recall in rows:
        name = Text(label_cell(row.label))
        table.add_row(name, str(row.videos), percent(row.recall), percent(second_recall))
    yield table
    yield from _more(len(classes) - len(rows), "classes, less far apart")
    if comparison.differences:
        yield Text()
        yield _differences(comparison.differences[:MOST_ROWS], width)
        yield from _more(len(comparison.differences) - MOST_ROWS, "videos")


def _differences(differences: Sequence[Difference], width: int) -> Table:
    """The videos that one model alone gets wrong, and what it takes them for."""
    table = _table(["wrong by one", "taken for", "by", "video"], [])
    room = max(PATH, width - 2 * (LABEL + 2) - len("second") - 2)
    for row in differences:
        wrong, by = (row.second, "second") if row.right == "first" else (row.first, "first")
        names = (Text(label_cell(name)) for name in (row.label, wrong))
        table.add_row(*names, by, Text(shortened(printable(_named(row)), room)))
    return table


def _unreadable(evaluations: Sequence[Evaluation]) -> Iterator[Part]:
    """Each video that could not be read, once for all models."""
    errors = {_named(row): row.error for each in evaluations for row in each.scores.unreadable}
    if errors:
        yield Text()
    for video, error in list(errors.items())[:MOST_ROWS]:
        line = Text.assemble("not read ", printable(video), ": ", (error.kind, "bold red"))
        yield line.append(f": {printable(error.message)}")
    yield from _more(len(errors) - MOST_ROWS, "not read")


def _named(row: Unread | Difference) -> str:
    """The path of a video, and which part of it is meant where it is not the whole."""
    return row.video + (named_part(*row.part) if row.part else "")


def _conditions(evaluation: Evaluation, protocol: str | None) -> str:
    high, wide = evaluation.crop
    pixels = str(high) if high == wide else f"{high}x{wide}"
    parts = [f"protocol {protocol}"] if protocol else []
    parts.append(f"views {evaluation.views}")
    parts.append(f"{evaluation.frames} x {evaluation.stride or 'uniform'} @ {pixels}")
    parts += [evaluation.dtype, evaluation.device] if evaluation.dtype and evaluation.device else []
    return f"{printable(evaluation.model)}: {', '.join(parts)}"


def _table(words: Sequence[str], numbers: Sequence[str]) -> Table:
    """A table of columns of words, folded where long, then columns of numbers, aligned right."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in words:
        table.add_column(heading, max_width=LABEL)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _more(number: int, what: str) -> Iterator[Text]:
    if number > 0:
        yield Text(f"{number:,} more {what}: --format json", style="dim")


def _name(evaluation: Evaluation) -> str:
    return shortened(printable(evaluation.model), NAME)


def _interval(scores: EvaluationScores) -> str:
    if scores.top1_interval is None:
        return ""
    low, high = scores.top1_interval
    return f"{100 * low:.1f} - {percent(high)}"
