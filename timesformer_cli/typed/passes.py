"""Read one typed pass, a sentence and the facts behind it, as a `Grouping`, and write it again."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from timesformer_cli.grouping import EVERYWHERE, ClassToken, Grid, Grouping, parse_sentence
from timesformer_cli.typed.sentences import (
    GRID_LETTERS,
    OTHER_LETTERS,
    Line,
    Sentence,
    Word,
    called,
    read_sentence,
)

LONGEST = 4096  # the most that a number may be
BESIDE = "beside"  # between the groupings of the two halves of the heads
PADDED = "padded"  # the one fact without a value
PASS_FACTS = ("cls", "window", PADDED, "shift", "diagonal", "reach", "stride")
_WHOLE_AXIS = "*"
_PLAIN = Grouping("t h w -> () (t h w)")


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is said behind a sentence, by its key."""

    line: Line
    said: Mapping[str, Word]

    def refuse_first(self, keys: Sequence[str], why: str) -> None:
        """Raise a UsageError at the first of these facts that is said; nothing where none is."""
        for key in keys:
            if key in self.said:
                self.line.refuse(self.said[key], why.format(key))

    def number(self, key: str, unsaid: int = 1) -> int:
        """A whole number from 1."""
        if (word := self.said.get(key)) is None:
            return unsaid
        if not (number := _whole(word.value)):
            self.line.refuse(word, f"{key} is a whole number from 1 to {LONGEST}, such as {key}=2")
        return number

    def three(self, key: str, unsaid: Grid, everywhere: int | None) -> Grid:
        """Frames, rows and columns; `*` stands for `everywhere`, where there is such a number."""
        if (word := self.said.get(key)) is None:
            return unsaid
        numbers = [
            everywhere if part == _WHOLE_AXIS else _whole(part) for part in word.value.split(",")
        ]
        known = [number for number in numbers if number is not None]
        if len(known) != 3 or len(numbers) != 3:
            star = "" if everywhere is None else f"; {_WHOLE_AXIS} is a whole axis"
            why = f"{key} is three numbers for t, h, w, such as {key}=2,7,7{star}"
            self.line.refuse(word, why)
        frames, rows, columns = known
        return frames, rows, columns

    def diagonal(self) -> tuple[int, int]:
        """Rows and columns, either way; none, where nothing is said."""
        if (word := self.said.get("diagonal")) is None:
            return _PLAIN.diagonal
        if not (match := re.fullmatch("(-?[0-9]{1,4}),(-?[0-9]{1,4})", word.value)):
            why = "two numbers for h, w: how far each frame is moved on, such as diagonal=1,-1"
            self.line.refuse(word, why)
        return int(match[1]), int(match[2])

    def class_token(self) -> ClassToken:
        """How the class token takes part; shared, where nothing is said."""
        if (word := self.said.get("cls")) is None:
            return _PLAIN.cls
        for kind in get_args(ClassToken):
            if kind == word.value:
                return kind  # type: ignore[no-any-return]
        self.line.refuse(word, f"cls is one of {', '.join(get_args(ClassToken))}")


def read_pass(line: Line, words: Sequence[Word]) -> Grouping:
    """The grouping that these words of the line describe; raises UsageError for anything else."""
    marks = [number for number, word in enumerate(words) if word.text == BESIDE]
    if not marks:
        return _half(line, words)
    if len(marks) > 1:
        line.refuse(words[marks[1]], "heads are shared out among two groupings, not more")
    first, second = _half(line, words[: marks[0]]), _half(line, words[marks[0] + 1 :])
    if (first.cls, second.cls) != ("absent", "absent"):
        line.refuse(words[marks[0]], "shared heads leave the class token out; say cls=absent twice")
    return replace(first, second_grouping=second)


def pass_text(grouping: Grouping) -> str:
    """The inverse of `read_pass`: the same text for all definitions that mean the same."""
    return f" {BESIDE} ".join(_half_text(part) for part in grouping.parts)


def _half_text(grouping: Grouping) -> str:
    grid, (groups, members) = parse_sentence(grouping.sentence)
    words = [str(Sentence(grid, groups, members))]
    words += [f"{name}={length}" for name, length in grouping.factors]
    words += [PADDED] if grouping.padded else []
    words += [f"cls={grouping.cls}"] if grouping.cls != _PLAIN.cls else []
    if grouping.shift != _PLAIN.shift:
        words.append("shift=" + ",".join(map(str, grouping.shift)))
    if grouping.diagonal != _PLAIN.diagonal:
        words.append("diagonal=" + ",".join(map(str, grouping.diagonal)))
    if grouping.reach != _PLAIN.reach:
        reach = (_WHOLE_AXIS if by >= EVERYWHERE else str(by) for by in grouping.reach)
        words.append("reach=" + ",".join(reach))
    words += [f"stride={grouping.stride}"] if grouping.stride > 1 else []
    return " ".join(words)


def _half(line: Line, words: Sequence[Word]) -> Grouping:
    """A sentence and its facts."""
    starts = [number for number, word in enumerate(words) if is_fact(word)]
    first = starts[0] if starts else len(words)
    sentence, said = read_sentence(line, words[:first]), {}
    for word in words[first:]:
        if not is_fact(word):
            line.refuse(word, f"a fact is one word without spaces: key=value, or {PADDED}")
        if word.key in said:
            line.refuse(word, f"{word.key} is said twice")
        if len(word.key) != 1 and word.key not in PASS_FACTS:
            known = ", ".join(PASS_FACTS)
            line.refuse(word, f"no fact of a pass; there are {known}, and lengths such as i=2")
        said[word.key] = word
    facts = _Facts(line, said)
    lengths = {key: facts.number(key) for key in said if len(key) == 1}
    _require_in_sentence(facts, sentence, lengths)
    sentence, sizes = _in_windows(facts, sentence)
    lengths |= sizes
    _require_lengths(facts, words, sentence, lengths)
    grouping = Grouping(
        str(sentence),
        cls=facts.class_token(),
        factors=tuple(
            (name, lengths[name]) for names in sentence.grid for name in names if name in lengths
        ),
        padded=PADDED in said or "window" in said,
        shift=facts.three("shift", _PLAIN.shift, None),
        diagonal=facts.diagonal(),
        reach=facts.three("reach", _PLAIN.reach, EVERYWHERE),
        stride=facts.number("stride"),
    )
    _require_form(facts, sentence, grouping)
    return grouping


def is_fact(word: Word) -> bool:
    """Whether a word is none of a sentence."""
    return "=" in word.text or word.text == PADDED


def _require_in_sentence(facts: _Facts, sentence: Sentence, lengths: Mapping[str, int]) -> None:
    names = {name for axis in sentence.grid for name in axis}
    for key in lengths:
        if key not in names:
            facts.line.refuse(facts.said[key], f"{called(key)} is not in the sentence")


def _in_windows(facts: _Facts, sentence: Sentence) -> tuple[Sentence, dict[str, int]]:
    """The sentence within windows, each a group of its own or several, and the windows' sizes."""
    sizes = facts.three("window", _PLAIN.reach, EVERYWHERE)
    used = {name for axis in sentence.grid for name in axis}
    fresh = (letter for letter in "ijk" + OTHER_LETTERS if letter not in used)
    grid: list[list[str]] = []
    outer: list[str] = []
    lengths: dict[str, int] = {}
    for letter, axis, size in zip(GRID_LETTERS, sentence.grid, sizes, strict=True):
        if size == EVERYWHERE:
            grid.append(axis)
            continue
        if axis != [letter] or not size:
            why = "is split already" if size else "has windows of no patch"
            facts.refuse_first(["window"], f"{called(letter)} {why}; * leaves an axis whole")
        outer.append(next(fresh))
        grid.append([outer[-1], letter])
        lengths[letter] = size
    return Sentence(grid, outer + sentence.groups, sentence.members), lengths


def _require_lengths(
    facts: _Facts, words: Sequence[Word], sentence: Sentence, lengths: Mapping[str, int]
) -> None:
    """Refuse lengths that leave the clip none, or more than one, to decide along an axis."""
    for axis in sentence.grid:
        free = [name for name in axis if name not in lengths]
        if not free:
            name = axis[-1]
            why = f"{called(name)} has the length that is left of the clip; leave out {{}}"
            facts.refuse_first([name, *axis, "window"], why)
        if len(free) > 1:
            word = next(word for word in words if word.text in free)
            how = " or ".join(f"{name}=2" for name in free)
            facts.line.refuse(word, f"{called(word.text)} is split; say how with {how}")
        if len(axis) > 2:
            # Each of several lengths might fill the axis up anew, and the grid would grow and grow.
            why = f"{{}} fills up axes split in two, and {called(axis[-1])} is split further"
            facts.refuse_first([PADDED, "window"], why)


def _require_form(facts: _Facts, sentence: Sentence, grouping: Grouping) -> None:
    """Refuse facts for which the network has no form."""
    masks = ("window", PADDED, "reach")
    if grouping.cls != "absent":
        facts.refuse_first(masks, "{} leaves the class token out; say cls=absent as well")
    if grouping.stride > 1:
        facts.refuse_first(masks, "{} does not go with stride")
    if grouping.stride > 1 and grouping.cls == "global":
        facts.refuse_first(["stride"], "{} does not go with cls=global")
    if grouping.cls == "own" and sentence.groups != sentence.grid[0]:
        frames = " ".join(sentence.grid[0])
        facts.refuse_first(
            ["cls"], f"own class tokens need a group for each frame: ({frames}) (...)"
        )
    if grouping.cls == "own" and grouping.shift[0]:
        facts.refuse_first(["shift"], "t (frames) cannot move beside class tokens of its own")


def _whole(text: str) -> int | None:
    """A number from 0 to LONGEST in plain digits; None for anything else."""
    return int(text) if re.fullmatch("[0-9]{1,4}", text) and int(text) <= LONGEST else None
