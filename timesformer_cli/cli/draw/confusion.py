"""Draw a confusion matrix: rows are labels, columns predictions, shades are shares of a row.

Right answers are blue, wrong ones orange.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from timesformer_cli.cli.draw.style import GREY, STYLE, save_figure
from timesformer_cli.cli.formats import shortened
from timesformer_cli.evaluation.run import Evaluation, EvaluationReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COUNTED = 30  # most classes whose cells have room for numbers
WIDE, NARROW = 0.36, 0.13  # inches per class, with numbers and without
LONGEST = 40  # characters of a class name


def draw_confusion(report: EvaluationReport, path: Path) -> None:
    """Draw the matrix of each model, side by side, into a file of the suffix's format."""
    import matplotlib
    from matplotlib.figure import Figure

    evaluations = report.evaluations
    classes = max(len(evaluation.scores.classes) for evaluation in evaluations)
    side = max(3.0, classes * (WIDE if classes <= COUNTED else NARROW)) + 2.2
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters the font lacks are drawn as boxes
        figure = Figure(figsize=(side * len(evaluations), side), layout="constrained")
        grid = figure.subplots(1, len(evaluations), squeeze=False)
        for axes, evaluation in zip(grid[0], evaluations, strict=True):
            _matrix(axes, evaluation, classes <= COUNTED)
        save_figure(figure, path, dpi=160 if classes <= COUNTED else 110, bbox_inches="tight")


def _matrix(axes: "Axes", evaluation: Evaluation, counted: bool) -> None:
    scores = evaluation.scores
    labels = [row.label for row in scores.classes]
    place = {label: number for number, label in enumerate(labels)}
    videos = np.zeros((len(labels), len(labels)), int)
    for cell in scores.confusion:
        videos[place[cell.label], place[cell.predicted]] = cell.videos
    shares = videos / np.maximum(videos.sum(axis=1, keepdims=True), 1)
    right = np.eye(len(labels), dtype=bool)
    for kind, colours in ((right, "Blues"), (~right, "Oranges")):
        shown = np.ma.masked_where(~kind | (videos == 0), shares)
        axes.imshow(shown, cmap=colours, vmin=-0.1, vmax=1.2)
    axes.set_facecolor("#F4F4F4")
    for row, column in np.argwhere(videos) if counted else ():
        ink = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, str(videos[row, column]), ha="center", va="center", color=ink)
    names = [_short(label) for label in labels]
    size = 9 if counted else 6
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.tick_params(length=0)
    if counted:
        edges = np.arange(1, len(names)) - 0.5
        axes.hlines(edges, -0.5, len(names) - 0.5, color="white", linewidth=1)
        axes.vlines(edges, -0.5, len(names) - 0.5, color="white", linewidth=1)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlabel("predicted", color=GREY)
    axes.set_ylabel("label", color=GREY)
    if scores.top1 is not None:
        title = f"{_short(evaluation.model)}\n"
        title += f"{scores.correct} of {scores.readable} right"
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")


def _short(label: str) -> str:
    """A label short enough for an axis; an unescaped dollar sign would begin a formula."""
    return shortened(label, LONGEST).replace("$", r"\$")
