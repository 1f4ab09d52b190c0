"""Evaluate one or two models on labelled videos."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from timesformer_cli.callbacks import NoteCallback, ignore_note
from timesformer_cli.config import ModelConfig, Preprocessing, Sampling
from timesformer_cli.dataset.clip import LabelledClip
from timesformer_cli.dataset.label_matching import folded, match
from timesformer_cli.dataset.labelled import read_labelled_clips
from timesformer_cli.dataset.multi_label import join_labels
from timesformer_cli.dataset.own_labels import OwnLabel, as_own_labels
from timesformer_cli.dataset.repeated import each_once
from timesformer_cli.errors import UsageError
from timesformer_cli.evaluation.verdicts import (
    TOP,
    Comparison,
    EvaluationScores,
    Judged,
    Truth,
    Verdict,
    compare_verdicts,
    judge,
    score_several,
    score_verdicts,
)
from timesformer_cli.inference import classify
from timesformer_cli.inference.classified import Classified, Result, SeenCallback
from timesformer_cli.inference.label_choice import choose_classes

if TYPE_CHECKING:
    from timesformer_cli.weights.hub.locate import Located
from timesformer_cli.weights.catalogue import DEFAULT


@dataclass(frozen=True, slots=True)
class Protocol:
    """How published accuracies of a data set were measured."""

    clips: int  # per video
    crops: int  # per clip
    uniform: bool  # whether a clip's frames spread over the whole video


PROTOCOLS = {"k400": Protocol(1, 3, uniform=False), "ssv2": Protocol(1, 3, uniform=True)}


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateOptions:
    """The options of `tsf evaluate`."""

    data: Path
    split: str | None = None  # None is for data without splits
    model: str = DEFAULT
    compare: str | None = None  # a second model
    protocol: str | None = None  # replaces the clips and crops of `how`
    multi_label: bool = False  # whether videos may have several labels
    # How a model classifies; its model, top_k, clips and crops are set for each run.
    how: classify.ClassifyOptions = field(default_factory=classify.ClassifyOptions)

    @property
    def models(self) -> tuple[str, ...]:
        """The model, and the one that it is compared with, if any."""
        return (self.model,) if self.compare is None else (self.model, self.compare)

    @property
    def views(self) -> tuple[int, int]:
        """Clips per video and crops per clip."""
        known = PROTOCOLS[self.protocol] if self.protocol else self.how
        return known.clips, known.crops


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A model that is known to fit the data, before it runs."""

    located: "Located"
    labels: tuple[str, ...]  # the model's classes, or words
    asked: tuple[OwnLabel, ...]  # what its answer may be; empty means all classes
    answers: int  # how many different ones it may give
    truths: tuple[Truth, ...]  # for each clip the number of its class among them, or of all
    thresholds: tuple[float, ...]  # of several labels, one per class; else empty
    sampling: Sampling
    preprocessing: Preprocessing


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The scores of one model, and how they were measured."""

    model: str
    device: str | None  # None where no video could be read
    dtype: str | None  # likewise
    views: str  # clips x crops
    frames: int  # per clip
    stride: int | None  # in frames of a 30-fps video; None spreads them over the whole video
    crop: tuple[int, int]  # height and width in pixels
    scores: EvaluationScores


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationReport:
    """One model, or two compared, on the data."""

    data: str
    split: str | None
    protocol: str | None
    evaluations: tuple[Evaluation, ...]  # one per model
    comparison: Comparison | None  # None with one model


# wrap(results, total, doing): the same results, passed on as they come, to show how far they are.
WrapResults = Callable[[Iterator[Result], int, str], Iterable[Result]]


def read_evaluation_clips(
    data: Path,
    split: str | None = None,
    note: NoteCallback = ignore_note,
    *,
    multi_label: bool = False,
    labels_from: str | None = None,
    fps: float | None = None,
) -> list[LabelledClip]:
    """The clips of a split, or all of them where the data has no splits.

    `labels_from` and `fps` are those of `read_labelled_clips`.

    Raises UsageError where there is no such split, or where one has to be chosen: nothing is
    evaluated on a mixture of splits.
    """
    clips = read_labelled_clips(
        data, multi_label=multi_label, labels_from=labels_from, fps=fps, note=note
    )
    clips = clips if multi_label else each_once(data, clips, note)
    splits = {clip.split for clip in clips}
    there = ", ".join(sorted(name for name in splits if name))
    if split is None and len(splits) > 1:
        raise UsageError(f"{data}: it is split; choose with --split ({there})")
    if split is not None and split not in splits:
        reason = f"there are {there}" if there else "it is not split"
        raise UsageError(f"{data}: no split '{split}' in it; {reason}")
    return [clip for clip in clips if split in (None, clip.split)]


def prepare_subjects(
    clips: Sequence[LabelledClip],
    options: EvaluateOptions,
    models: "Mapping[str, Located]",
) -> tuple[Subject, ...]:
    """Check, before any video is decoded, that each model knows every label and fits the protocol.

    `models` says what the names of models in the options mean. Raises UsageError, WeightsError.
    """
    from timesformer_cli.inference.open import describe_model

    subjects = []
    for name in options.models:
        located = models[name]
        described = describe_model(located)
        _check_protocol(name, described.sampling, options.protocol)
        config = described.config
        if config.multi_label and not options.multi_label:
            raise UsageError(
                f"{name}: gives several labels a video; --multi-label measures it, with labels as "
                "run|walk, or a column of 0 and 1 for each class"
            )
        if options.multi_label:
            config = described.of_several(name).config
        labels, choice = described.labels, None
        asked = options.how.labels
        if config.text is not None:
            asked = asked or _words(clips, name)
            labels = tuple(label.name for label in asked)
        else:
            choice = choose_classes(described, asked, name)
        known = labels if choice is None else choice.labels
        given = [label for clip in clips for label in clip.classes]
        found = match(given, known, name) if given else {}
        numbers = range(len(known)) if choice is None else choice.numbers
        of_label = {label: numbers[at] for label, at in found.items()}
        subjects.append(
            Subject(
                located=located,
                labels=labels,
                asked=asked,
                answers=len(known),
                truths=tuple(_truth(clip, of_label) for clip in clips),
                thresholds=_thresholds(config, options),
                sampling=described.sampling,
                preprocessing=described.preprocessing,
            )
        )
    # A class number may mean another class to the second model, which would be no comparison.
    for clip, *truths in zip(clips, *(subject.truths for subject in subjects), strict=True):
        named = [
            join_labels(subject.labels[n] for n in (truth if isinstance(truth, tuple) else [truth]))
            for subject, truth in zip(subjects, truths, strict=True)
        ]
        if len(set(map(folded, named))) > 1:
            raise UsageError(
                f"{options.data}: class {clip.label} is '{named[0]}' to {options.model} and "
                f"'{named[1]}' to {options.compare}; give the labels' names"
            )
    return tuple(subjects)


def _words(clips: Sequence[LabelledClip], model: str) -> tuple[OwnLabel, ...]:
    """The labels of the data, as words; raises UsageError where they are numbers."""
    names = sorted({clip.label for clip in clips})
    if all(map(str.isdecimal, names)):
        raise UsageError(f"{model} takes words, and the data's labels are numbers; give --labels")
    return as_own_labels(names)


def evaluate_models(
    clips: Sequence[LabelledClip],
    subjects: Sequence[Subject],
    options: EvaluateOptions,
    note: NoteCallback = ignore_note,
    watch: WrapResults = lambda results, total, doing: results,
    seen: SeenCallback | None = None,
) -> tuple[EvaluationReport, list[Verdict]]:
    """The report, and the first model's verdict on each clip.

    `watch` passes the results on as they come; `seen` hears of the first model's. Raises
    WeightsError or DeviceError before the first result.
    """
    evaluations, verdicts = [], []
    videos = [clip.video for clip in clips]
    for number, subject in enumerate(subjects):
        told = None if number else seen
        running = classify.classify_videos(videos, _how(subject, options), note, told)
        results = list(watch(running, len(videos), f"evaluating {subject.located.name}"))
        judged = [
            judge(result, truth, subject.labels, clip)
            for result, truth, clip in zip(results, subject.truths, clips, strict=True)
        ]
        evaluations.append(_evaluation(subject, options, results, judged))
        verdicts.append(judged)
    if warned := [given for given in verdicts[0] if isinstance(given, Judged) and given.warnings]:
        first = f"{warned[0].video} {warned[0].warnings[0]}"
        note(f"{len(warned)} of {len(clips)} videos with a warning (--predictions); first: {first}")
    report = EvaluationReport(
        data=str(options.data),
        split=options.split,
        protocol=options.protocol,
        evaluations=tuple(evaluations),
        comparison=compare_verdicts(*verdicts) if len(verdicts) > 1 else None,
    )
    return report, verdicts[0]


def _truth(clip: LabelledClip, numbers: Mapping[str, int]) -> Truth:
    if clip.labels is None:
        return numbers[clip.label]
    return tuple(dict.fromkeys(numbers[label] for label in clip.labels))


def _thresholds(config: ModelConfig, options: EvaluateOptions) -> tuple[float, ...]:
    if not options.multi_label:
        return ()
    if options.how.threshold is not None:
        return (options.how.threshold,) * config.classes
    return config.each_threshold


def _check_protocol(model: str, sampling: Sampling, protocol: str | None) -> None:
    """Raise UsageError where the model takes its frames in another way than the protocol."""
    if protocol is None or PROTOCOLS[protocol].uniform == (sampling.stride is None):
        return
    spread = {True: "spread over the whole video", False: "a fixed stride apart"}
    raise UsageError(
        f"--protocol {protocol} takes frames {spread[PROTOCOLS[protocol].uniform]}, {model} "
        f"{spread[sampling.stride is None]}; give --views in its place"
    )


def _how(subject: Subject, options: EvaluateOptions) -> classify.ClassifyOptions:
    """How this model classifies for this evaluation; of several labels every score counts."""
    clips, crops = options.views
    top_k = len(subject.labels) if options.multi_label else TOP
    return replace(
        options.how,
        model=subject.located,
        labels=subject.asked,
        top_k=top_k,
        clips=clips,
        crops=crops,
        multi_label=options.multi_label,
    )


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
        scores=_score(subject, verdicts),
    )


def _score(subject: Subject, verdicts: Sequence[Verdict]) -> EvaluationScores:
    if subject.thresholds:
        several = [truth for truth in subject.truths if isinstance(truth, tuple)]
        return score_several(verdicts, several, subject.labels, subject.thresholds)
    single = [truth for truth in subject.truths if isinstance(truth, int)]
    return score_verdicts(verdicts, single, subject.labels, subject.answers)
