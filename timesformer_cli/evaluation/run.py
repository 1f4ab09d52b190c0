"""Evaluate a model on labelled videos: how often it is right, where it errs, how sure it should be."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from timesformer_cli.callbacks import NoteCallback, ignore_note
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.dataset.label_matching import folded, match
from timesformer_cli.dataset.labelled import LabelledClip, read_labelled_clips
from timesformer_cli.errors import UsageError
from timesformer_cli.evaluation.verdicts import (
    TOP,
    Comparison,
    EvaluationScores,
    Judged,
    Verdict,
    compare_verdicts,
    judge,
    score_verdicts,
)
from timesformer_cli.inference import classify
from timesformer_cli.inference.classify import Classified, Result
from timesformer_cli.video import VideoPath

if TYPE_CHECKING:
    from timesformer_cli.weights.hub.locate import Located
from timesformer_cli.weights.catalogue import DEFAULT


@dataclass(frozen=True, slots=True)
class Protocol:
    """How published accuracies were measured: `uniform` clips span the whole video."""

    clips: int
    crops: int
    uniform: bool


PROTOCOLS = {"k400": Protocol(1, 3, uniform=False), "ssv2": Protocol(1, 3, uniform=True)}


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateOptions:
    """What `tsf evaluate` can be told; `how` a model classifies, in whose place a `protocol`
    stands for clips and crops.
    """

    data: Path
    split: str | None = None
    model: str = DEFAULT
    compare: str | None = None
    protocol: str | None = None
    how: classify.ClassifyOptions = field(default_factory=classify.ClassifyOptions)

    @property
    def models(self) -> tuple[str, ...]:
        """The model, and the one it is compared with."""
        return (self.model,) if self.compare is None else (self.model, self.compare)

    @property
    def views(self) -> tuple[int, int]:
        """Clips of a video and crops of each."""
        known = PROTOCOLS[self.protocol] if self.protocol else self.how
        return known.clips, known.crops


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A model before it runs, and the number of each item's class among its `labels`."""

    located: "Located"
    labels: tuple[str, ...]
    truths: tuple[int, ...]
    sampling: Sampling
    preprocessing: Preprocessing


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What one model scored, and how: `frames` every `stride` 30-fps frames, None over the whole
    video, in crops of `(height, width)`; no device where no video could be read.
    """

    model: str
    device: str | None
    dtype: str | None
    views: str
    frames: int
    stride: int | None
    crop: tuple[int, int]
    scores: EvaluationScores


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationReport:
    """The model, and with `comparison` a second, on the data."""

    data: str
    split: str | None
    protocol: str | None
    evaluations: tuple[Evaluation, ...]
    comparison: Comparison | None


WrapResults = Callable[[Iterator[Result], int, str], Iterable[Result]]


def read_evaluation_clips(data: Path, split: str | None = None) -> list[LabelledClip]:
    """The videos of a split; of all the data where they are not split.

    Raises UsageError where there is no such split, or one would have to be chosen.
    """
    items = read_labelled_clips(data)
    splits = {item.split for item in items}
    there = ", ".join(sorted(name for name in splits if name))
    if split is None and len(splits) > 1:
        raise UsageError(f"{data}: it is split; choose with --split ({there})")
    if split is not None and split not in splits:
        reason = f"there are {there}" if there else "it is not split"
        raise UsageError(f"{data}: no split '{split}' in it; {reason}")
    return [item for item in items if split in (None, item.split)]


def prepare_subjects(
    items: Sequence[LabelledClip],
    options: EvaluateOptions,
    models: "Mapping[str, Located]",
) -> tuple[Subject, ...]:
    """Each model looked at before any video is: does it know every label, and fit the protocol?

    `models` is what the options' names mean. Raises UsageError, WeightsError.
    """
    from timesformer_cli.inference.open import describe_model

    subjects = []
    for name in options.models:
        located = models[name]
        described = describe_model(located)
        _check_protocol(name, described.sampling, options.protocol)
        numbers = match([item.label for item in items], described.labels, name)
        subjects.append(
            Subject(
                located=located,
                labels=described.labels,
                truths=tuple(numbers[item.label] for item in items),
                sampling=described.sampling,
                preprocessing=described.preprocessing,
            )
        )
    for item, *truths in zip(items, *(subject.truths for subject in subjects), strict=True):
        named = [one.labels[truth] for one, truth in zip(subjects, truths, strict=True)]
        if len(set(map(folded, named))) > 1:
            raise UsageError(
                f"{options.data}: class {item.label} is '{named[0]}' to {options.model} and "
                f"'{named[1]}' to {options.compare}; give the labels' names"
            )
    return tuple(subjects)


def evaluate_models(
    items: Sequence[LabelledClip],
    subjects: Sequence[Subject],
    options: EvaluateOptions,
    note: NoteCallback = ignore_note,
    watch: WrapResults = lambda results, total, doing: results,
) -> tuple[EvaluationReport, list[Verdict]]:
    """The report, and the first model's verdict on each item; `watch` passes results on as they come.

    Raises WeightsError or DeviceError before the first result.
    """
    evaluations, verdicts = [], []
    found = [VideoPath(item.path) for item in items]
    for subject in subjects:
        running = classify.classify_videos(found, _how(subject.located, options), note)
        results = list(watch(running, len(found), f"evaluating {subject.located.name}"))
        judged = [
            judge(result, truth, subject.labels)
            for result, truth in zip(results, subject.truths, strict=True)
        ]
        evaluations.append(_evaluation(subject, options, results, judged))
        verdicts.append(judged)
    if warned := [one for one in verdicts[0] if isinstance(one, Judged) and one.warnings]:
        first = f"{warned[0].video} {warned[0].warnings[0]}"
        note(f"{len(warned)} of {len(items)} videos with a warning (--predictions); first: {first}")
    report = EvaluationReport(
        data=str(options.data),
        split=options.split,
        protocol=options.protocol,
        evaluations=tuple(evaluations),
        comparison=compare_verdicts(*verdicts) if len(verdicts) > 1 else None,
    )
    return report, verdicts[0]


def _check_protocol(model: str, sampling: Sampling, protocol: str | None) -> None:
    if protocol is None or PROTOCOLS[protocol].uniform == (sampling.stride is None):
        return
    spread = {True: "spread over the whole video", False: "a fixed stride apart"}
    raise UsageError(
        f"--protocol {protocol} takes frames {spread[PROTOCOLS[protocol].uniform]}, {model} "
        f"{spread[sampling.stride is None]}; give --views in its place"
    )


def _how(model: "Located", options: EvaluateOptions) -> classify.ClassifyOptions:
    clips, crops = options.views
    return replace(options.how, model=model, top_k=TOP, clips=clips, crops=crops)


def _evaluation(
    subject: Subject,
    options: EvaluateOptions,
    results: Sequence[Result],
    verdicts: Sequence[Verdict],
) -> Evaluation:
    ran = next((result for result in results if isinstance(result, Classified)), None)
    return Evaluation(
        model=subject.located.name,
        device=ran.device if ran else None,
        dtype=ran.dtype if ran else None,
        views="{}x{}".format(*options.views),
        frames=subject.sampling.frames,
        stride=subject.sampling.stride,
        crop=subject.preprocessing.crop,
        scores=score_verdicts(verdicts, subject.truths, subject.labels),
    )
