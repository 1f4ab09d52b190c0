"""What all pictures share: colours, type, file formats, and how a file is written."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from timesformer_cli.cli.stderr import terminated_in_order
from timesformer_cli.errors import UsageError
from timesformer_cli.files import delivering, require_output
from timesformer_cli.installing import how_to_install

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SUFFIXES = (".png", ".svg", ".pdf")
# Okabe and Ito's colours, which the colour-blind can tell apart; markers work without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
GREY, FAINT = "#555555", "#DDDDDD"
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "svg.fonttype": "none",
    "svg.hashsalt": "tsf",  # else every .svg has other ids
}


def require_drawable(path: Path, option: str = "--plot") -> None:
    """Raise UsageError for a picture that cannot be drawn; called before any work is done."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{option} {path}: give a file ending in {', '.join(SUFFIXES)}")
    require_output(path)
    try:
        import matplotlib
    except ImportError as error:
        raise UsageError(f"{option} needs matplotlib: {how_to_install('plot')}") from error
    matplotlib.use("Agg")


def save_figure(figure: "Figure", path: Path, **how: Any) -> None:
    """Write a figure whole or not at all; without dates, the same numbers give the same file.

    Raises UsageError where it cannot be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
    try:
        with terminated_in_order(), delivering(path) as part:
            figure.savefig(part, format=kind, metadata=metadata, **how)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
