"""Labels as people write them, found among a model's classes."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from timesformer_cli.errors import UsageError

MOST_NAMED = 3


def match(labels: Iterable[str], classes: Sequence[str], model: str) -> dict[str, int]:
    """The class that each label means: by name, whatever its case, spaces, hyphens and underscores;
    by number, where no class is named so and all labels are numbers.

    Raises UsageError that names labels the model does not have, and the nearest it does.
    """
    labels = list(dict.fromkeys(labels))
    numbered = all(label.isdecimal() for label in labels)
    exact, alike = _numbers(classes), _numbers([folded(name) for name in classes])
    found: dict[str, int] = {}
    unknown = []
    for label in labels:
        numbers = exact.get(label) or alike.get(folded(label), [])
        if len(numbers) > 1:
            raise UsageError(f"label '{label}' names {len(numbers)} classes of {model}: number it")
        if numbers:
            found[label] = numbers[0]
        elif numbered and int(label) < len(classes):
            found[label] = int(label)
        else:
            unknown.append(label)
    if unknown:
        raise UsageError(_unknown(unknown, classes, model))
    return found


def folded(label: str) -> str:
    """A label without what people write differently."""
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
        hint = f" (nearest: {', '.join(names[one] for one in near)})" if near else ""
        said.append(f"'{label}'{hint}")
    more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
    have = ", ".join(classes[:MOST_NAMED]) + (", ..." if len(classes) > MOST_NAMED else "")
    return f"{model} has no class {', '.join(said)}{more}; its {len(classes)} are {have}"
