"""One decode worker as its parent sees it: start it, ask it, kill it when it is late."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np

from timesformer_cli.children import ChildEnded, ChildProcess, Message
from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.video.messages import Decoded, DecodeRequest, FollowRequest

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

    `decoder` is the one that it was reading with, where it had begun to.
    """

    def __init__(self, message: str, *, overdue: bool, decoder: str | None) -> None:
        super().__init__(message)
        self.overdue, self.decoder = overdue, decoder


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

    def ask(self, request: DecodeRequest, limit: float, until: float = inf) -> Decoded | VideoError:
        """Send a request and wait for the answer: `limit` seconds without a sign of life.

        At `until`, a moment of `time.monotonic`, it is too late whatever there is. Raises
        WorkerDied.
        """
        self.start()
        if not self._ready:
            self._exchange(None, START_LIMIT)
            self._ready = True
        asked = replace(request, timeout=limit).to_header()
        header, payload = self._exchange(asked, limit, until)
        self._answered += 1
        if self._answered >= LIFETIME:
            self.bury()
        if header["status"] == "ok":
            return Decoded.from_header(header, np.frombuffer(payload, np.uint8))
        return VideoError(ErrorKind(header["kind"]), header["message"])

    def follow(self, request: FollowRequest, limit: float) -> Iterator[Message]:
        """Send a request and yield what the worker finds, as it comes; the last message ends it.

        `limit` is for one message, and rests while the caller is busy. Raises WorkerDied.
        """
        self.start()
        if not self._ready:
            self._exchange(None, START_LIMIT)
            self._ready = True
        header, payload = self._exchange(replace(request, timeout=limit).to_header(), limit)
        while header["status"] not in ("ended", "error"):
            yield header, payload
            header, payload = self._exchange(None, limit)
        yield header, payload

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

    def _exchange(
        self, request: dict[str, Any] | None, limit: float, until: float = inf
    ) -> Message:
        child = self._child
        if child is None:
            raise WorkerDied("closed", overdue=False, decoder=None)
        decoder: str | None = None
        with KillingClock(limit, child, until) as clock:
            try:
                answer = child.hear() if request is None else child.ask(request)
                while answer[0].get("status") == "working":
                    clock.start_anew()
                    decoder = answer[0].get("decoder", decoder)
                    answer = child.hear()
                return answer
            except ChildEnded as ended:
                how = str(ended)
                if not self._ready:
                    how = f"the decode worker did not start: {how}; --debug shows why"
                raise WorkerDied(how, overdue=clock.struck, decoder=decoder) from None


class KillingClock:
    """Kills a process unless it is told, within `limit` seconds each time, that the work goes on.

    At `until`, a moment of `time.monotonic`, it does so in any case. A timer thread does it, because reading from a pipe has no time limit.
    """

    def __init__(self, limit: float, child: ChildProcess, until: float = inf) -> None:
        self.limit, self.child, self.until = limit, child, until
        self.struck = False  # whether the process was killed for being late
        # The lock keeps the timer from killing a worker whose answer has just arrived.
        self._lock, self._done = threading.Lock(), False
        self._timer: threading.Timer | None = None

    def __enter__(self) -> "KillingClock":
        self.start_anew()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._done = True
            if self._timer is not None:
                self._timer.cancel()

    def start_anew(self) -> None:
        """Give the process `limit` seconds from now."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if not self.struck:
                left = max(0.0, min(self.limit, self.until - time.monotonic()))
                self._timer = threading.Timer(left, self._strike)
                self._timer.daemon = True
                self._timer.start()

    def _strike(self) -> None:
        with self._lock:
            # A timer that was replaced in the moment in which it went off has nothing to say.
            if not self._done and threading.current_thread() is self._timer:
                self.struck = True
                self.child.kill()
