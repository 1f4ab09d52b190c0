"""The result of a training, as plain values."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from timesformer_cli.training.shortcuts import Shortcut
from timesformer_cli.weights.opened import OpensElsewhere

if TYPE_CHECKING:
    from timesformer_cli.training.validate import ValidationScores


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingReport:
    """A finished training."""

    folder: str
    labels: tuple[str, ...]
    history: tuple[dict[str, Any], ...]  # one row per epoch
    best_epoch: int  # counted from 1; its weights are in the folder
    scores: "dict[str, ValidationScores]"  # of these weights, per held-out split
    clips: dict[str, int]  # readable ones, per split
    seconds: float  # spent on steps
    lost: tuple[str, ...]  # errors of clips that could not be read during training
    opens: OpensElsewhere  # which other programs open the folder
    shortcuts: tuple[Shortcut, ...] = ()  # what those get on the held-out clips who see no motion


def report_to_dict(report: TrainingReport) -> dict[str, Any]:
    """The report, field for field; a confusion becomes rows of label, answer, number of clips."""
    values = asdict(report)
    for scores in values["scores"].values():
        pairs = sorted(scores["confusion"].items())
        scores["confusion"] = [
            [report.labels[label], report.labels[answer], clips] for (label, answer), clips in pairs
        ]
    return values
