"""One decode worker as its parent sees it: start it, ask it, kill it when it is late."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from timesformer_cli.children import ChildEnded, ChildProcess, Message
from timesformer_cli.errors import VideoError
from timesformer_cli.video.messages import Decoded, DecodeRequest

START_LIMIT = 60.0  # seconds for a worker to load its libraries, on a slow and busy disk
LIFETIME = 500  # files, then a fresh process: decord leaks up to 0.3 MB with each
ENVIRONMENT = {
    # One thread each: the pool already runs one process per file.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # OpenCV has no argument for this; without it a file may name URLs to fetch.
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "protocol_whitelist;file",
}


class WorkerDied(Exception):
    """The worker ended before it answered: it crashed, or (`overdue`) we killed it for being late.

    `spent` is how many seconds it had worked on the request.
    """

    def __init__(self, message: str, *, overdue: bool, spent: float) -> None:
        super().__init__(message)
        self.overdue, self.spent = overdue, spent


class DecodeWorker:
    """One decode process at a time; a dead one is replaced when it is next needed."""

    def __init__(self, debug: bool = False) -> None:
        self._debug = debug
        self._child: ChildProcess | None = None
        self._ready = self._closed = False
        self._answered = 0
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start a process unless one is running; does not wait until it is ready."""
        with self._lock:
            if self._closed or (self._child is not None and self._child.is_running):
                return
            self._bury()
            self._ready, self._answered = False, 0
            self._child = ChildProcess(
                "timesformer_cli.video.worker", environment=ENVIRONMENT, debug=self._debug
            )

    def ask(self, request: DecodeRequest, limit: float) -> Decoded | VideoError:
        """Send a request and wait up to `limit` seconds for the answer; raises WorkerDied."""
        self.start()
        if not self._ready:
            self._exchange(None, START_LIMIT)
            self._ready = True
        asked = replace(request, timeout=limit).to_header()
        header, payload = self._exchange(asked, limit)
        self._answered += 1
        if self._answered >= LIFETIME:
            self.bury()
        if header["status"] == "ok":
            return Decoded.from_header(header, np.frombuffer(payload, np.uint8))
        return VideoError(header["kind"], header["message"])

    def close(self) -> None:
        """Kill the process; no other will be started."""
        with self._lock:
            self._closed = True
            if self._child is not None:
                self._child.kill()

    def bury(self) -> None:
        """Kill the process and release what is left of it."""
        with self._lock:
            self._bury()

    def _bury(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None

    def _exchange(self, request: dict[str, Any] | None, limit: float) -> Message:
        child = self._child
        if child is None:
            raise WorkerDied("closed", overdue=False, spent=0.0)
        began = time.monotonic()
        with self._killed_after(limit, child) as overdue:
            try:
                return child.hear() if request is None else child.ask(request)
            except ChildEnded as ended:
                how = str(ended)
                if not self._ready:
                    how = f"the decode worker did not start: {how}; --debug shows why"
                spent = time.monotonic() - began
                raise WorkerDied(how, overdue=overdue.is_set(), spent=spent) from None

    @contextmanager
    def _killed_after(self, limit: float, child: ChildProcess) -> Iterator[threading.Event]:
        """Kill the process when the block takes longer than `limit` seconds.

        A timer thread does it, because reading from a pipe has no time limit. Yields an event that
        is set when the process was killed.
        """
        # The lock keeps the timer from killing a worker whose answer has just arrived.
        overdue, lock, done = threading.Event(), threading.Lock(), False

        def strike() -> None:
            with lock:
                if not done:
                    overdue.set()
                    child.kill()

        timer = threading.Timer(limit, strike)
        timer.daemon = True
        timer.start()
        try:
            yield overdue
        finally:
            with lock:
                done = True
            timer.cancel()
