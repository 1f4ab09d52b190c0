"""What the history says of an epoch's validation, and which epoch is the best."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from timesformer_cli.training.validate import ValidationScores


def is_measured(row: dict[str, Any]) -> bool:
    """Whether an epoch has a validation that can be compared."""
    loss = row.get("val_loss")
    return loss is not None and math.isfinite(loss)


def is_better(row: dict[str, Any], best: dict[str, Any], *, balanced: bool) -> bool:
    """Whether an epoch is better than the best one before it, or as good."""
    if not is_measured(row) or not is_measured(best):
        return is_measured(row) >= is_measured(best)
    lost, lost_before = row.get("val_lost", []), best.get("val_lost", [])
    if lost != lost_before:  # other clips: what was measured on more of them counts
        return len(lost) < len(lost_before)
    return _rank(row, balanced=balanced) >= _rank(best, balanced=balanced)


def epoch_remarks(
    row: dict[str, Any],
    before: dict[str, Any],
    best: dict[str, Any] | None,
    scores: "ValidationScores | None",
) -> Iterator[str]:
    """What a user must know of an epoch's validation, where it is not as the one before."""
    epoch = row["epoch"]
    if scores is not None and not scores.clips and (not before or "val_loss" in before):
        yield f"epoch {epoch}: nothing validates, since none of {len(scores.lost)} clips can be read"
    if "val_loss" in row and not is_measured(row):
        yield f"epoch {epoch}: the validation loss is {row['val_loss']}; it is not compared"
    lost = row.get("val_lost", [])
    if not (is_measured(row) and best and is_measured(best)) or lost == before.get("val_lost", []):
        return
    if lost != (missed := best.get("val_lost", [])):
        yield (
            f"epoch {epoch}: {len(lost)} validation clips cannot be read, {len(missed)} in the best "
            f"epoch so far ({best['epoch']}); the two are not compared"
        )


def _rank(row: dict[str, Any], *, balanced: bool) -> tuple[float, float]:
    name = "val_map" if "val_map" in row else "val_accuracy"
    if balanced and "val_mean_class_accuracy" in row:
        name = "val_mean_class_accuracy"
    # None where no held-out clip has any of the classes.
    return row[name] or 0.0, -row["val_loss"]
