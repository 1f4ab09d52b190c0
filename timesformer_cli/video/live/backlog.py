"""The few windows of a stream that wait for the model, and the frames that they are made of.

The decoder's thread puts windows in, the child's main thread takes them out. Where too many wait,
the oldest is dropped. A sender that waits for us loses nothing by it: there the decoder waits for
the model, as long as the stream is ahead of the clock. What lies on a disk is so read as fast as the
model is, and no faster than it is shown where the model is slow.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast
from weakref import ref

from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.windows import Shot, Window

HELD = 256 << 20  # bytes of decoded pictures that may wait to be prepared
PACE = 0.9  # of the time between two windows may always be waited: what is late catches up slowly


class HeldFrame:
    """A decoded picture that is prepared when it is first needed; it may never be."""

    def __init__(self, prepare: Callable[[], Pixels], size: int, arrived: float) -> None:
        self.size, self.arrived = size, arrived
        self._prepare: Callable[[], Pixels] | None = prepare
        self._prepared: Pixels | None = None

    @property
    def waits(self) -> bool:
        """Whether it still holds the whole picture."""
        return self._prepare is not None

    def pixels(self) -> Pixels:
        """The prepared frame. Two threads may prepare it at once, and get the same."""
        prepare = self._prepare
        if prepare is not None:
            self._prepared = prepare()
            self._prepare = None
        assert self._prepared is not None
        return self._prepared


class HeldFrames:
    """Keeps what is held within `HELD` bytes: beyond, the oldest is prepared, and so made small."""

    def __init__(self) -> None:
        self._frames: deque[ref[HeldFrame]] = deque()

    def add(self, frame: HeldFrame) -> None:
        """Count one more."""
        self._frames.append(ref(frame))
        alive = [f for r in self._frames if (f := r()) is not None and f.waits]
        excess = sum(f.size for f in alive) - HELD
        while excess > 0 and len(alive) > 1:
            oldest = alive.pop(0)
            oldest.pixels()
            excess -= oldest.size
        self._frames = deque(map(ref, alive))


@dataclass(frozen=True, slots=True)
class WaitingWindow:
    """A window that the model has not had, and its frames by number."""

    window: Window
    frames: dict[int, HeldFrame]
    part: int  # frames are counted anew in each part of a stream
    shot: int

    @property
    def arrived(self) -> float:
        """When its last frame came, as `time.monotonic` says."""
        return max(frame.arrived for frame in self.frames.values())


class Backlog:
    """At most `most` windows, the newest of a stream; a `WindowSink`."""

    def __init__(self, most: int, *, waits: bool) -> None:
        self.most, self.waits = most, waits
        self.dropped = self.part = self.shots = 0
        self.shortest = 0.0  # seconds; a shorter window is none
        self._held: dict[int, HeldFrame] = {}  # that a later window may have
        self._windows: deque[WaitingWindow] = deque()
        self._changed = threading.Condition()
        self._first: tuple[float, float] | None = None  # when a window came, and its end
        self._last: tuple[float, float] = 0.0, 0.0
        self._closed = False

    def window(self, window: Window, fresh: Sequence[tuple[int, Pixels]]) -> None:
        """Take a window; `fresh` are frames that are held, not prepared."""
        self._held.update(cast(Sequence[tuple[int, HeldFrame]], fresh))
        frames = {number: self._held[number] for number in window.frames}
        self._held = {n: frame for n, frame in self._held.items() if n >= window.oldest}
        if window.clip.end - window.clip.start < self.shortest:
            return
        with self._changed:
            if self.waits:
                self._wait(window.clip.end)
            if len(self._windows) >= self.most:
                self._windows.popleft()
                self.dropped += 1
            self._windows.append(WaitingWindow(window, frames, self.part, self.shots))
            self._last = time.monotonic(), window.clip.end
            self._first = self._first or self._last
            self._changed.notify_all()

    def _wait(self, end: float) -> None:
        """Wait for room while the stream is ahead of the clock."""
        if self._first is None:
            return
        (began, first_end), (came, last_end) = self._first, self._last
        until = max(began + end - first_end, came + PACE * (end - last_end))
        self._changed.wait_for(
            lambda: len(self._windows) < self.most, max(0.0, until - time.monotonic())
        )

    def shot(self, shot: Shot) -> None:
        """What comes now belongs to the next shot."""
        self.shots += 1

    def begin_part(self) -> None:
        """Frames are counted from 0 again."""
        self.part += 1
        self._held = {}

    def close(self) -> None:
        """No more windows will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, most: int, patience: float) -> list[WaitingWindow]:
        """Up to `most` windows of one part, oldest first; waits up to `patience` seconds for one."""
        with self._changed:
            self._changed.wait_for(lambda: self._windows or self._closed, patience)
            taken: list[WaitingWindow] = []
            while self._windows and len(taken) < most:
                if taken and self._windows[0].part != taken[0].part:
                    break
                taken.append(self._windows.popleft())
            self._changed.notify_all()
            return taken
