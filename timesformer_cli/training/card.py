"""The model card of a trained model: data, recipe, results."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from timesformer_cli import cost
from timesformer_cli.dataset.metrics import interval, mean_class_accuracy
from timesformer_cli.dataset.split_names import SPLITS
from timesformer_cli.training.imbalance import BALANCED
from timesformer_cli.training.options import SCRATCH, TrainingPlan
from timesformer_cli.training.shortcuts import best_shortcut, verdict
from timesformer_cli.weights.opened import in_words

if TYPE_CHECKING:
    from timesformer_cli.dataset.multi_label import MultiLabelScores
    from timesformer_cli.training.report import TrainingReport
    from timesformer_cli.training.validate import ValidationScores

FRONT = """---
library_name: timesformer-cli
pipeline_tag: video-classification
tags: [video-classification, timesformer]
---
"""
NAMES = {"val": "validation", "test": "test"}
WIDEST = 20  # classes up to which the confusion is shown as a matrix
PAIRS = 20  # of classes most often confused, shown in its place where there are more classes


def card(plan: TrainingPlan, report: "TrainingReport") -> str:
    """The card in Markdown, with the front matter that the hub reads."""
    name = Path(report.folder).absolute().name
    parts = [
        FRONT,
        f"# {_cell(name)}\n",
        f"{_purpose(plan)} `tsf classify clip.mp4 --model {report.folder}`\n",
        *_model(plan),
        f"{in_words(plan.config, report.opens)}\n",
        *_data(plan),
        *_training(plan, report),
        *_results(plan, report),
    ]
    return "\n".join(parts)


def _purpose(plan: TrainingPlan) -> str:
    if not plan.config.multi_label:
        return f"Tells {len(plan.labels)} classes of video clips apart."
    return (
        f"Says for each of {len(plan.labels)} classes whether a video clip has it: a clip may have "
        "several or none (sigmoids, multi_label_classification)."
    )


def _model(plan: TrainingPlan) -> Iterator[str]:
    config, sampling = plan.config, plan.sampling
    taken = (
        "over the whole video"
        if sampling.stride is None
        else f"every {sampling.stride} of 30 a second"
    )
    yield "## Model\n"
    typed = f" (`{config.attention}`)" * (config.attention != config.scheme_name)
    yield (
        f"TimeSformer, {config.scheme_name} attention{typed}, {cost.parameters(config) / 1e6:.1f} million "
        f"parameters: {config.depth} blocks, width {config.dim}, {config.heads} heads, patches of "
        f"{config.patch} pixels. Clips are {sampling.frames} frames, {taken}, of "
        f"{plan.preprocessing.crop[1]}x{plan.preprocessing.crop[0]} pixels.\n"
    )


def _data(plan: TrainingPlan) -> Iterator[str]:
    counts = Counter((label, clip.split) for clip in plan.items for label in clip.classes)
    yield "## Data\n"
    yield _row(["class", "training", "validation", "test"])
    yield _row(["---", "--:", "--:", "--:"])
    for label in plan.labels:
        yield _row([label, *(str(counts[label, split] or "") for split in SPLITS)])
    if plan.config.multi_label:
        clips = [len(plan.of_split(split)) for split in SPLITS]
        yield _row(["clips, of several classes or none", *(str(count or "") for count in clips)])
    yield ""
    if plan.class_weights:
        yield f"Class weights: {', '.join(f'{each:.3g}' for each in plan.class_weights)}.\n"
    if plan.options.sampler == BALANCED:
        yield "An epoch takes each class equally often.\n"


def _training(plan: TrainingPlan, report: "TrainingReport") -> Iterator[str]:
    options = plan.options
    origin = "from nothing" if options.init == SCRATCH else f"from `{options.init}`"
    yield "## Training\n"
    took = _duration(report.seconds)
    if options.freeze_backbone:
        yield (
            f"Its backbone is that of `{options.init}`, frozen. The head is a ridge regression in closed "
            f"form, {report.history[0]['strength']:.1g} strong, which was best on clips left out in "
            f"turn; in {took}, seed {options.seed}.\n"
        )
        return
    how = f"Trained {origin} with the recipe `{options.preset}`"
    if options.probe is not None:
        mirrored = ", and of its mirror image" if options.recipe.flip else ""
        how = (
            f"Its network is that of `{options.init}`, frozen. A pooler of {options.probe_blocks} "
            f"block{'s' * (options.probe_blocks > 1)} and a head were trained on the tokens of each "
            f"clip's middle{mirrored}"
        )
    yield (
        f"{how}: {len(report.history)} epochs, of which {report.best_epoch} is kept, in "
        f"{took}; batches of {options.batch_size}"
        f"{f' x {options.accumulate}' if options.accumulate > 1 else ''}, seed {options.seed}.\n"
    )
    given = {key: value for key, value in asdict(options.recipe).items() if value}
    yield (
        ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in given.items())
        + ".\n"
    )


def _duration(seconds: float) -> str:
    """`48 s`, `0.4 s`, `12.3 minutes`."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} minutes"


def _results(plan: TrainingPlan, report: "TrainingReport") -> Iterator[str]:
    yield "## Results\n"
    for split, scores in report.scores.items():
        if scores.several is not None:
            yield from _several(split, scores, scores.several)
            continue
        clips = scores.clips
        low, high = interval(round(scores.accuracy * clips), clips)
        yield (
            f"On {clips} {NAMES[split]} clips, the middle of each: top-1 {scores.accuracy:.1%} "
            f"(95 % interval {low:.1%} to {high:.1%}), mean class accuracy "
            f"{mean_class_accuracy(scores.confusion):.1%}, loss {scores.loss:.3f}.\n"
        )
        yield from _without_motion(report, split)
        yield from _confusion(scores, plan.labels)
    if not report.scores:
        yield "No clips were held out, so nothing is known of how well it does.\n"


def _without_motion(report: "TrainingReport", split: str) -> Iterator[str]:
    """What classifiers get that see no motion, and whether the model is better than the best."""
    best = best_shortcut(report.shortcuts, split)
    if best is None:
        return
    scores = report.scores[split]
    shares = ", ".join(
        f"{one.sees}{f' ({one.how})' * bool(one.how)} {one.share:.1%}"
        for one in report.shortcuts
        if one.split == split
    )
    said = verdict(scores.accuracy, scores.clips, best) or f"better than {best.sees}"
    yield f"Without motion: {shares}. The model is {said}.\n"


def _several(split: str, scores: "ValidationScores", several: "MultiLabelScores") -> Iterator[str]:
    yield (
        f"On {scores.clips} {NAMES[split]} clips, the middle of each: mean average precision "
        f"{_share(several.mean_average_precision)}, F1 {_share(several.f1)} (both the mean over "
        f"classes), all labels right {several.exact:.1%}, loss {scores.loss:.3f}.\n"
    )
    if split == "val":
        yield "The thresholds are those of the highest F1 on these clips, so F1 flatters here.\n"
    yield _row(["class", "clips", "AP", "precision", "recall", "F1", "threshold"])
    yield _row(["---", *["--:"] * 6])
    for row in several.classes:
        shares = (row.average_precision, row.precision, row.recall, row.f1)
        yield _row([row.label, str(row.clips), *map(_share, shares), f"{row.threshold:.3f}"])
    yield ""


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _confusion(scores: "ValidationScores", labels: Sequence[str]) -> Iterator[str]:
    if len(labels) <= WIDEST:
        yield "Clips of each class (rows) that were given each answer (columns):\n"
        yield _row(["", *labels])
        yield _row(["---", *["--:"] * len(labels)])
        for row, label in enumerate(labels):
            counts = [scores.confusion.get((row, column), 0) for column in range(len(labels))]
            yield _row([label, *(str(count or "") for count in counts)])
    else:
        wrong = {pair: count for pair, count in scores.confusion.items() if pair[0] != pair[1]}
        yield "What is confused most:\n"
        yield _row(["class", "taken for", "clips"])
        yield _row(["---", "---", "--:"])
        for (row, column), count in Counter(wrong).most_common(PAIRS):
            yield _row([labels[row], labels[column], str(count)])
    yield ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(text: str) -> str:
    """Text that cannot end a table's cell or its line: labels are the user's, or a file's."""
    printable = "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text
    )
    return printable.replace("|", "\\|")


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return " to ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"
