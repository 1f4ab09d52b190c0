"""Models of several labels a video: which of them a video has, by their scores."""

from typing import TYPE_CHECKING

from timesformer_cli.errors import UsageError
from timesformer_cli.inference.outputs import as_floats

if TYPE_CHECKING:
    from timesformer_cli.inference.label_choice import LabelChoice, Outputs
    from timesformer_cli.weights.description import Description


def said_labels(
    scores: "Outputs",
    description: "Description",
    choice: "LabelChoice",
    threshold: float | None = None,
) -> tuple[str, ...]:
    """The chosen labels whose scores, of all `(classes,)`, reach their thresholds, best first.

    Empty for a model of one label per clip. A `threshold` stands for those of all classes; a label
    that the choice takes for none is never said.
    """
    labels, scores = description.labels, as_floats(scores)
    if not description.config.multi_label:
        return ()
    least = least_scores(description, choice, threshold)
    said = [n for n, value in zip(choice.numbers, least, strict=True) if scores[n] >= value]
    return tuple(labels[n] for n in sorted(said, key=lambda n: -float(scores[n])))


def least_scores(
    description: "Description", choice: "LabelChoice", threshold: float | None = None
) -> tuple[float, ...]:
    """The score from which a video has each of the chosen labels, as `said_labels` has it."""
    own = description.config.each_threshold
    weakest = 0.0 if choice.least is None else choice.least
    return tuple(max(own[n] if threshold is None else threshold, weakest) for n in choice.numbers)


def require_several(description: "Description", model: str, threshold: float) -> None:
    """Raise UsageError for a threshold that is none, or where the model gives one label a video."""
    if not 0 <= threshold <= 1:
        raise UsageError(f"--threshold {threshold} must lie between 0 and 1")
    if not description.config.multi_label:
        raise UsageError(
            f"{model}: its scores are shares of one label, so --threshold means nothing; "
            "--multi-label scores each class by itself"
        )
