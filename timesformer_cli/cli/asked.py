"""The options of requests, read as the command of the same name reads its command line.

A field is an option without its dashes. Types, limits, defaults, help and messages are those of the
command, since its own parser reads the values.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import typer

from timesformer_cli.cli import options, timeline_options
from timesformer_cli.cli.classify import classify
from timesformer_cli.cli.embed import embed, require_fitting_clips
from timesformer_cli.cli.group import BadCommandLine, fault_of
from timesformer_cli.cli.timeline import require_fitting, timeline
from timesformer_cli.errors import UsageError

if TYPE_CHECKING:
    from timesformer_cli.inference.classify import ClassifyOptions
    from timesformer_cli.serving.options import AskedOfVideo, Fields
    from timesformer_cli.timelines.options import TimelineOptions

WINDOWS = "every start end cuts frames stride".split()
# What a request may say; all else is the server's, or is about files on the client's side.
ASKED: dict[str, tuple[Callable[..., None], list[str]]] = {
    "classify": (classify, "top_k frames stride views threshold".split()),
    "timeline": (timeline, [*WINDOWS, *"threshold smooth refine windows top_k format".split()]),
    "embed": (embed, [*WINDOWS, *"views normalise top_k".split()]),
}
FORMATS = ("json", "jsonl")
# What a server has decided for all requests.
SERVERS = "model labels templates none_below batch_size timeout decoder debug".split()
TYPES = {int: "integer", float: "number", bool: "boolean", str: "string"}


@dataclass(frozen=True, slots=True)
class CommandReader:
    """A `serving.options.RequestReader` for a server whose model has these options."""

    base: "ClassifyOptions"

    def read(self, verb: str, fields: "Fields") -> "AskedOfVideo":
        """What a request asks, or UsageError with the command's message."""
        from timesformer_cli.serving.options import AskedOfVideo

        context = _context(verb, fields)
        given = context.params
        if verb == "classify":
            return AskedOfVideo(options=self._clips(context))
        if verb == "embed":
            require_fitting_clips(options.said(context), windows=given["every"] is not None)
            chosen = self._clips(context) if given["every"] is None else self._windows(context)
            return AskedOfVideo(options=chosen, normalise=given["normalise"])
        written = given["format"] or FORMATS[0]
        if written not in FORMATS:
            raise UsageError(f"--format is {' or '.join(FORMATS)} over HTTP, not {written}")
        stream = written == "jsonl"
        told = "top_k" in options.said(context) and not stream  # which tells windows as they come
        require_fitting(written, given["windows"], told)
        timeline_options.require_threshold(given["threshold"])
        return AskedOfVideo(options=self._windows(context), stream=stream)

    def describe(self, verb: str) -> dict[str, dict[str, Any]]:
        """A JSON Schema for each option."""
        return {field: option.schema() for field, option in _options(verb).items()}

    def _clips(self, context: typer.Context) -> "ClassifyOptions":
        clips, crops = options.parse_views(context.params["views"])
        asked = {name: context.params[name] for name in ("top_k", "frames", "stride")}
        threshold = context.params.get("threshold")
        return replace(self.base, clips=clips, crops=crops, threshold=threshold, **asked)

    def _windows(self, context: typer.Context) -> "TimelineOptions":
        from timesformer_cli.timelines.options import TimelineOptions

        given, own = context.params, {name: getattr(self.base, name) for name in SERVERS}
        timeline_options.require_every(given["every"])
        own["start"], own["end"] = timeline_options.parse_stretch(given["start"], given["end"])
        own["features"] = "normalise" in given  # of tsf embed
        if "smooth" in given:
            own["smooth"] = timeline_options.parse_smooth(given["smooth"])
        return options.fill(TimelineOptions, context, **own)


@dataclass(frozen=True, slots=True)
class _Option:
    """An option as its command declares it."""

    word: str  # `--top-k`
    opposite: str  # `--no-cuts`; empty where the option has none
    kind: Any  # int, float, bool, str or a Literal
    default: Any
    info: Any  # what Typer was told: limits, help

    def words(self, value: str) -> list[str]:
        """The words of a command line that give it this value; raises UsageError."""
        if self.kind is not bool:
            return [f"{self.word}={value}"]
        if value not in ("true", "false"):
            raise UsageError(f"{self.word} is true or false, not {value[:100]!r}")
        said = self.word if value == "true" else self.opposite
        return [said] if said else []

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        choices = {"enum": list(get_args(self.kind))} if get_origin(self.kind) is Literal else {}
        if "jsonl" in choices.get("enum", ()):
            choices["enum"] = list(FORMATS)
        limits = {"minimum": self.info.min, "maximum": self.info.max}
        return {
            "type": TYPES.get(self.kind, "string"),
            "description": self.info.help,
            **choices,
            **{name: limit for name, limit in limits.items() if limit is not None},
            **({} if self.default is None else {"default": self.default}),
        }


@cache
def _options(verb: str) -> dict[str, _Option]:
    """The options that requests may give, by the names of their fields."""
    command, names = ASKED[verb]
    hints, found = get_type_hints(command, include_extras=True), {}
    words = {parameter.name: parameter for parameter in _command(verb).params}
    for name in names:
        hint, info = get_args(hints[name])
        (kind,) = [each for each in get_args(hint) if each is not NoneType] or [hint]
        if get_origin(hint) is Literal:
            kind = hint
        word, opposite = words[name].opts[0], "".join(words[name].secondary_opts)
        default = inspect.signature(command).parameters[name].default
        field = word.removeprefix("--").replace("-", "_")
        found[field] = _Option(word, opposite, kind, default, info)
    return found


@cache
def _command(verb: str) -> Any:
    alone = typer.Typer()
    alone.command()(ASKED[verb][0])
    return typer.main.get_command(alone)


def _context(verb: str, fields: "Fields") -> typer.Context:
    """What the command would be run with; raises UsageError."""
    known, words = _options(verb), list[str]()
    for field, values in fields.items():
        option = known.get(field.replace("-", "_"))
        if option is None:
            raise UsageError(f"no option --{field}; there are {', '.join(known)}")
        if len(values) > 1:
            raise UsageError(f"{option.word} is given {len(values)} times")
        words += option.words(values[0])
    try:
        context: typer.Context = _command(verb).make_context(verb, [*words, "--", "video"])
    except BadCommandLine as error:
        raise UsageError(fault_of(error)) from None
    return context
