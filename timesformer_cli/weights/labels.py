"""Label lists of public data sets, in the order of the published checkpoints' classes."""

from pathlib import Path

LABELS = Path(__file__).parent.parent / "assets" / "labels"


def read_labels(name: str) -> tuple[str, ...]:
    """The class names of a data set the package has: kinetics400, kinetics600, ..."""
    return tuple((LABELS / f"{name}.txt").read_text(encoding="utf-8").splitlines())
