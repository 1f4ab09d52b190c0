"""Draw a training's history by epoch: loss, and accuracy or what several labels have in its place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from timesformer_cli.cli.draw.style import COLOURS, FAINT, GREY, STYLE, save_figure
from timesformer_cli.cli.stderr import note
from timesformer_cli.installing import how_to_install

NAME = "curves.png"
LOSS = ("Loss", {"loss": "training", "val_loss": "validation"})
ACCURACY = ("Accuracy", {"accuracy": "training", "val_accuracy": "validation"})
SEVERAL = ("Several labels", {"val_map": "validation, mAP", "val_f1": "validation, F1"})


def draw_curves(history: Sequence[dict[str, Any]], folder: Path) -> None:
    """Draw the history into the folder; without matplotlib, note how to install it."""
    try:
        import matplotlib
    except ImportError:
        note(f"no curves without matplotlib: {how_to_install('plot')}")
        return
    matplotlib.use("Agg")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.4), layout="constrained")
        panels = (LOSS, SEVERAL if "val_map" in history[-1] else ACCURACY)
        for axes, (title, keys) in zip(figure.subplots(1, 2), panels, strict=True):
            for (key, name), colour in zip(keys.items(), COLOURS, strict=False):
                points = [(row["epoch"], row[key]) for row in history if row.get(key) is not None]
                if points:
                    axes.plot(
                        *zip(*points, strict=True),
                        color=colour,
                        label=name,
                        linewidth=1.6,
                        marker=".",
                    )
            axes.set_title(title, loc="left", fontweight="bold")
            axes.set_xlabel("epoch", color=GREY)
            axes.grid(axis="y", color=FAINT, linewidth=0.6)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylim(bottom=0)
            axes.legend(frameon=False)
        save_figure(figure, folder / NAME, dpi=160)
