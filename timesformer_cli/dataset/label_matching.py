"""Find labels, as people write them, among a model's classes."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from timesformer_cli.errors import UsageError
from timesformer_cli.video.listed import composed

MOST_NAMED = 3  # labels, and classes, that an error names
LONGEST = 60  # characters of a label that an error shows


def match(
    labels: Iterable[str], classes: Sequence[str], model: str, otherwise: str = ""
) -> dict[str, int]:
    """The class number that each label means: all labels are names, or all are numbers.

    They are names where each is one of the classes; case, spaces, hyphens, underscores and the form
    of Unicode do not matter. Else they are class numbers, where each is a number of a class and the
    classes have no numbers for names. Raises UsageError that names the labels which `model` does
    not have, the classes nearest to them, and what to do `otherwise`.
    """
    labels = list(dict.fromkeys(labels))
    exact, alike = _numbers(classes), _numbers([folded(name) for name in classes])
    named: dict[str, int] = {}
    for label in labels:
        numbers = exact.get(label) or alike.get(folded(label), [])
        if len(numbers) > 1:
            raise UsageError(f"label '{label}' names {len(numbers)} classes of {model}: number it")
        if numbers:
            named[label] = numbers[0]
    unknown = [label for label in labels if label not in named]
    if not unknown:
        return named
    if all(label.isdecimal() for label in labels) and not all(map(str.isdecimal, classes)):
        numbered = {label: int(label) for label in labels}
        if two := [label for label in named if named[label] != numbered[label]]:
            raise UsageError(
                f"label '{two[0]}' is the name of class {named[two[0]]} of {model} and the number "
                f"of another, and '{unknown[0]}' is no name; give the labels' names"
            )
        unknown = [label for label in labels if numbered[label] >= len(classes)]
        if not unknown:
            return numbered
    raise UsageError(_unknown(unknown, classes, model) + (f"; {otherwise}" if otherwise else ""))


def folded(label: str) -> str:
    """A label in lower case and one Unicode form, its words parted by single spaces."""
    plain = composed(composed(label).casefold())
    return re.sub(r"[\s_-]+", " ", plain).strip()


def shown_label(label: str) -> str:
    """The label as an error or a note shows it: its beginning, where it is long."""
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"


def _numbers(names: Sequence[str]) -> Mapping[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        numbers.setdefault(name, []).append(number)
    return numbers


def _unknown(labels: Sequence[str], classes: Sequence[str], model: str) -> str:
    names = {folded(name): name for name in classes}
    said = []
    for label in labels[:MOST_NAMED]:
        near = difflib.get_close_matches(folded(label)[:LONGEST], names, n=2, cutoff=0.5)
        hint = f" (nearest: {', '.join(names[name] for name in near)})" if near else ""
        said.append(f"'{shown_label(label)}'{hint}")
    more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
    have = ", ".join(classes[:MOST_NAMED]) + (", ..." if len(classes) > MOST_NAMED else "")
    return f"{model} has no class {', '.join(said)}{more}; its {len(classes)} are {have}"
