"""The JSON Schema of every result, made from the dataclasses.

In: names of results. Out: JSON Schema (draft 2020-12, as in OpenAPI 3.1). Types come from the type
hints, descriptions from docstrings and from the comments at the fields.
"""

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import is_dataclass
from enum import Enum
from importlib import import_module
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from timesformer_cli.errors import UsageError
from timesformer_cli.results import AXES, IF_ANY, SCHEMA, WHEN, written_fields, written_properties

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# What each result is, and where its type stands: only what is asked for is imported.
RESULTS = {
    "classify": ("one video", "inference.classified:Result"),
    "timeline": ("one video", "timelines.results:TimelineResult"),
    "watch": ("one window of a stream", "timelines.watch:WatchedWindow"),
    "explain": ("one video", "explain.results:Explanation"),
    "embed": ("one video", "library.embed:EmbedResult"),
    "search": ("one place in a video that was found", "library.search:Hit"),
    "duplicates": ("one pair that tsf search --duplicates found", "library.duplicates:Pair"),
    "library": ("one library", "library.summary:Summary"),
    "models": ("one model of the list", "weights.published:ListedWeights"),
    "info": ("one model", "inference.model_facts:ModelFacts"),
    "evaluate": ("one run", "evaluation.run:EvaluationReport"),
    "predictions": ("one video of tsf evaluate --predictions", "evaluation.verdicts:Verdict"),
    "export": ("one export", "export.run:Exported"),
    "benchmark": ("one table of schemes", "benchmark.run_schemes:BenchmarkReport"),
    "benchmark-models": ("one model of tsf benchmark --model", "benchmark.run_models:ModelRow"),
    "published": ("one number of tsf benchmark --paper", "cost.published:Compared"),
    "doctor": ("one machine", "doctor:Checkup"),
    "serve-window": ("one window that tsf serve streams", "timelines.results:ScoredWindow"),
    "serve-model": ("the model of tsf serve", "serving.engine:ServedModel"),
    "serve-refusal": ("what tsf serve says no with", "serving.refused:RefusedRequest"),
}
PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
# A field of a dataclass, and a comment above one.
FIELD = re.compile(r"    (?P<name>\w+): [^#]*(?:  # (?P<comment>.*))?")
COMMENT = re.compile(r"    # (.*)")


def schema_document(result: str | None = None) -> dict[str, Any]:
    """The schema of one result, or of any result; raises UsageError for a name that is none."""
    if result is not None and result not in RESULTS:
        raise UsageError(f"no result is called '{result}'; there are {', '.join(RESULTS)}")
    names = list(RESULTS) if result is None else [result]
    found = definitions(names)
    if result is None:
        whole = {"title": "tsf", "anyOf": [{"$ref": f"#/$defs/{name}"} for name in names]}
    else:
        whole = found.pop(result)
    return {"$schema": DIALECT, **whole, "$defs": found}


def definitions(results: Iterable[str], place: str = "#/$defs/") -> dict[str, Any]:
    """The schemas of results by their names, and of all types in them by theirs.

    They refer to one another at `place`, which is `#/components/schemas/` in OpenAPI.
    """
    found: dict[str, Any] = {}
    for name in results:
        what, where = RESULTS[name]
        module, _, attribute = where.partition(":")
        hint = getattr(import_module(f"timesformer_cli.{module}"), attribute)
        found[name] = {
            "title": name,
            "description": f"{what[0].upper()}{what[1:]}.",
            "type": "object",
            "properties": {"schema": {"const": SCHEMA}},
            "required": ["schema"],
            **_any_of(_options(hint), found, place),
        }
    return found


def _schema(hint: Any, found: dict[str, Any], place: str) -> dict[str, Any]:
    """The schema of a type; those of classes go to `found`, and are referred to."""
    origin, inside = get_origin(hint), get_args(hint)
    if hint is Any:
        return {}
    if hint in PLAIN:
        return {"type": PLAIN[hint]}
    if origin is Literal:
        return {"const": inside[0]} if len(inside) == 1 else {"enum": list(inside)}
    if len(options := _options(hint)) > 1:
        return _any_of(options, found, place)
    if origin is tuple and inside[-1] is not ...:
        parts = [_schema(part, found, place) for part in inside]
        return {"type": "array", "prefixItems": parts, "items": False, "minItems": len(parts)}
    if origin in (tuple, list):
        return {"type": "array", "items": _schema(inside[0], found, place)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(inside[1], found, place)}
    name = hint.__name__
    if name not in found:
        found[name] = {}  # a type may hold itself
        kind = _of_enum if issubclass(hint, Enum) else _of_dataclass
        found[name] = kind(hint, found, place)
    return {"$ref": place + name}


def _options(hint: Any) -> Sequence[Any]:
    """The parts of a union; any other type by itself."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _any_of(options: Sequence[Any], found: dict[str, Any], place: str) -> dict[str, Any]:
    schemas = [_schema(option, found, place) for option in options]
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _of_enum(kind: type[Enum], found: dict[str, Any], place: str) -> dict[str, Any]:
    return {"description": _said(kind), "type": "string", "enum": [each.value for each in kind]}


def _of_dataclass(kind: type, found: dict[str, Any], place: str) -> dict[str, Any]:
    assert is_dataclass(kind), kind
    hints, comments = get_type_hints(kind), field_comments(kind)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, about in written_fields(kind).items():
        options = _options(float if AXES in about else hints[name])
        if about == IF_ANY:  # in the place of null it is left out
            options = [option for option in options if option is not NoneType]
        schema = _any_of(options, found, place)
        for _ in range(about.get(AXES, 0)):
            schema = {"type": "array", "items": schema}
        properties[name] = schema
        if WHEN not in about:
            required.append(name)
    for name in written_properties(kind):
        getter = getattr(kind, name).fget
        properties[name] = _schema(get_type_hints(getter)["return"], found, place)
        comments[name] = _said(getter)
        required.append(name)
    for name, comment in comments.items():
        if name in properties:
            properties[name] = {"description": comment, **properties[name]}
    return {
        "description": _said(kind),
        "type": "object",
        "properties": properties,
        "required": required,
    }


def _said(thing: object) -> str:
    """The first paragraph of a docstring, as one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def field_comments(kind: type) -> dict[str, str]:
    """What the comments at a dataclass's fields say, also at those that it inherits."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-1]):
        said = own_comments(each)
        found |= {name: text.replace("None", "null") for name, text in said.items()}
    return found


def own_comments(kind: type) -> dict[str, str]:
    """What the comments at the names that a class declares itself say."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getsource(kind).splitlines():
        if comment := COMMENT.fullmatch(line):
            above.append(comment[1])
            continue
        declared = FIELD.fullmatch(line)
        if declared and (said := " ".join([*above, declared["comment"] or ""]).strip()):
            found[declared["name"]] = said
        above = []
    return found
