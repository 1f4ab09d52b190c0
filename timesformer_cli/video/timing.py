"""When the frames of a file are shown: read off its packets, since containers claim too much.

What comes in is a stream's packets, without decoding; what comes out is how long the video really
is, how long its last frame stays, and whether its clock can be trusted. Three things are mended.
A container may claim less than there is (a recording that was cut off, a header that was never
completed): the packets are counted instead. A clock may start anew (joined transport streams): the
parts follow one another. A single step may be impossible (a frame of ten hours): it counts as one
interval, or a clip would be the same frame over and over.
"""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import inf

import numpy as np
import numpy.typing as npt

# Streams must tell their time every 0.7 s (ISO 13818-1, 2.7.4): a longer silence is a new clock.
LONGEST_IN_STREAM = 10.0
# Elsewhere a picture may stand for long, as in a recorded screen; not for an hour and for twice
# as long as everything else.
LONGEST_ELSEWHERE, TIMES_THE_REST = 3600.0, 2.0
RESTART = 1.0  # seconds backwards in decoding order, which reordered frames never reach


@dataclass(frozen=True, slots=True)
class PacketTime:
    """One packet's times in seconds; `decoded` orders the packets, `shown` the pictures."""

    decoded: float | None
    shown: float | None
    duration: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """What a stream's packets say of its time, in seconds."""

    duration: float  # from the first picture to the end of the last one
    interval: float  # between two pictures, the median
    pictures: int
    tail: float  # how long the last picture stays
    longest: float = inf  # steps beyond this are impossible and count as one interval
    restarts: int = 0  # how often the clock starts anew
    jumps: float = 0.0  # the longest impossible step; 0 where there is none

    @property
    def steady(self) -> bool:
        """Whether a seek by time lands where it says."""
        return not self.restarts and not self.jumps


def measure_timing(packets: Iterable[PacketTime], *, stream: bool, fps: float) -> Timing | None:
    """The timing of all packets of a video, in the order in which they lie in the file.

    `stream` says whether it is an MPEG stream, whose clock has to tick often; `fps` is used where
    packets have no times. Returns None for no packets.
    """
    runs: list[list[PacketTime]] = [[]]
    before: float | None = None
    count = 0
    for packet in packets:
        count += 1
        now = packet.decoded if packet.decoded is not None else packet.shown
        if now is None:
            continue
        if before is not None and now < before - RESTART:
            runs.append([])
        runs[-1].append(packet)
        before = now
    runs = [run for run in runs if len(run) > 1 or len(runs) == 1]
    if not count:
        return None
    timed = [_shown(run) for run in runs]
    known = sum(map(len, timed))
    if (known < 2 and count > 1) or known < count // 2:  # the times are missing: count
        return Timing(duration=count / fps, interval=1 / fps, pictures=count, tail=1 / fps)
    steps = [b - a for times in timed for a, b in pairwise(times) if b > a]
    interval = statistics.median(steps) if steps else 1 / fps
    last = max(runs[-1], key=lambda packet: packet.shown if packet.shown is not None else -inf)
    longest = _longest_step([*steps, last.duration], stream=stream)
    jumps = [step for step in [*steps, last.duration] if step > longest]
    tail = last.duration if 0 < last.duration <= longest else interval
    moving = sum(step if step <= longest else interval for step in steps)
    return Timing(
        duration=moving + interval * (len(timed) - 1) + tail,
        interval=interval,
        pictures=count,
        tail=tail,
        longest=longest,
        restarts=len(timed) - 1,
        jumps=max(jumps, default=0.0),
    )


def measure_steady(
    shown: npt.NDArray[np.int64], base: float, tail: float, *, stream: bool, fps: float
) -> Timing | None:
    """The same for packets that all have a time, of a clock that is known not to start anew.

    `shown` is when their pictures are shown, in ticks of `base` seconds, in any order, and `tail`
    how long the last one says that it stays. None where a step is too long to be believed at once.
    """
    steps = np.diff(np.sort(shown))
    steps = steps[steps > 0]
    longest = LONGEST_IN_STREAM if stream else LONGEST_ELSEWHERE
    if max(float(steps.max(initial=0)) * base, tail) > longest:
        return None
    interval = float(np.median(steps)) * base if len(steps) else 1 / fps
    tail = tail if tail > 0 else interval
    return Timing(
        duration=float(steps.sum()) * base + tail,
        interval=interval,
        pictures=len(shown),
        tail=tail,
        longest=longest,
    )


def _shown(run: list[PacketTime]) -> list[float]:
    return sorted(packet.shown for packet in run if packet.shown is not None)


def _longest_step(steps: list[float], *, stream: bool) -> float:
    """The longest step that is possible among these."""
    if stream:
        return LONGEST_IN_STREAM
    total = sum(steps)
    for step in sorted(steps, reverse=True):
        if step <= LONGEST_ELSEWHERE or step <= TIMES_THE_REST * (total - step):
            return max(LONGEST_ELSEWHERE, step)
        total -= step
    return LONGEST_ELSEWHERE


class Clock:
    """Turns the times that frames carry into the moments at which they are shown, from 0 on.

    It steps over restarts and impossible steps as `measure_timing` does, so that both agree.
    """

    def __init__(self, interval: float, longest: float, *, restarts: bool) -> None:
        self.interval, self.longest, self.restarts = interval, longest, restarts
        self._shift: float | None = None  # what is added to a frame's own time
        self._last = 0.0

    def __call__(self, time: float | None) -> float | None:
        """The moment of the next frame in order; None for a frame without a time of its own."""
        if time is None:
            return None
        if self._shift is None:
            self._shift = -time
        moment = time + self._shift
        restarted = self.restarts and moment < self._last - RESTART
        if restarted or moment - self._last > self.longest:
            moment = self._last + self.interval
            self._shift = moment - time
        self._last = moment
        return moment
