"""Ctrl-C while there is nothing to unwind yet. This file loads nothing, so that it comes first."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from timesformer_cli.errors import ExitCode


def leave_at_once(number: int, frame: object) -> None:
    """End the process there and then, in one line: a signal's handler."""
    with suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(ExitCode.INTERRUPTED)


def leave_on_interrupt() -> None:
    """From now on Ctrl-C ends the process at once, unless it was told to ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave_at_once)


@contextmanager
def interrupted_in_order() -> Iterator[None]:
    """Until the block ends, Ctrl-C raises KeyboardInterrupt, which the block's owner explains."""
    if signal.getsignal(signal.SIGINT) is not leave_at_once:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, leave_at_once)
