"""Follow a video in a process of its own: its windows come while it is being decoded."""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from timesformer_cli.children import Message
from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.video.facts import Pixels, Probe
from timesformer_cli.video.messages import Followed, FollowRequest
from timesformer_cli.video.sample import Clip
from timesformer_cli.video.windows import Shot, Window
from timesformer_cli.video.worker_process import DecodeWorker, WorkerDied

WAITING = 64  # messages that may wait for the model; the decoder then waits, so memory is bounded


@dataclass(frozen=True, slots=True)
class StreamedWindow:
    """A window, and those of its frames that no window before it had, by number."""

    window: Window
    fresh: dict[int, Pixels]


# seen(video, window): a window of a video has come.
WindowCallback = Callable[[str, StreamedWindow], None]
Event = Probe | StreamedWindow | Shot | Followed


class VideoFollower:
    """Follows one video after another in one decode process. Leaving its context kills the process.

    Like the pool, it outlives a file that brings a decoder down: as long as no window was told, the
    file is read anew without that decoder.
    """

    def __init__(
        self,
        timeout: float = 60.0,
        *,
        debug: bool = False,
        seen: WindowCallback | None = None,
    ) -> None:
        self._timeout, self._worker, self._seen = timeout, DecodeWorker(debug), seen
        self._worker.start()

    def follow(self, request: FollowRequest) -> Iterator[Event]:
        """Yield what the file says of itself, then windows and shots; `Followed` comes last.

        Raises VideoError where the file cannot be read, or ends before its first window.
        """
        while True:
            told, end = False, 0.0
            try:
                for event in self._events(request):
                    if isinstance(event, StreamedWindow):
                        told, end = True, event.window.clip.end
                        if self._seen is not None:
                            self._seen(request.path, event)
                    yield event
                return
            except WorkerDied as death:
                crashed = ErrorKind.DECODER_CRASHED, f"crashed its decoder ({death})"
                if death.overdue:
                    more = "stopped; --timeout allows more"
                    crashed = ErrorKind.TIMEOUT, f"made no progress in {self._timeout:g} s: {more}"
                if told:  # the rest of the video is lost
                    yield Followed(
                        decoder=death.decoder or request.decoder,
                        end=end,
                        warnings=(),
                        fault=crashed[1],
                    )
                    return
                again = death.decoder is not None and death.decoder not in request.without
                if request.decoder != "auto" or death.overdue or not again:
                    raise VideoError(*crashed) from None
                request = replace(request, without=(*request.without, str(death.decoder)))

    def _events(self, request: FollowRequest) -> Iterator[Event]:
        """Translate the worker's messages, which a thread of ours collects ahead."""
        waiting: queue.Queue[Message | BaseException] = queue.Queue(WAITING)
        left = threading.Event()

        def put(item: Message | BaseException) -> None:
            while not left.is_set():
                try:
                    return waiting.put(item, timeout=0.2)
                except queue.Full:
                    continue

        def collect() -> None:
            try:
                for message in self._worker.follow(request, self._timeout):
                    put(message)
            except BaseException as error:  # or the caller would wait for ever
                put(error)

        # Not by the thread: Linux would end the process together with the thread that started it.
        self._worker.start()
        thread = threading.Thread(target=collect, name="tsf-follow", daemon=True)
        thread.start()
        height, width = request.preprocessing.crop
        whole = False  # whether the worker has said its last word
        try:
            while True:
                item = waiting.get()
                if isinstance(item, BaseException):
                    raise item
                header, payload = item
                status = header["status"]
                whole = status in ("ended", "error")
                if status == "described":
                    values = header["probe"]
                    yield Probe(**values | {"notes": tuple(values["notes"])})
                elif status == "window":
                    pixels = np.frombuffer(payload, np.uint8).reshape(-1, height, width, 3)
                    fresh = dict(zip(header["fresh"], pixels, strict=True))
                    yield StreamedWindow(window_of_header(header["window"]), fresh)
                elif status == "shot":
                    yield Shot(**header["shot"])
                elif status == "ended":
                    values = {key: value for key, value in header.items() if key != "status"}
                    yield Followed(**values | {"warnings": tuple(values["warnings"])})
                    return
                else:
                    raise VideoError(ErrorKind(header["kind"]), header["message"])
        finally:
            left.set()
            if not whole:  # what the worker would still send belongs to nobody
                self._worker.bury()
            thread.join()

    def stop(self) -> None:
        """Give up the video that is being followed; the next one gets a fresh process."""
        self._worker.bury()

    def close(self) -> None:
        """Kill the process, whatever it is doing."""
        self._worker.close()
        self._worker.bury()

    def __enter__(self) -> "VideoFollower":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def window_of_header(values: dict[str, Any]) -> Window:
    """A window as `asdict` and JSON left it."""
    clip = Clip(**values["clip"] | {"times": tuple(values["clip"]["times"])})
    return Window(clip, tuple(values["frames"]), values["oldest"])
