"""The consoles that everything readable is printed through."""

from typing import TextIO

from rich.console import Console


def new_console(file: TextIO | None = None, *, stderr: bool = False) -> Console:
    """A console on a stream, stdout where none is given, that prints names and labels as they are.

    Rich itself would make a picture of `:cat:` in them, and colour what looks like a number.
    """
    return Console(file=file, stderr=stderr, highlight=False, emoji=False)
