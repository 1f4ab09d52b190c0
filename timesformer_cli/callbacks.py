"""Who hears of work as it goes: the callables that long work is handed."""

from collections.abc import Callable

# note(text): something the user should know that is no part of the answer.
NoteCallback = Callable[[str], None]
# step(done, total, doing): so many steps of so many are done, and what the next one does.
StepCallback = Callable[[int, int, str], None]
# transfer(file, done, total): bytes that have come, some ten times a second; total may be unknown.
TransferCallback = Callable[[str, int, int | None], None]


def ignore_note(text: str) -> None:
    """For whoever does not want to know."""


def ignore_step(done: int, total: int, doing: str) -> None:
    """For whoever does not want to know."""
