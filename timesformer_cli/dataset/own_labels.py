"""Labels that a user gives: on the command line, in a file, or in Python."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timesformer_cli.dataset.label_matching import folded, shown_label
from timesformer_cli.dataset.table_text import read_text
from timesformer_cli.errors import UsageError
from timesformer_cli.video.listed import LINE_BREAK

MOST_LABELS = 100_000  # a text tower takes minutes for so many
TEXTS = (".txt", ".tsv")  # how a file of labels may be called; others are told by being there
SLOT = "{}"  # where a template has the label


@dataclass(frozen=True, slots=True)
class OwnLabel:
    """A label, and whole texts that say it, in place of the model's templates."""

    name: str
    prompts: tuple[str, ...] = ()  # none: the templates say it


GivenLabels = Iterable[str] | Mapping[str, str | Sequence[str]]


def parse_own_labels(given: str | None, option: str = "--labels") -> tuple[OwnLabel, ...]:
    """Labels with commas between them, one with a comma in quotes, or those of a file.

    A file has a label a line; behind a tab may stand texts that say it, with | between them. Raises
    UsageError for no label, one that is there twice, and a file that cannot be read.
    """
    if given is None:
        return ()
    path = Path(os.path.expanduser(given))
    if os.path.isfile(path):
        if path.suffix.lower() == ".csv":
            raise UsageError(f"{path}: a file of labels has one a line; save it as .txt")
        return _checked(_lines(path), str(path))
    if path.suffix.lower() in TEXTS and "," not in given:
        raise UsageError(
            f"{option} {given}: there is no such file; labels have commas between them"
        )
    (found,) = csv.reader([given.replace("\n", " ")], skipinitialspace=True) or [[]]
    return _checked([OwnLabel(name.strip()) for name in found if name.strip()], option)


def as_own_labels(given: GivenLabels | None) -> tuple[OwnLabel, ...]:
    """Labels as Python code gives them, or a mapping from each to the texts that say it.

    Raises UsageError as `parse_own_labels` does.
    """
    if given is None:
        return ()
    if isinstance(given, str):
        raise UsageError(f"labels is a list of labels; got the text '{shown_label(given)}'")
    labels = []
    for name in given:
        if not isinstance(name, str):
            raise UsageError(f"labels has {name!r:.60}, which is no text")
        said = given[name] if isinstance(given, Mapping) else ()
        prompts = (said,) if isinstance(said, str) else tuple(said)
        if not name.strip() or not all(prompt.strip() for prompt in prompts):
            raise UsageError("labels has one that is empty, or is said by an empty text")
        labels.append(OwnLabel(name.strip(), prompts))
    return _checked(labels, "labels")


def as_templates(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Templates that have `{}` where the label goes; raises UsageError for others."""
    templates = () if given is None else (given,) if isinstance(given, str) else tuple(given)
    for template in templates:
        if SLOT not in template:
            raise UsageError(
                f"a template has {SLOT} where the label goes, as in 'a video of {SLOT}.'; got "
                f"'{shown_label(template)}'"
            )
    return tuple(dict.fromkeys(templates))


def asked_of_model(
    labels: tuple[OwnLabel, ...],
    template: str | Sequence[str] | None = None,
    none_below: float | None = None,
) -> dict[str, Any]:
    """The fields of a command's options that say what the answer may be; raises UsageError."""
    if none_below is not None and not -1 <= none_below <= 1:
        raise UsageError(f"--none-below is a similarity from -1 to 1; got {none_below:g}")
    return {"labels": labels, "templates": as_templates(template), "none_below": none_below}


def _lines(path: Path) -> list[OwnLabel]:
    labels = []
    for number, line in enumerate(
        LINE_BREAK.split(read_text(path, "a list of labels", "save one a line, as text")), 1
    ):
        if not line.strip():
            continue
        name, *texts = (part.strip() for part in line.split("\t"))
        prompts = tuple(text.strip() for text in texts[0].split("|")) if texts else ()
        if not name or len(texts) > 1 or not all(prompts):
            raise UsageError(
                f"{path}:{number}: a line is a label, or a label, a tab, and texts with | between "
                "them"
            )
        labels.append(OwnLabel(name, prompts))
    return labels


def _checked(labels: list[OwnLabel], where: str) -> tuple[OwnLabel, ...]:
    if not labels:
        raise UsageError(f"{where} names no label")
    if len(labels) > MOST_LABELS:
        raise UsageError(f"{where} names {len(labels):,} labels; the most are {MOST_LABELS:,}")
    known: dict[str, str] = {}
    for label in labels:
        for text in (label.name, *label.prompts):
            if not _is_text(text):
                raise UsageError(f"{where}: {shown_label(text)!a} is not UTF-8")
        if (other := known.get(folded(label.name))) is not None:
            same = "" if other == label.name else f", also as '{shown_label(other)}'"
            raise UsageError(f"{where}: '{shown_label(label.name)}' is there twice{same}")
        known[folded(label.name)] = label.name
    return tuple(labels)


def _is_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # bytes of a command line that were in no encoding
        return False
    return True
