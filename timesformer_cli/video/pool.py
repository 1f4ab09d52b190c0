"""Decode videos in worker processes that can be killed; results come in the order of the input."""

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from itertools import repeat
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.video.decoders.base import ReaderDeclined
from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.find import Pause, VideoPath
from timesformer_cli.video.messages import Decoded, DecodeRequest
from timesformer_cli.video.sample import Jitter
from timesformer_cli.video.tar_members import TarPart
from timesformer_cli.video.worker_process import DecodeWorker, WorkerDied

if TYPE_CHECKING:
    from timesformer_cli.video.frame_cache import FrameCache

CLOSE_LIMIT = 1.0  # seconds for all threads to end together, so that Ctrl-C ends within two


Outcome = Decoded | VideoError


class _Job(NamedTuple):
    """A request on its way to a worker."""

    request: DecodeRequest
    future: Future[Outcome]
    until: float
    key: str | None  # in the cache


NAMES = {"av": "PyAV", "decord": "decord", "opencv": "OpenCV", "pillow": "Pillow"}


class DecodePool:
    """A pool of `workers` decode processes, each with a thread of ours that talks to it.

    So many as `early` start at once, all where it is None, and the others when they are needed. A
    file that makes no progress for `timeout` seconds is stopped and gives an error. `decoder` is
    auto (PyAV, then decord, then OpenCV), decord, av, opencv or torchcodec. With `debug` the
    messages of the native libraries go to stderr. What is in the `cache` is not decoded, and what
    is decoded goes there. Use the pool as a context manager: leaving it kills the workers.
    """

    def __init__(
        self,
        workers: int = 1,
        timeout: float = 60.0,
        decoder: str = "auto",
        *,
        early: int | None = None,
        debug: bool = False,
        cache: "FrameCache | None" = None,
    ) -> None:
        self._timeout, self._decoder, self._cache = timeout, decoder, cache
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._slots = [DecodeWorker(debug) for _ in range(max(1, workers))]
        self._threads: list[threading.Thread] = []
        self._changed, self._idle, self._closed = threading.Lock(), 0, False
        for _ in self._slots[:early]:
            self._begin()

    def decode(
        self,
        videos: Iterable[str | VideoPath],
        sampling: Sampling,
        preprocessing: Preprocessing,
        clips: int = 1,
        crops: int = 1,
        *,
        jitters: Iterable[Jitter | None] = repeat(None),
        ahead: int = 0,
        until: float = inf,
    ) -> Iterator[Outcome]:
        """Decode videos; yields one result or one error per video, in order.

        A `VideoPath` that carries an error yields that error, and of one with a start and an end
        only that part is looked at. `clips` and `crops` are per video and
        per clip; 0 crops gives whole pictures. `jitters` holds one entry per video. While the
        caller works, at least `ahead` files are being decoded or wait decoded; the number is
        bounded, so memory does not grow with the list. The first of them are asked for by the call
        itself, before the first outcome is wanted. Where a `Pause` is among the videos,
        nothing behind it is asked for before all results until then were taken. At `until`, a moment of `time.monotonic`,
        what is not decoded is stopped.
        """
        waiting: deque[Future[Outcome]] = deque()
        remaining = zip(videos, jitters, strict=False)

        def ask() -> bool:
            """Ask for what may be under way beside the caller's work; whether a pause ended that."""
            # One more than the workers, so that none is idle while the caller takes a result.
            while len(waiting) <= max(len(self._slots), ahead):
                if (following := next(remaining, None)) is None:
                    break
                video, jitter = following
                if not isinstance(video, VideoPath):
                    video = VideoPath(os.fspath(video))
                shard, *place = video.member or (video.path,)
                request = DecodeRequest(
                    path=shard,
                    sampling=sampling,
                    preprocessing=preprocessing,
                    clips=clips,
                    crops=crops,
                    decoder=self._decoder,
                    jitter=jitter,
                    fps=video.fps,
                    start=video.start,
                    end=video.end,
                    part=TarPart(*place) if place else None,
                )
                waiting.append(self._submit(request, video, until))
                if isinstance(video.error, Pause):
                    return True
            return False

        return _in_turn(waiting, ask, ask())

    def close(self) -> None:
        """Kill the workers, whatever they are doing; files not yet decoded are dropped."""
        self._closed = True
        for slot in self._slots:
            slot.close()
        with self._changed:  # no thread begins any more
            threads = list(self._threads)
        for _ in threads:
            self._jobs.put(None)
        deadline = time.monotonic() + CLOSE_LIMIT
        for thread, slot in zip(threads, self._slots, strict=False):
            thread.join(max(0.0, deadline - time.monotonic()))
            if not thread.is_alive():  # else it may still be talking to its worker
                slot.bury()

    def __enter__(self) -> "DecodePool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _submit(self, request: DecodeRequest, video: VideoPath, until: float) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        if video.error is not None:
            future.set_result(video.error)
        elif video.frames is not None:
            future.set_result(_taken(request, video.frames))
        else:
            key = None if self._cache is None else self._cache.key(request)
            if key and self._cache and (found := self._cache.find(request, key)):
                future.set_result(found)
                return future
            with self._changed:
                if self._closed:
                    raise RuntimeError("the decode pool is closed")
                self._idle -= 1
                if self._idle < 0 and len(self._threads) < len(self._slots):
                    self._begin()
                self._jobs.put(_Job(request, future, until, key))
        return future

    def _begin(self) -> None:
        """One more thread, and its worker."""
        slot = self._slots[len(self._threads)]
        thread = threading.Thread(target=self._serve, args=(slot,), name="tsf-decode", daemon=True)
        self._threads.append(thread)
        self._idle += 1
        thread.start()

    def _serve(self, slot: DecodeWorker) -> None:
        """Run in one thread per worker: send a file, wait for the answer, replace a dead worker."""
        with suppress(OSError):  # that no process can be started is said to whoever has a file
            slot.start()
        while (job := self._jobs.get()) is not None:
            future = job.future
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(self._answer(slot, job))
                except BaseException as error:  # or the caller would wait for this future for ever
                    future.set_exception(error)
                with suppress(OSError):
                    slot.start()  # where the last one died, the next loads its libraries now
            with self._changed:
                self._idle += 1

    def _answer(self, slot: DecodeWorker, job: "_Job") -> Outcome:
        """What the file gives; with a cache, all of it that may be asked for later is kept."""
        if self._cache is None or job.key is None:
            return self._run(slot, job.request, job.until)
        outcome = self._run(slot, self._cache.asking(job.request, job.key), job.until)
        if isinstance(outcome, VideoError):
            return outcome
        try:
            return self._cache.keep(job.request, job.key, outcome)
        except (VideoError, ReaderDeclined):
            return self._run(slot, job.request, job.until)

    def _run(self, slot: DecodeWorker, request: DecodeRequest, until: float) -> Outcome:
        """Ask the worker; where the file brings a decoder down, ask again without that one."""
        crash: WorkerDied | None = None
        died_idle = False  # whether a worker ended before it began to read: no fault of the file
        while True:
            if time.monotonic() >= until:
                return VideoError(ErrorKind.TIMEOUT, "its turn did not come in time")
            try:
                result = slot.ask(request, self._timeout, until)
                break
            except WorkerDied as death:
                if not (death.overdue or self._closed or died_idle or death.decoder):
                    died_idle = True
                    continue
                again = death.decoder is not None and death.decoder not in request.without
                if self._decoder != "auto" or death.overdue or self._closed or not again:
                    return self._error_of(death, until)
                crash = death
                request = replace(request, without=(*request.without, str(death.decoder)))
        if isinstance(result, Decoded) and crash is not None:
            note = f"crashed a decoder ({crash}); read with {NAMES[result.decoder]} in its place"
            return replace(result, warnings=(*result.warnings, note))
        return result

    def _error_of(self, death: WorkerDied, until: float) -> VideoError:
        if death.overdue and time.monotonic() >= until:
            return VideoError(ErrorKind.TIMEOUT, "was not decoded in time")
        if death.overdue:
            more = "stopped; --timeout allows more"
            return VideoError(ErrorKind.TIMEOUT, f"made no progress in {self._timeout:g} s: {more}")
        return VideoError(ErrorKind.DECODER_CRASHED, f"crashed its decoder ({death})")


def _in_turn(
    waiting: deque[Future[Outcome]], ask: Callable[[], bool], paused: bool
) -> Iterator[Outcome]:
    """The outcomes in the order of what was asked for; after a pause, all before the next is asked."""
    try:
        while waiting:
            yield waiting.popleft().result()
            while paused and waiting:
                yield waiting.popleft().result()
            paused = ask()
    finally:
        for future in waiting:
            future.cancel()


def _taken(request: DecodeRequest, frames: Pixels) -> Outcome:
    """The clips of frames that are here already, taken in this process."""
    from timesformer_cli.video.decode import decode

    try:
        return decode(request, frames=frames)
    except VideoError as error:
        return error
