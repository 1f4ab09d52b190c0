"""Which model for whom: the front of each data set, and a choice for each kind of user.

Both are read off the list of models: nothing here names a model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timesformer_cli.weights.published import ListedWeights

LAPTOP = 100.0  # GMACs a clip: a second at 200 GFLOPS, which four processors without AMX reach
SERVED = 1000.0  # GMACs a clip: what is run all day; 20 ms at 100 TFLOPS
ACTIONS, MOTION = "Kinetics-400", "Something-Something v2"
NOT_FREE = "-NC-"  # in the licences of weights that are not for commercial use


@dataclass(frozen=True, slots=True)
class UserNeed:
    """A kind of user: the models that will do, and what makes one of these the choice."""

    who: str
    fits: "Callable[[ListedWeights], bool]"
    worth: "Callable[[ListedWeights], float]"  # the highest is the choice
    spans: bool = False  # whether it is chosen for the time that a clip spans


def _reported(row: "ListedWeights") -> float:
    return row.top1 or 0.0


def _at_hand(row: "ListedWeights") -> bool:
    return row.source != "file only"


def _rated(data: str, row: "ListedWeights") -> bool:
    return row.data == data and row.top1 is not None and _at_hand(row)


def _sold(data: str, row: "ListedWeights") -> bool:
    return _rated(data, row) and NOT_FREE not in row.licence and row.gmacs <= SERVED


NEEDS = (
    UserNeed(
        "actions, laptop without GPU",
        lambda row: _rated(ACTIONS, row) and row.gmacs <= LAPTOP,
        _reported,
    ),
    UserNeed("actions, most often right", lambda row: _rated(ACTIONS, row), _reported),
    UserNeed("actions, commercial use", lambda row: _sold(ACTIONS, row), _reported),
    UserNeed(
        "motion, laptop without GPU",
        lambda row: _rated(MOTION, row) and row.gmacs <= LAPTOP,
        _reported,
    ),
    UserNeed("motion, most often right", lambda row: _rated(MOTION, row), _reported),
    UserNeed("motion, commercial use", lambda row: _sold(MOTION, row), _reported),
    UserNeed("camera moves, any machine", lambda row: row.source == "package", _reported),
    UserNeed(
        "longest clips",
        lambda row: _at_hand(row) and row.clip_seconds is not None,
        lambda row: row.clip_seconds or 0.0,
        spans=True,
    ),
    UserNeed("labels in your own words", lambda row: row.words, lambda row: -row.gmacs),
    UserNeed(
        "classes of your own, tsf train --init",
        lambda row: _at_hand(row) and not row.classes and not row.words,
        lambda row: -row.gmacs,
    ),
)


def on_front(rows: "Sequence[ListedWeights]") -> "list[ListedWeights]":
    """The rows, each with whether no other of its data set and views is both cheaper and better."""
    return [replace(row, front=_front(row, rows)) for row in rows]


def advised(rows: "Sequence[ListedWeights]") -> "list[ListedWeights]":
    """The rows, each with the kinds of users for whom it is the choice."""
    chosen: dict[str, tuple[str, ...]] = {}
    for need in NEEDS:
        if fitting := [row for row in rows if need.fits(row)]:
            best = max(fitting, key=need.worth)
            chosen[best.name] = (*chosen.get(best.name, ()), need.who)
    return [replace(row, best_for=chosen.get(row.name, ())) for row in rows]


def sentences(rows: "Sequence[ListedWeights]") -> list[str]:
    """One line per kind of user that some row is for, in the order of NEEDS."""
    lines = []
    for need in NEEDS:
        for row in rows:
            if need.who in row.best_for:
                why = ", ".join(_why(row, need))
                lines.append(f"{need.who}: {row.name}" + (f" ({why})" if why else ""))
    return lines


def _why(row: "ListedWeights", need: UserNeed) -> list[str]:
    said = []
    if row.top1 is not None:
        said.append(f"{row.top1:.1f} %")
    if need.spans:
        said.append(f"sees {row.clip_seconds:.1f} s")
    if row.seconds is not None:
        said.append(f"takes {seconds_in_words(row.seconds)} a clip")
    return said


def seconds_in_words(seconds: float) -> str:
    """`0.04 s`, `1.2 s`, `340 s`: two digits, and whole seconds from ten on."""
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def _front(row: "ListedWeights", rows: "Sequence[ListedWeights]") -> bool | None:
    if row.top1 is None or row.views is None:
        return None
    return not any(_beats(other, row) for other in rows)


def _beats(other: "ListedWeights", row: "ListedWeights") -> bool:
    """Whether another of the same data set and views is as cheap and as good, and better in one."""
    if (other.data, other.views) != (row.data, row.views) or other.top1 is None:
        return False
    assert row.top1 is not None
    better = other.gmacs < row.gmacs or other.top1 > row.top1
    return other.gmacs <= row.gmacs and other.top1 >= row.top1 and better
