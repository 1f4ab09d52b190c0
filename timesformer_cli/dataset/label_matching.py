"""Find labels, as people write them, among a model's classes."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from timesformer_cli.errors import UsageError

MOST_NAMED = 3  # labels, and classes, that an error names


def match(labels: Iterable[str], classes: Sequence[str], model: str) -> dict[str, int]:
    """The class number that each label means.

    Labels are compared with class names; case, spaces, hyphens and underscores do not matter. Where
    all labels are numbers, one that is no class name is taken as a class number. Raises UsageError
    that names the labels which `model` does not have, and the classes nearest to them.
    """
    labels = list(dict.fromkeys(labels))
    numbered = all(label.isdecimal() for label in labels)
    exact, alike = _numbers(classes), _numbers([folded(name) for name in classes])
    matched: dict[str, int] = {}
    unknown = []
    for label in labels:
        numbers = exact.get(label) or alike.get(folded(label), [])
        if len(numbers) > 1:
            raise UsageError(f"label '{label}' names {len(numbers)} classes of {model}: number it")
        if numbers:
            matched[label] = numbers[0]
        elif numbered and int(label) < len(classes):
            matched[label] = int(label)
        else:
            unknown.append(label)
    if unknown:
        raise UsageError(_unknown(unknown, classes, model))
    return matched


def folded(label: str) -> str:
    """A label in lower case, its words parted by single spaces."""
    return re.sub(r"[\s_-]+", " ", label).strip().casefold()


def _numbers(names: Sequence[str]) -> Mapping[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        numbers.setdefault(name, []).append(number)
    return numbers


def _unknown(labels: Sequence[str], classes: Sequence[str], model: str) -> str:
    names = {folded(name): name for name in classes}
    said = []
    for label in labels[:MOST_NAMED]:
        near = difflib.get_close_matches(folded(label), names, n=2, cutoff=0.5)
        hint = f" (nearest: {', '.join(names[name] for name in near)})" if near else ""
        said.append(f"'{label}'{hint}")
    more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
    have = ", ".join(classes[:MOST_NAMED]) + (", ..." if len(classes) > MOST_NAMED else "")
    return f"{model} has no class {', '.join(said)}{more}; its {len(classes)} are {have}"
