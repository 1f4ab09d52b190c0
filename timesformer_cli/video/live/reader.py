"""One connection to a live source as the parent sees it."""

import os
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import numpy as np

from timesformer_cli.children import ChildEnded, ChildProcess, Message
from timesformer_cli.config import Preprocessing
from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.video.live.source import LiveSource
from timesformer_cli.video.stream import StreamedWindow, window_of_header
from timesformer_cli.video.windows import WindowPlan
from timesformer_cli.video.worker_process import ENVIRONMENT, START_LIMIT, KillingClock

ANSWER_LIMIT = 20.0  # seconds; a sound child answers four times a second


@dataclass(frozen=True, slots=True)
class LiveWindow:
    """A window, and when its last frame came, as `time.monotonic` says."""

    streamed: StreamedWindow
    part: int  # a new number where frames are counted anew
    shot: int
    arrived: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveBatch:
    """The windows that waited, all of one part, and how the connection is."""

    windows: tuple[LiveWindow, ...]
    frames: int  # decoded so far
    damaged: int  # packets or frames so far
    dropped: int  # windows so far
    began: float | None  # when the first frame came, as `time.monotonic` says
    ended: bool  # a pipe or a file has come to its end


class LiveReader:
    """A child process that reads one source. Closing it kills the process.

    Every call raises VideoError where the source is lost, or the process is.
    """

    def __init__(self, source: LiveSource, *, debug: bool = False) -> None:
        self.source, self.debug = source, debug
        shared = [os.dup(0)] if source.kind == "pipe" else []
        try:
            self._child = ChildProcess(
                "timesformer_cli.video.live.worker",
                str(shared[0]) if shared else "",
                environment=ENVIRONMENT,
                debug=debug,
                inherited=shared,
            )
        finally:
            for descriptor in shared:
                os.close(descriptor)
        self._size = 0, 0

    def open(self) -> dict[str, Any]:
        """Open the source and wait for it; returns its width, height, fps, codec and container."""
        asked = {"do": "open", "source": asdict(self.source)}
        header, _ = self._ask(asked, START_LIMIT)
        while header["status"] == "opening":
            header, _ = self._ask(asked, START_LIMIT)
        return {name: value for name, value in header.items() if name != "status"}

    def begin(
        self, plan: WindowPlan, preprocessing: Preprocessing, most: int, began: float | None
    ) -> None:
        """Make windows of what comes from now on; at most `most` wait."""
        self._size = preprocessing.crop
        values = asdict(plan)
        assert plan.end == inf and plan.start == 0
        del values["end"], values["start"]
        asked = {"plan": values, "preprocessing": asdict(preprocessing), "most": most}
        self._ask({"do": "begin", "began": began} | asked)

    def next(self, most: int) -> LiveBatch:
        """Up to `most` windows; none where none came within a quarter of a second."""
        header, payload = self._ask({"do": "next", "most": most})
        height, width = self._size
        pixels = np.frombuffer(payload, np.uint8).reshape(-1, height, width, 3)
        fresh = dict(zip(header["fresh"], pixels, strict=True))
        windows = []
        for values in header["windows"]:
            window = window_of_header(values.pop("window"))
            own = {n: fresh.pop(n) for n in dict.fromkeys(window.frames) if n in fresh}
            windows.append(LiveWindow(StreamedWindow(window, own), **values))
        facts = {name: header[name] for name in ("frames", "damaged", "dropped", "began")}
        return LiveBatch(windows=tuple(windows), ended=header["status"] == "ended", **facts)

    @property
    def pid(self) -> int:
        """The system's number of the child process."""
        return self._child.pid

    def close(self) -> None:
        """Kill the process, whatever it is doing."""
        self._child.end()

    def __enter__(self) -> "LiveReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: dict[str, Any], limit: float | None = None) -> Message:
        with KillingClock(limit or ANSWER_LIMIT, self._child) as clock:
            try:
                header, payload = self._child.ask(request)
            except ChildEnded as ended:
                how = "hung" if clock.struck else f"crashed ({ended})"
                raise VideoError(ErrorKind.DECODER_CRASHED, f"the decoder {how}") from None
        if header["status"] == "error":
            raise VideoError(ErrorKind(header["kind"]), header["message"])
        return header, payload
