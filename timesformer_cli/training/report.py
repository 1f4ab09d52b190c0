"""What comes of a training, as plain values."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from timesformer_cli.training.validate import ValidationScores


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingReport:
    """A finished training: its folder, a row an epoch, and how the best weights do on each split
    that was held out. `lost` are clips that could not be read under way.
    """

    folder: str
    labels: tuple[str, ...]
    history: tuple[dict[str, Any], ...]
    best_epoch: int
    scores: "dict[str, ValidationScores]"
    clips: dict[str, int]
    seconds: float
    lost: tuple[str, ...]


def report_to_dict(report: TrainingReport) -> dict[str, Any]:
    """The report, field for field; a confusion as rows of label, answer and number of clips."""
    values = asdict(report)
    for scores in values["scores"].values():
        pairs = sorted(scores["confusion"].items())
        scores["confusion"] = [
            [report.labels[label], report.labels[answer], clips] for (label, answer), clips in pairs
        ]
    return values
