"""Work that another thread does while whoever asked for it goes on."""

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

Made = TypeVar("Made")


class Starts(Protocol):
    """Begins a piece of work; what it returns gives the result, or raises the work's error."""

    def __call__(self, work: Callable[[], Made]) -> Callable[[], Made]: ...


def at_once(work: Callable[[], Made]) -> Callable[[], Made]:
    """Do the work here and now."""
    made = work()
    return lambda: made


class _Piece:
    """One piece of work; the lock is held until it is done."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work: Callable[[], Any] | None = work
        self._made: Any = None
        self._error: BaseException | None = None
        self._undone = threading.Lock()
        self._undone.acquire()

    def do(self) -> None:
        assert self._work is not None
        try:
            self._made = self._work()
        except BaseException as error:  # raised where the result is asked for
            self._error = error
        self._work = None
        self._undone.release()

    def wait(self) -> None:
        with self._undone:
            pass

    def result(self) -> Any:
        self.wait()
        if self._error is not None:
            raise self._error
        return self._made


class Ahead:
    """Does one piece of work after another in a thread of its own; at most `most` are unfinished.

    Leaving its context waits until all are done. The standard library's pool takes several times as
    long to hand over a piece, which counts where there is one for each frame.
    """

    def __init__(self, most: int) -> None:
        self._most, self._begun = most, deque[_Piece]()
        self._waiting: SimpleQueue[_Piece | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="tsf-ahead", daemon=True)
        self._thread.start()

    def __call__(self, work: Callable[[], Made]) -> Callable[[], Made]:
        """Begin a piece of work, or wait until there is room for it."""
        if len(self._begun) >= self._most:
            self._begun.popleft().wait()
        piece = _Piece(work)
        self._begun.append(piece)
        self._waiting.put(piece)
        return piece.result

    def _run(self) -> None:
        while (piece := self._waiting.get()) is not None:
            piece.do()

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.put(None)
        self._thread.join()
