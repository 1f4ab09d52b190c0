"""Bring the generated parts of docs/api.md up to date: `python -m scripts.docs.api_page`."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from timesformer_cli import api, keywords
from timesformer_cli.cli.formats import markdown_table
from timesformer_cli.errors import ErrorKind
from timesformer_cli.explain.options import ExplainOptions
from timesformer_cli.inference.classify import ClassifyOptions
from timesformer_cli.schema import RESULTS, own_comments
from timesformer_cli.timelines.options import TimelineOptions

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
UNPACKED = re.compile(r"Unpack\[(\w+)\]")
WIDTH = 100  # characters of a signature; a longer one has a line for each parameter


def error_table() -> str:
    """All kinds of errors."""
    rows = [(f"`{kind}`", kind.meaning, kind.advice) for kind in ErrorKind]
    return markdown_table(("kind", "what it means", "what to do"), rows)


def result_table() -> str:
    """All results that have a schema."""
    rows = [(f"`tsf schema {name}`", what) for name, (what, _) in RESULTS.items()]
    return markdown_table(("command", "describes"), rows)


def signatures() -> str:
    """All public functions and methods as they are declared, and what they say of themselves."""
    return "\n".join(
        f"```text\n{_declared(name, function)}\n```\n\n{inspect.getdoc(function)}\n"
        for name, function in _public()
    )


def _public() -> Iterator[tuple[str, Callable[..., Any]]]:
    yield from (("classify", api.classify), ("timeline", api.timeline))
    yield "Classifier", api.Classifier
    for name, method in vars(api.Classifier).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            yield f"classifier.{name}", method
        elif name == "__call__":
            yield "classifier", method
    yield "load_model", api.load_model


def _declared(name: str, function: Callable[..., Any]) -> str:
    """The signature as it stands in the code: keywords that several share by the name of their list."""
    made = function.__init__ if inspect.isclass(function) else function
    shared = UNPACKED.search(made.__annotations__.get("keywords", ""))
    named = vars(keywords)[shared[1]].__annotations__ if shared else ()
    every = inspect.signature(made).parameters.values()
    parts = [
        str(each).replace("'", "")
        if each.default is each.empty
        else f"{each.name}: {each.annotation} = {each.default!r}"
        for each in every
        if each.name != "self" and each.name not in named
    ]
    first = next(
        (
            n
            for n, each in enumerate(e for e in every if e.name != "self" and e.name not in named)
            if each.kind is each.KEYWORD_ONLY
        ),
        None,
    )
    if first is not None:
        parts.insert(first, "*")
    parts += [f"**{shared[1]}"] if shared else []
    returned = made.__annotations__["return"] if function is made else name
    line = f"{name}({', '.join(parts)}) -> {returned}"
    if len(line) <= WIDTH:
        return line
    return f"{name}(\n    " + ",\n    ".join(parts) + f",\n) -> {returned}"


def keyword_tables() -> str:
    """The keywords that functions share."""
    lists = (
        (keywords.ModelKeywords, ClassifyOptions),
        (keywords.ClassifyKeywords, ClassifyOptions),
        (keywords.SegmentKeywords, TimelineOptions),
        (keywords.ExplainKeywords, ExplainOptions),
    )
    made = []
    for each, options in lists:
        defaults = {field.name: field.default for field in fields(options)} | keywords.OWN
        rows = [
            (
                f"`{name}`",
                f"`{each.__annotations__[name].__forward_arg__}`",
                f"`{defaults[name]!r}`",
                said,
            )
            for name, said in own_comments(each).items()
        ]
        table = markdown_table(("keyword", "type", "default", "meaning"), rows)
        made.append(f"`{each.__name__}`: {inspect.getdoc(each)}\n\n{table}")
    return "\n".join(made)


PARTS = {
    "errors": error_table,
    "keywords": keyword_tables,
    "results": result_table,
    "signatures": signatures,
}


def page() -> str:
    """The page, its generated parts made anew."""
    text = PAGE.read_text(encoding="utf-8")
    return PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n{part[3]}", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
