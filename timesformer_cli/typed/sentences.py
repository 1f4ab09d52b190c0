"""Read a typed sentence; an error shows the word that is wrong, in its place."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from timesformer_cli.errors import UsageError
from timesformer_cli.grouping import AXES

GRID_LETTERS = "thw"
OTHER_LETTERS = "acefgijklmnopqrsuvxyz"  # b and d are the other axes of a tensor that is grouped
SHOWN = 80  # characters on each side of a word that is wrong
_CALLED = dict(zip(GRID_LETTERS, AXES, strict=True))
_WORD = re.compile(r"->|[()]|[^\s()]+?(?=->|[\s()]|$)")
_TWO_LISTS = "behind the arrow stand two lists in parentheses: (groups) (members)"


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a typed line, and where it begins there."""

    text: str
    start: int

    @property
    def key(self) -> str:
        """What stands before the `=` of a fact; the whole word where there is none."""
        return self.text.partition("=")[0]

    @property
    def value(self) -> str:
        """What stands behind the `=` of a fact."""
        return self.text.partition("=")[2]


@dataclass(frozen=True, slots=True)
class Line:
    """One part of a definition: what stands between two semicolons."""

    text: str
    number: int  # from 1

    @property
    def words(self) -> list[Word]:
        """Its words in order; an arrow and a parenthesis are words of their own."""
        return [Word(match[0], match.start()) for match in _WORD.finditer(self.text)]

    def refuse(self, word: Word, why: str) -> NoReturn:
        """Raise a UsageError that shows the line with this word in square brackets."""
        before, after = self.text[: word.start], self.text[word.start + len(word.text) :]
        before = before if len(before) <= SHOWN else f"...{before[-SHOWN:]}"
        after = after if len(after) <= SHOWN else f"{after[:SHOWN]}..."
        place = f"part {self.number}, character {word.start + 1}"
        raise UsageError(f"{place} of '{before}[{word.text:.{SHOWN}}]{after}': {why}")


@dataclass(frozen=True, slots=True)
class Sentence:
    """Names of axes: of each axis of the grid, of the groups and of the members."""

    grid: list[list[str]]
    groups: list[str]
    members: list[str]

    def __str__(self) -> str:
        grid = " ".join(_listed(names) if len(names) > 1 else names[0] for names in self.grid)
        return f"{grid} -> {_listed(self.groups)} {_listed(self.members)}"


@dataclass(frozen=True, slots=True)
class _Names:
    """Names in parentheses, or one name without."""

    opening: Word  # the parenthesis, or the name
    words: list[Word]


def read_sentence(line: Line, words: Sequence[Word]) -> Sentence:
    """The sentence that these words of the line are; raises UsageError for anything else.

    Its groups are a partition of any grid: each axis stands once on each side of the arrow.
    """
    arrows = [number for number, word in enumerate(words) if word.text == "->"]
    if not arrows:
        last = words[-1] if words else Word("", 0)
        end = Word("", last.start + len(last.text))
        line.refuse(end, "an arrow is missing: a sentence is t h w -> (groups) (members)")
    if len(arrows) > 1:
        line.refuse(words[arrows[1]], "a second arrow; a semicolon goes between two passes")
    arrow = words[arrows[0]]
    grid, right = _lists(line, words[: arrows[0]]), _lists(line, words[arrows[0] + 1 :])
    _require_grid(line, grid, arrow)
    for names in right:
        if names.opening.text != "(":
            line.refuse(names.opening, f"{called(names.opening.text)} stands alone; {_TWO_LISTS}")
    if len(right) != 2:
        line.refuse(right[2].opening if len(right) > 2 else arrow, _TWO_LISTS)
    before, behind = _once(line, grid), _once(line, right)
    for name, word in before.items():
        if name not in behind:
            line.refuse(word, f"{called(name)} stands before the arrow and not behind it")
    for name, word in behind.items():
        if name not in before:
            line.refuse(word, f"{called(name)} stands behind the arrow and not before it")
    if not right[1].words:
        line.refuse(right[1].opening, "no members: every patch would see itself alone")
    return Sentence([_texts(names) for names in grid], *(_texts(names) for names in right))


def called(letter: str) -> str:
    """An axis in words: `w (columns)`, or `axis i` for one that only a sentence has."""
    return f"{letter} ({_CALLED[letter]})" if letter in _CALLED else f"axis {letter}"


def _lists(line: Line, words: Iterable[Word]) -> list[_Names]:
    found: list[_Names] = []
    inside: Word | None = None
    for word in words:
        if word.text == "(":
            if inside is not None:
                line.refuse(word, "parentheses do not stand in parentheses")
            inside = word
            found.append(_Names(word, []))
        elif word.text == ")":
            if inside is None:
                line.refuse(word, "this parenthesis was never opened")
            inside = None
        elif word.text not in (*GRID_LETTERS, *OTHER_LETTERS):
            line.refuse(word, "not an axis: an axis is one small letter other than b and d")
        elif inside is not None:
            found[-1].words.append(word)
        else:
            found.append(_Names(word, [word]))
    if inside is not None:
        line.refuse(inside, "this parenthesis is never closed")
    return found


def _require_grid(line: Line, axes: Sequence[_Names], arrow: Word) -> None:
    """Refuse a left side that is not frames, rows and columns in this order, each alone or split."""
    found: list[Word] = []
    for names in axes:
        own = [word for word in names.words if word.text in GRID_LETTERS]
        if not own:
            shown = names.words[0] if names.words else names.opening
            line.refuse(shown, "not in the grid, which is t h w: frames, rows, columns")
        if len(own) > 1:
            line.refuse(own[1], f"{called(own[1].text)} is an axis of its own, not one with others")
        found += own
    texts = [word.text for word in found]
    for letter in GRID_LETTERS:
        if letter not in texts:
            line.refuse(arrow, f"{called(letter)} is missing before the arrow")
        if letter != texts[place := GRID_LETTERS.index(letter)]:
            line.refuse(found[place], f"here {called(letter)} belongs: the grid is t h w, in order")


def _once(line: Line, lists: Iterable[_Names]) -> dict[str, Word]:
    """The names on one side of the arrow; refuses one that stands there twice."""
    named: dict[str, Word] = {}
    for word in (word for names in lists for word in names.words):
        if word.text in named:
            line.refuse(word, f"{called(word.text)} stands twice on one side of the arrow")
        named[word.text] = word
    return named


def _texts(names: _Names) -> list[str]:
    return [word.text for word in names.words]


def _listed(names: Iterable[str]) -> str:
    return f"({' '.join(names)})"
