"""From what a configuration or a command line calls a scheme to the scheme and back."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from timesformer_cli.errors import UsageError
from timesformer_cli.grouping import Grouping
from timesformer_cli.schemes import INNER, SCHEMES, PositionKind, Scheme
from timesformer_cli.typed.passes import LONGEST, is_fact, pass_text, read_pass
from timesformer_cli.typed.sentences import Line, Word

# A definition also comes from files that nobody here wrote: all that it can say is bounded.
MOST_TEXT = 2000  # characters
MOST_PASSES = 8
SCHEME_FACTS = ("name", "tubelet", "positions")
GROUP_NAMES = ("paper", "all")  # what a command line calls several schemes at once
NAME = r"[a-z][a-z0-9-]{0,39}"
_CHARACTERS = re.compile(r"[A-Za-z0-9\s()=,;*>_-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class TypedScheme:
    """A scheme that was read from text."""

    name: str  # empty where none is said
    scheme: Scheme
    text: str  # the same for all definitions that mean the same

    @property
    def label(self) -> str:
        """What tables and messages call it: its name, or else what its passes' members are."""
        if self.name in SCHEMES:  # from a file that is older than the scheme of that name
            return f"{self.name} (typed)"
        passes = [" beside ".join(map(_members, one.parts)) for one in self.scheme.passes]
        return self.name or " + ".join(passes)


def is_definition(attention: str) -> bool:
    """Whether this is meant as sentences, not as a name."""
    return any(mark in attention for mark in "();=>")


def find_scheme(attention: str) -> Scheme:
    """The scheme of this name or definition; raises UsageError."""
    known = (SCHEMES | INNER).get(attention)
    return parse_scheme(attention).scheme if known is None else known


def scheme_label(attention: str) -> str:
    """What tables and messages call a scheme; raises UsageError for what is none."""
    return attention if attention in SCHEMES | INNER else parse_scheme(attention).label


def canonical_scheme(attention: str) -> str:
    """A name as it is, and a definition as `TypedScheme.text`; raises UsageError."""
    return attention if attention in SCHEMES | INNER else parse_scheme(attention).text


def read_scheme(given: str) -> str:
    """What a command line calls a scheme, as a configuration holds it.

    It is a name, a definition, or the path of a TOML file with one. Raises UsageError, also for a
    typed scheme with the name of another.
    """
    if is_toml(given):
        from timesformer_cli.typed.toml import definition_in

        path = Path(given)
        try:
            return _with_free_name(definition_in(path))
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error
    return given if given in SCHEMES else _with_free_name(given)


def is_toml(given: str) -> bool:
    """Whether this is the path of a file with a definition."""
    return given.endswith(".toml")


@lru_cache(maxsize=128)
def parse_scheme(definition: str) -> TypedScheme:
    """The scheme of a definition; raises UsageError, in one line that shows where it is wrong."""
    if not is_definition(definition):
        known = ", ".join(SCHEMES)
        raise UsageError(f"unknown attention scheme '{definition:.80}'; there are {known}")
    if len(definition) > MOST_TEXT:
        raise UsageError(f"a scheme of {len(definition)} characters; {MOST_TEXT} are the most")
    if (end := _CHARACTERS.match(definition).end()) < len(definition):  # type: ignore[union-attr]
        raise UsageError(
            f"character {end + 1} of the scheme is {definition[end]!a}, which no sentence has"
        )
    passes: list[Grouping] = []
    facts: dict[str, str] = {}
    for line in _lines(definition):
        own = [word for word in line.words if word.key in SCHEME_FACTS and is_fact(word)]
        for word in own:
            if word.key in facts:
                line.refuse(word, f"{word.key} is said twice")
            facts[word.key] = word.value
            _require_fact(line, word)
        if words := [word for word in line.words if word not in own]:
            passes.append(read_pass(line, words))
            _require_one_kind(line, passes)
    if not 1 <= len(passes) <= MOST_PASSES:
        raise UsageError(f"a scheme has 1 to {MOST_PASSES} passes, and this one has {len(passes)}")
    texts = [f"{key}={facts[key]}" for key in SCHEME_FACTS if key in facts]
    scheme = Scheme(tuple(passes), "; ".join(map(pass_text, passes)))
    return TypedScheme(
        name=facts.get("name", ""),
        scheme=replace(scheme, **_of_scheme(facts)),
        text="; ".join([*texts, scheme.summary]),
    )


def _lines(definition: str) -> Iterator[Line]:
    """The parts that say anything, with plain spaces and none around them."""
    parts = re.sub(r"\s", " ", definition).split(";")
    yield from (Line(part.strip(), number) for number, part in enumerate(parts, 1) if part.strip())


def _require_fact(line: Line, word: Word) -> None:
    """Refuse a fact of the scheme whose value cannot be."""
    kinds = get_args(PositionKind)
    if word.key == "name" and not re.fullmatch(NAME, word.value):
        line.refuse(word, "a name is up to 40 small letters, digits and hyphens, a letter first")
    if word.key == "tubelet" and not (
        re.fullmatch("[1-9][0-9]{0,3}", word.value) and int(word.value) <= LONGEST
    ):
        line.refuse(word, "tubelet is a whole number of frames, such as tubelet=2")
    if word.key == "positions" and word.value not in kinds:
        line.refuse(word, f"positions is one of {', '.join(kinds)}")


def _of_scheme(facts: dict[str, str]) -> dict[str, Any]:
    """The fields of a Scheme that are said."""
    kinds = {"tubelet": int, "positions": str}
    return {key: kinds[key](value) for key, value in facts.items() if key in kinds}


def _require_one_kind(line: Line, passes: list[Grouping]) -> None:
    """Refuse a class token for each frame beside one for the clip: a block has one or the other."""
    kinds = {grouping.cls for grouping in passes} - {"absent"}
    if "own" in kinds and len(kinds) > 1:
        word = next((word for word in line.words if word.key == "cls"), Word("", len(line.text)))
        line.refuse(word, f"cls={passes[-1].cls} cannot stand in one scheme with the others' cls")


def _with_free_name(definition: str) -> str:
    """The canonical text; raises UsageError where its name is one of tsf's own."""
    typed = parse_scheme(definition)
    if typed.name in (*SCHEMES, *GROUP_NAMES):
        raise UsageError(f"name={typed.name}: there is a scheme of that name; choose another")
    return typed.text


def _members(grouping: Grouping) -> str:
    lengths = dict(grouping.factors)
    return " ".join(
        f"{name}={lengths[name]}" if name in lengths else name for name in grouping.members
    )
