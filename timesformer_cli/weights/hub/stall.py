"""Do network work in a thread that reports its progress and is given up when it stalls."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from timesformer_cli.callbacks import TransferCallback
from timesformer_cli.errors import WeightsError

T = TypeVar("T")

STALL_SECONDS = 60.0  # without a byte, after which the work is given up
REPORT_SECONDS = 0.1  # between calls of `progress`


class TransferStopped(Exception):
    """Raised in the thread when nobody waits for it any more."""


class TransferState:
    """The last report of the thread, and whether somebody still waits for it."""

    def __init__(self, stall: float = STALL_SECONDS) -> None:
        self.stall = stall
        self.last = time.monotonic()  # when the thread last made progress
        self.news: dict[str, tuple[int, int | None]] = {}  # per file: bytes done, bytes in all
        self.stopped = threading.Event()

    def alive(self) -> None:
        """Report progress, or a wait for another process; raises TransferStopped if given up."""
        if self.stopped.is_set():
            raise TransferStopped
        self.last = time.monotonic()

    def report(self, file: str, done: int, total: int | None) -> None:
        """Report that `done` of `total` bytes of a file are there."""
        self.alive()
        self.news[file] = done, total

    def pause(self, seconds: float) -> None:
        """Wait before another try; this counts as silence, not as progress."""
        if self.stopped.wait(seconds):
            raise TransferStopped


def run_watched(
    work: Callable[[TransferState], T], name: str, progress: TransferCallback | None, stall: float
) -> T:
    """Run `work` in a thread and return its result; `progress` is called in the calling thread.

    A thread, because name look-ups and some waits of the hub's client have no time limit and do not
    end on Ctrl-C. A daemon, so that the program can leave without it; it stops at its next report.
    Raises WeightsError after `stall` seconds without a byte.
    """
    watch = TransferState(stall)
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(watch))
        except BaseException as error:  # raised again below, in the thread of the caller
            errors.append(error)

    thread = threading.Thread(target=run, name=f"fetching {name}", daemon=True)
    thread.start()
    try:
        ended = False
        while not ended:
            thread.join(REPORT_SECONDS)
            # Asked before the news is read, so that the last news is not lost.
            ended = not thread.is_alive()
            while watch.news:
                file, (done, total) = watch.news.popitem()
                if progress is not None:
                    progress(file, done, total)
            if not ended and time.monotonic() - watch.last > stall:
                raise WeightsError(
                    f"'{name}': no byte came for {stall:g} s, so this is given up; "
                    "what has come is kept, and the next try goes on from there"
                )
    finally:
        watch.stopped.set()
    if errors:
        raise errors[0]
    return results[0]
