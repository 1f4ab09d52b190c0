"""Windows over a video that is decoded once, forwards: which clips, and which frames make them.

A window is a clip as `classify` would take it there. Windows begin at even steps within a shot and
never cross its end; a shot that is shorter than a clip gives one window, spread over the shot as
`classify` spreads a clip over a short video.

    shots     |-----------------------------|--------|------------------|
    windows   [xxxxxxxxxxx]                 [x x x x][xxxxxxxxxxx]
                     [xxxxxxxxxxx]                           [xxxxxxxxxxx]
                            [xxxxxxxxxxx]

A frame is prepared (resized and cropped) once, when a window wants it, and forgotten when no window
can want it any more. Whether a shot is short is known only at its end, so until it has had a whole
window its frames wait as they were decoded; where they are large, the oldest are prepared, which
makes them small. What is kept is bounded by the frames of one clip length.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol

from timesformer_cli.config import Sampling
from timesformer_cli.video.ahead import Starts, at_once
from timesformer_cli.video.cuts import CutWatch
from timesformer_cli.video.decoders.base import (
    EPSILON,
    Beat,
    Reading,
    SmallPicture,
    no_beat,
    time_after,
)
from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.sample import Clip, plan_clips, span, spread


@dataclass(frozen=True, slots=True)
class Window:
    """One clip of a video and the numbers of its frames, counted from the first that was read."""

    clip: Clip
    frames: tuple[int, ...]  # one per moment
    oldest: int  # no later window has a frame before this one


@dataclass(frozen=True, slots=True)
class Shot:
    """A part of a video between two cuts, in seconds from the start of the video."""

    start: float
    end: float


class WindowSink(Protocol):
    """Told of windows and shots as they come."""

    def window(self, window: Window, fresh: Sequence[tuple[int, Pixels]]) -> None:
        """A window is complete; `fresh` are those of its frames that no window had before."""
        ...

    def shot(self, shot: Shot) -> None:
        """A shot has ended; all of its windows were told."""
        ...


# Seconds before the first window that the detector of cuts looks at, to judge as it would had it
# seen all that comes before: longer than the shortest shot that it tells apart.
WARM_UP = 1.0
# Bytes of decoded pictures that may wait to be wanted, were each pixel three bytes.
WAITING = 192 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowPlan:
    """Which windows to take."""

    sampling: Sampling
    every: float  # seconds between the starts of two windows of a shot
    start: float = 0.0  # seconds; nothing before this is looked at
    end: float = inf
    cuts: bool = True  # whether shots are told apart
    # To go on within a shot that begins at `start`: so many of its windows are left out, and it is
    # known not to end before this moment.
    skip: int = 0
    known: float = 0.0

    @property
    def needed_from(self) -> float:
        """The moment from which frames are needed, in seconds."""
        wanted = self.start + self.skip * self.every
        return max(0.0, min(wanted, self.known if self.skip else wanted) - WARM_UP)


def pictures_that_wait(width: int, height: int) -> int:
    """How many decoded pictures of this size may wait to be wanted; one where it is not known."""
    size = 3 * width * height
    return max(1, WAITING // size) if size else 1


@dataclass(slots=True)
class _Frame:
    number: int
    time: float
    picture: Callable[[], Any] | None  # None once it is prepared, or nobody can want it
    until: float = inf  # the next frame's time
    prepared: Callable[[], Any] | None = None
    sent: bool = False

    def prepare(self, start: Starts) -> None:
        if self.picture is not None:
            self.prepared, self.picture = start(self.picture), None

    def pixels(self) -> Pixels:
        assert self.prepared is not None
        (only,) = self.prepared().values()
        return only  # type: ignore[no-any-return]


@dataclass(slots=True)
class _Open:
    """A window some of whose frames are still to come."""

    clip: Clip
    frames: list[_Frame] = field(default_factory=list)

    @property
    def next(self) -> float:
        return self.clip.times[len(self.frames)]


class WindowPicker:
    """Makes windows of the frames that a decoder offers in order; the other picker takes moments."""

    def __init__(
        self,
        plan: WindowPlan,
        sink: WindowSink,
        interval: float,
        tail: float = 0.0,
        beat: Beat = no_beat,
        most: int = 1,  # pictures that may wait to be wanted, as decoded
        start: Starts = at_once,  # what prepares them, and looks for cuts
        behind: int = 0,  # frames by which the look for cuts may lag
    ) -> None:
        length = span(plan.sampling)
        assert length is not None
        self.plan, self.sink, self.beat = plan, sink, beat
        self.most, self.start = most, start
        self.length, self.interval, self.tail = length, interval, max(tail, interval)
        self.reading = Reading([], [])
        self.last: tuple[float, Callable[[], Any]] | None = None
        self._cuts = CutWatch(1 / interval, start, behind) if plan.cuts else None
        self._undecided: deque[_Frame] = deque()
        self._kept: deque[_Frame] = deque()  # frames that a window may still want
        self._raw: deque[_Frame] = deque()  # those that no window wanted so far
        self._open: deque[_Open] = deque()
        self._latest: _Frame | None = None  # the last one that was decided
        self._start: float | None = None  # of the shot
        self._begun = 0  # windows of the shot
        self._skip = plan.skip
        self._whole = False  # whether the shot has had a whole window
        self._count = 0

    @property
    def next(self) -> float | None:
        """The moment before which no frame is wanted; decoders may seek there."""
        now = 0.0 if self.last is None else self.last[0]
        return None if now >= self.plan.end else max(self.plan.needed_from, now)

    def offer(self, time: float | None, picture: Callable[[], Any], small: SmallPicture) -> bool:
        """Offer the next frame; returns False once the plan's end is reached.

        Raises Unordered when time runs backwards.
        """
        self.beat()
        if self.last is not None:
            time = time_after(self.last[0], time, self.interval)
        time = time or 0.0
        if self._undecided:
            self._undecided[-1].until = time
        self.last = (time, picture)
        self.reading.decoded += 1
        if self._cuts is not None:
            self._cuts.look(small)
        self._undecided.append(_Frame(self._count, time, picture))
        self._count += 1
        while len(self._undecided) > (1 if self._cuts is None else self._cuts.lag):
            self._decide(self._undecided.popleft())
        if time < self.plan.end:
            return True
        self.finish()
        return False

    def finish(self) -> Reading:
        """End the last shot at the end of the file or of the plan."""
        if self.last is not None:
            self.reading.end = min(self.last[0] + self.tail, self.plan.end)
            self._undecided[-1].until = self.last[0] + self.tail
            while self._undecided:
                self._decide(self._undecided.popleft())
            self._end_shot(self.reading.end)
        return self.reading

    def _decide(self, frame: _Frame) -> None:
        """Take a frame of which it is known whether it begins a shot."""
        cut = self._cuts is not None and self._cuts.begins_shot(frame.number)
        if frame.until <= self.plan.start + EPSILON or frame.time >= self.plan.end:
            return
        if self._start is None and self._skip:  # in the middle of a shot
            self._start, self._begun, self._whole = self.plan.start, self._skip, True
            self._skip = 0
        if cut and frame.time > self.plan.known - EPSILON:
            self._end_shot(frame.time)
        if self._start is None:
            self._start, self._begun, self._whole = max(frame.time, self.plan.start), 0, False
        self._kept.append(frame)
        self._latest = frame
        while (start := self._start + self._begun * self.plan.every) < frame.until - EPSILON:
            self._open.append(_Open(spread(start, start + self.length, self.plan.sampling.frames)))
            self._begun += 1
        for window in self._open:
            while len(window.frames) < len(window.clip.times) and (
                window.next < frame.until - EPSILON
            ):
                frame.prepare(self.start)
                window.frames.append(frame)
        self._tell_complete()
        if frame.picture is not None:
            self._raw.append(frame)
        # The last frame may be wanted for a moment that is the end itself.
        while len(self._raw) > (1 if self._whole else self.most):
            waiting = self._raw.popleft()
            if self._whole:
                waiting.picture = None
            else:
                waiting.prepare(self.start)

    def _tell_complete(self) -> None:
        """Tell of the windows that have all their frames; forget the frames that nobody wants."""
        while self._open and len(self._open[0].frames) == len(self._open[0].clip.times):
            window = self._open.popleft()
            self._whole = True
            self._tell(window.clip, window.frames)
        assert self._start is not None
        wanted = self._open[0].clip.start if self._open else inf
        wanted = min(wanted, self._start + self._begun * self.plan.every)
        # The frames that a short shot would be made of.
        wanted = wanted if self._whole else self._start
        while self._kept and self._kept[0].until <= wanted + EPSILON:
            self._kept.popleft()

    def _end_shot(self, end: float) -> None:
        """Tell of what is left of a shot, now that it is known where it ends."""
        if self._start is None or self._latest is None:
            return
        for window in self._open:  # whose last moment is the end itself
            if window.clip.end <= end + EPSILON:
                window.frames += [self._latest] * (len(window.clip.times) - len(window.frames))
        self._tell_complete()
        if not self._whole:
            self._tell_squeezed(end)
        self.sink.shot(Shot(self._start, end))
        self._open.clear()
        self._kept.clear()
        self._raw.clear()
        self._start = None

    def _tell_squeezed(self, end: float) -> None:
        """One window over a whole shot that is shorter than a clip."""
        assert self._start is not None
        planned = plan_clips(end - self._start, self.plan.sampling, frame=self.interval)
        (clip,) = planned.clips
        times = [self._start + moment for moment in clip.times]
        shown = [
            next(f for f in self._kept if moment < f.until - EPSILON or f is self._kept[-1])
            for moment in times
        ]
        self._tell(Clip(self._start, self._start + clip.end, tuple(times)), shown)

    def _tell(self, clip: Clip, frames: Sequence[_Frame]) -> None:
        fresh = []
        for frame in frames:
            frame.prepare(self.start)
            if not frame.sent:
                frame.sent = True
                fresh.append((frame.number, frame.pixels()))
        oldest = self._kept[0].number if self._kept else self._count
        self.sink.window(Window(clip, tuple(frame.number for frame in frames), oldest), fresh)
