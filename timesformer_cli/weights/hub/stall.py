"""Work on a network in a thread of its own: reported on, ended when it stalls or by Ctrl-C."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from timesformer_cli.callbacks import TransferCallback
from timesformer_cli.errors import WeightsError

T = TypeVar("T")

STALL_SECONDS = 60.0
REPORT_SECONDS = 0.1


class TransferStopped(Exception):
    """Raised in the thread once nobody waits for it any more."""


class TransferState:
    """What the thread last said of itself, and whether somebody still waits for it."""

    def __init__(self, stall: float = STALL_SECONDS) -> None:
        self.stall = stall
        self.last = time.monotonic()
        self.news: dict[str, tuple[int, int | None]] = {}
        self.stopped = threading.Event()

    def alive(self) -> None:
        """Say that something came, or that the wait is for another process."""
        if self.stopped.is_set():
            raise TransferStopped
        self.last = time.monotonic()

    def report(self, file: str, done: int, total: int | None) -> None:
        self.alive()
        self.news[file] = done, total

    def pause(self, seconds: float) -> None:
        """Wait before another try; to the stall limit this is silence like any other."""
        if self.stopped.wait(seconds):
            raise TransferStopped


def run_watched(
    work: Callable[[TransferState], T], name: str, progress: TransferCallback | None, stall: float
) -> T:
    """The result of `work`, done in a thread; `progress` is called in this one.

    A thread, since looking up a name and some of the clients' waits know no limit and hear no
    Ctrl-C; a daemon, so that leaving does not wait for it. Each wait in it has a limit of its own,
    after which it finds itself stopped. Raises WeightsError after `stall` seconds without a byte.
    """
    watch = TransferState(stall)
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(watch))
        except BaseException as error:  # it is raised again where somebody can catch it
            errors.append(error)

    thread = threading.Thread(target=run, name=f"fetching {name}", daemon=True)
    thread.start()
    try:
        ended = False
        while not ended:
            thread.join(REPORT_SECONDS)
            ended = not thread.is_alive()  # asked before its last news is passed on
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
