"""Cross-validation: each clip validates once, in a training of the other folds.

Each fold is a training in a folder of its own, `fold-1`, `fold-2`, ...; beside them lies what
`--resume` needs. A fold that is over is only read.
"""

import os
from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from timesformer_cli.dataset.clip import LabelledClip
from timesformer_cli.errors import UsageError
from timesformer_cli.files import replace_file
from timesformer_cli.json_text import finite_json
from timesformer_cli.training.carry_out import RESULTS
from timesformer_cli.training.options import CHECKPOINT, FOLDS, TrainOptions
from timesformer_cli.training.run import resume_training, train_model
from timesformer_cli.training.shortcuts import Shortcut
from timesformer_cli.weights.description import read_json

if TYPE_CHECKING:
    from timesformer_cli.training.state import TrainingCallbacks
    from timesformer_cli.weights.hub.locate import Located

BESIDE_FOLDS = {
    "val_fraction": "each fold validates on its own share",
    "push_to_hub": "it makes a model for each fold, to measure, and none to publish",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldScores:
    """How well one fold's model does on the clips that it was not trained on."""

    folder: str
    best_epoch: int
    score: float  # top-1, or mean average precision where clips may have several labels
    clips: int  # that validate


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldsReport:
    """A finished cross-validation."""

    folder: str
    folds: tuple[FoldScores, ...]
    mean: float  # of the folds' scores
    spread: float  # their standard deviation
    clips: int  # that validated, each once
    multi_label: bool
    shortcuts: tuple[Shortcut, ...]  # what those get on the same clips who see no motion


def write_folds(divided: Sequence[Sequence[LabelledClip]], options: TrainOptions) -> None:
    """Write down what is trained on which clips, for `train_folds`."""
    plan = {
        "options": asdict(options),
        "folds": [[asdict(clip.anchored) for clip in one] for one in divided],
    }
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / FOLDS, finite_json(plan).encode())


def train_folds(
    folder: Path,
    callbacks: "TrainingCallbacks",
    located: "Located | None" = None,
    **changes: Any,
) -> FoldsReport:
    """Train what is left of the folds in that folder, and sum up.

    `changes` are options that may differ from those it began with. Raises what `train_model` raises.
    """
    plan = read_json(folder / FOLDS)
    options = replace(TrainOptions(**plan["options"]), **changes)
    results = []
    for number, listed in enumerate(plan["folds"], start=1):
        callbacks.note(f"fold {number} of {len(plan['folds'])}")
        inside = folder / f"fold-{number}"
        if not (inside / RESULTS).exists():
            if (inside / CHECKPOINT).exists():
                resume_training(inside, callbacks, **changes)
            else:
                clips = [LabelledClip.from_dict(values) for values in listed]
                train_model(clips, replace(options, out=str(inside)), callbacks, located)
        results.append(read_json(inside / RESULTS))
    report = _summed_up(folder, results, multi_label=options.multi_label)
    replace_file(folder / RESULTS, (finite_json(asdict(report), indent=2) + "\n").encode())
    return report


def require_folds_fit(said: Container[str]) -> None:
    """Raise UsageError for what does not go together with folds, of the options that were said."""
    for name, reason in BESIDE_FOLDS.items():
        if name in said:
            raise UsageError(f"--{name.replace('_', '-')} does not go with --folds: {reason}")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("--folds trains in one process; leave out torchrun")


def _summed_up(
    folder: Path, results: Sequence[dict[str, Any]], *, multi_label: bool
) -> FoldsReport:
    folds = []
    shortcuts: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        scores = result["scores"]["val"]
        several = scores["several"]
        folds.append(
            FoldScores(
                folder=result["folder"],
                best_epoch=result["best_epoch"],
                score=several["mean_average_precision"] or 0.0 if several else scores["accuracy"],
                clips=scores["clips"],
            )
        )
        for one in result["shortcuts"]:
            if one["split"] == "val":
                shortcuts[one["sees"], one["how"]].append(one)
    return FoldsReport(
        folder=str(folder),
        folds=tuple(folds),
        mean=fmean(fold.score for fold in folds),
        spread=stdev(fold.score for fold in folds),
        clips=sum(fold.clips for fold in folds),
        multi_label=multi_label,
        shortcuts=tuple(
            Shortcut(
                sees=sees,
                how=how,
                split="val",
                right=sum(one["right"] for one in of_folds),
                clips=sum(one["clips"] for one in of_folds),
            )
            for (sees, how), of_folds in shortcuts.items()
        ),
    )
