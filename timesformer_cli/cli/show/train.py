"""What a training found in its clips, one line per epoch, and its result."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import percent
from timesformer_cli.cli.stderr import note, printable, stderr
from timesformer_cli.dataset.metrics import interval
from timesformer_cli.dataset.split_names import SPLITS
from timesformer_cli.training.shortcuts import best_shortcut, verdict

if TYPE_CHECKING:
    from timesformer_cli.training.check import Findings, SeveralCount
    from timesformer_cli.training.folds import FoldsReport
    from timesformer_cli.training.report import TrainingReport
    from timesformer_cli.training.shortcuts import Shortcut

CURVE, BLOCKS = 40, "▁▂▃▄▅▆▇█"  # columns of a curve, and what is in them
CURVES = {"val_map": "validation mAP", "val_accuracy": "validation accuracy", "loss": "loss"}
MOST = 20  # files named of each kind of fault
NAMES = {"train": "training", "val": "validation", "test": "test"}


def show_findings(findings: "Findings") -> None:
    """Print all that the check found: the answer of a dry run."""
    console = new_console()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("class", overflow="fold")
    for split in SPLITS:
        table.add_column(NAMES[split], justify="right")
    more = {"weight": [row.weight for row in findings.classes]}
    more["taken an epoch"] = [row.taken for row in findings.classes]
    columns = {name: cells for name, cells in more.items() if any(c is not None for c in cells)}
    for name in columns:
        table.add_column(name, justify="right")
    for place, row in enumerate(findings.classes):
        counts = (row.train, row.val, row.test)
        beside = (f"{cells[place]:.3g}" for cells in columns.values())
        table.add_row(printable(row.label), *(str(count or "") for count in counts), *beside)
    console.print(table)
    if findings.several is not None:
        console.print(_several(findings.several))
    for line in _wrong(findings):
        console.print(Text(printable(line)), soft_wrap=True)
    console.print(_lengths(findings))
    if findings.shortcuts:
        console.print(_motionless(findings.shortcuts))
    if findings.picture:
        picture = f"the first batch as the model will see it: {findings.picture}"
        console.print(Text(printable(picture)), soft_wrap=True)
    for warning in findings.warnings:
        note(warning)


def show_check(findings: "Findings") -> None:
    """Print the same in short on stderr, at the start of a training."""
    clips = ", ".join(f"{count} {NAMES[name]}" for name, count in findings.clips.items() if count)
    stderr().print(
        f"{len(findings.classes)} classes, clips: {clips}; {_lengths(findings)}", soft_wrap=True
    )
    if findings.several is not None:
        stderr().print(_several(findings.several), soft_wrap=True)
    for line in [*_wrong(findings), *findings.warnings]:
        note(line)


def epoch_line(row: dict[str, Any]) -> str:
    """`epoch 3  loss 1.234  accuracy 45.6%  validation 1.345 43.2%`; or mAP and F1 of several labels."""
    line = f"epoch {row['epoch']:3}  loss {row['loss']:.3f}  accuracy {row['accuracy']:6.1%}"
    if "val_loss" not in row:
        return line
    line += f"  validation: loss {row['val_loss']:.3f}  "
    if "val_map" not in row:
        return line + f"accuracy {row['val_accuracy']:6.1%}"
    return line + f"mAP {percent(row['val_map'])}  F1 {percent(row['val_f1'])}"


def show_report(report: "TrainingReport") -> None:
    """Print scores and the model's folder (the answer) and, on stderr, how to use it."""
    console = new_console()
    for split, scores in report.scores.items():
        low, high = interval(round(scores.accuracy * scores.clips), scores.clips)
        said = f"top-1 {scores.accuracy:.1%} ({low:.1%} to {high:.1%})"
        if (several := scores.several) is not None:
            said = f"mAP {percent(several.mean_average_precision)}, F1 {percent(several.f1)},"
            said += f" all labels right {percent(several.exact)}"
        beside = _beside(report.shortcuts, split, scores.accuracy, scores.clips)
        console.print(
            f"{NAMES[split]}: {said} of {scores.clips} clips{beside}",
            soft_wrap=True,
        )
    console.print(Text(printable(report.folder)), soft_wrap=True)
    if len(report.history) > 1:
        stderr().print(_curve(report), soft_wrap=True)
    use = Text.assemble(
        ("ready: ", "green"), printable(f"tsf classify clip.mp4 --model {report.folder}")
    )
    stderr().print(use, soft_wrap=True)


def _curve(report: "TrainingReport") -> Text:
    """The validation by epoch as a line of blocks, from where to where, and which epoch is kept."""
    key = next(name for name in ("val_map", "val_accuracy", "loss") if name in report.history[-1])
    values = [float(row[key] or 0.0) for row in report.history]
    columns = min(CURVE, len(values))
    # Each column is the last epoch of its share of them, so that the end is the end.
    shown = [values[(column + 1) * len(values) // columns - 1] for column in range(columns)]
    low, high = min(values), max(values)
    span = high - low or 1.0
    kept = f"epoch {report.best_epoch} of {len(values)} is kept"
    between = f"{low:.3f} to {high:.3f}" if key == "loss" else f"{low:.1%} to {high:.1%}"
    line = (
        ""
        if stderr().options.ascii_only
        else "".join(BLOCKS[round((v - low) / span * 7)] for v in shown)
    )
    return Text(" ".join(filter(None, (f"{CURVES[key]}:", line, f"{between};", kept))))


def show_folds(report: "FoldsReport") -> None:
    """Print each fold's score, their mean and spread, and the folder."""
    console = new_console()
    what = "mAP" if report.multi_label else "top-1"
    for fold in report.folds:
        console.print(
            Text(f"{printable(fold.folder)}: {what} {fold.score:.1%} of {fold.clips} clips"),
            soft_wrap=True,
        )
    said = (
        f"mean of {len(report.folds)} folds: {what} {report.mean:.1%}, spread {report.spread:.1%}"
    )
    console.print(
        said + _beside(report.shortcuts, "val", report.mean, report.clips), soft_wrap=True
    )
    console.print(Text(printable(report.folder)), soft_wrap=True)
    note("the folds measure a recipe; a model of all clips comes of the same with --val-fraction 0")


def _beside(shortcuts: "Sequence[Shortcut]", split: str, accuracy: float, clips: int) -> str:
    """The best of those that see no motion, and whether the model is better."""
    best = best_shortcut(shortcuts, split)
    if best is None:
        return ""
    said = verdict(accuracy, clips, best)
    return f"; {best.sees} alone: {best.share:.1%}" + (f": {said}" if said else "")


def _motionless(shortcuts: "Sequence[Shortcut]") -> Table:
    """What those get who see no motion, split by split."""
    splits = list(dict.fromkeys(one.split for one in shortcuts))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("without motion: right of what is held out")
    for split in splits:
        table.add_column(NAMES[split], justify="right")
    for sees, how in dict.fromkeys((one.sees, one.how) for one in shortcuts):
        of_split = {one.split: one for one in shortcuts if (one.sees, one.how) == (sees, how)}
        cells = (percent(of_split[split].share) if split in of_split else "" for split in splits)
        table.add_row(f"{sees} ({how})" if how else sees, *cells)
    return table


def _several(count: "SeveralCount") -> str:
    return (
        f"several labels a clip: {count.fewest} to {count.most}, {count.mean:.1f} on average; "
        f"{count.without} clips have none; each class is learned by itself (sigmoid, BCE)"
    )


def _wrong(findings: "Findings") -> Iterator[str]:
    for path, reason in findings.unreadable[:MOST]:
        yield f"unreadable: {path} ({reason})"
    for paths in findings.duplicates[:MOST]:
        yield f"the same content in several splits or classes: {', '.join(paths)}"
    for kind, faults in (("unreadable", findings.unreadable), ("double", findings.duplicates)):
        if len(faults) > MOST:
            yield f"and {len(faults) - MOST} more that are {kind}"


def _lengths(findings: "Findings") -> str:
    shortest, middle, longest = findings.lengths
    return f"clips last {shortest:.1f} to {longest:.1f} s, half of them under {middle:.1f} s"
