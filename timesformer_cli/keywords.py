"""The keywords of the Python functions, each said once: for readers, type checkers and `help`.

A function takes `**keywords: Unpack[ClassifyKeywords]`, which type checkers know, and `signed` puts
the same names, with the defaults of the command's options, into the signature that `help` shows.
"""

from __future__ import annotations  # `help` shows types by the names that they have here

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypedDict, TypeVar

from timesformer_cli.dataset.own_labels import GivenLabels, as_own_labels, asked_of_model
from timesformer_cli.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])
Options = TypeVar("Options")
OWN = {"labels": None, "template": None}  # what the command's options have in another form
# Numbers that are at least 1, or more than 0.
WHOLE = ("top_k", "frames", "stride", "clips", "batch_size", "workers")
POSITIVE = ("timeout", "every")
CHOICES = {"crops": (1, 3), "decoder": ("auto", "av", "decord", "opencv", "pillow", "torchcodec")}


class ModelKeywords(TypedDict, total=False):
    """How a model is run, and what its answers may be."""

    labels: GivenLabels | None  # classes of the model, or words; a mapping has texts that say each
    template: str | Sequence[str] | None  # `{}` stands for the label; None means the model's
    none_below: float | None  # a label that is less similar is none
    top_k: int  # labels of an answer, best first
    frames: int | None  # per clip; None means as the model was trained
    stride: int | None  # in frames of a 30-fps video; None means as the model was trained
    device: str  # auto, cpu, cuda:0, ...
    dtype: str  # auto, float32, bfloat16, float16 or int8
    compile: bool  # whether torch.compile compiles the model
    batch_size: int  # clips per run of the model
    timeout: float  # seconds that a video may go without progress
    decoder: str  # auto, av, decord, opencv, pillow or torchcodec
    debug: bool  # whether the messages of child processes reach stderr


class ClassifyKeywords(ModelKeywords, total=False):
    """What `classify` and `Classifier` take beside `ModelKeywords`."""

    clips: int  # moments of a video, spread over it; scores of all views are averaged
    crops: int  # of each clip: 1 or 3
    multi_label: bool  # whether each class is scored by itself, whatever the model says
    threshold: float | None  # from which a video has a label; None means the model's own
    workers: int | None  # decoders; None means one per processor


class SegmentKeywords(TypedDict, total=False):
    """How windows are taken from a video and become segments."""

    every: float | None  # seconds between two windows; None means half of a window's span
    start: float  # seconds; nothing before this is looked at
    end: float  # seconds; inf is the end of the video
    threshold: float  # a label whose score is below this is none
    smooth: float  # nats that a change of label costs; 0: none, -1: as the windows overlap
    cuts: bool  # whether shots are told apart
    refine: bool  # whether changes are found to a quarter of `every`


class TimelineKeywords(ModelKeywords, SegmentKeywords, total=False):
    """What `timeline` takes: both of these."""


class ExplainKeywords(TypedDict, total=False):
    """What is asked about an answer."""

    attention: str | None  # a scheme, or sentences, in place of the model's own; None means its own
    label: str | None  # whose score is explained; None means the best one's
    method: str  # combined, rollout, gradient, integrated, attention or occlusion
    layer: int | None  # of `attention`: a block's number, from 1; None means the last one
    head: int | None  # of `attention`, from 1; None means the mean of all
    query: tuple[int, int, int] | None  # of `attention`: frame, row and column of a patch, from 1
    prove: bool  # whether the map is compared with chance


def signed(keywords: type, options: type) -> Callable[[Function], Function]:
    """Give a function that takes `**keywords` a signature that names them, for `help`."""

    def sign(function: Function) -> Function:
        plain = inspect.signature(function)
        given = [each for each in plain.parameters.values() if each.kind is not each.VAR_KEYWORD]
        defaults = {field.name: field.default for field in fields(options)} | OWN
        named = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults[name],
                annotation=hint.__forward_arg__,
            )
            for name, hint in keywords.__annotations__.items()
        ]
        assert MISSING not in [each.default for each in named]
        function.__signature__ = plain.replace(parameters=[*given, *named])  # type: ignore[attr-defined]
        return function

    return sign


def options_of(
    kind: Callable[..., Options], model: Any, keywords: Mapping[str, Any], **more: Any
) -> Options:
    """The command's options that keywords say; raises UsageError and TypeError for wrong ones."""
    values = dict(keywords)
    for name, value in values.items():
        _require_sense(name, value)
    if OWN.keys() & values.keys() or "none_below" in values:
        own = as_own_labels(values.pop("labels", None))
        values |= asked_of_model(own, values.pop("template", None), values.pop("none_below", None))
    return kind(model=model, **values, **more)


def _require_sense(name: str, value: Any) -> None:
    if value is None:
        return
    if name in CHOICES and value not in CHOICES[name]:
        known = " or ".join(map(str, CHOICES[name]))
        raise UsageError(f"{name} is {known}; got {value!r}")
    if name in WHOLE and (not isinstance(value, int) or value < 1):
        raise UsageError(f"{name} is a whole number from 1; got {value!r}")
    if name in POSITIVE and (not isinstance(value, int | float) or not value > 0):
        raise UsageError(f"{name} is a number of seconds above 0; got {value!r}")
