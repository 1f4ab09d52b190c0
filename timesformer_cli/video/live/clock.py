"""Moments of a live stream, in seconds since its first frame."""

from collections.abc import Iterator
from math import inf
from typing import Generic, NamedTuple, TypeVar

from timesformer_cli.video.timing import LONGEST_IN_STREAM, RESTART

T = TypeVar("T")
CONFIRMED = 3  # frames in a row with odd times make a jump; one alone has a damaged time


class Moment(NamedTuple, Generic[T]):
    """A frame, when it is shown, and whether it begins a new shot."""

    frame: T
    time: float
    jumped: bool


class _Odd(NamedTuple, Generic[T]):
    """A frame whose time does not fit, held back until others say what that means."""

    frame: T
    own: float
    arrived: float


class LiveClock(Generic[T]):
    """Turns the times that frames carry into moments that never run backwards.

    The stream's own times count while they run forwards. A jump (a restart, a wrap, a step ahead
    that took no time here) sets the clock by the arrival of the frame, and begins a new shot.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._shift: float | None = None  # what is added to a frame's own time
        self._last, self._last_arrival = -inf, 0.0
        self._odd: list[_Odd[T]] = []

    def take(self, frame: T, own: float | None, arrived: float) -> Iterator[Moment[T]]:
        """Take the next frame and give those whose moments are now known, in order.

        `own` is the time that the frame carries, `arrived` when it came, since the first frame.
        """
        if own is not None and self._is_odd(own, arrived):
            self._odd.append(_Odd(frame, own, arrived))
            if len(self._odd) >= CONFIRMED:
                yield from self._jump()
            return
        yield from self.rest()
        if own is None:
            yield self._moment(frame, arrived, arrived)
            return
        if self._shift is None:
            self._shift = max(arrived, self._last) - own
        yield self._moment(frame, own + self._shift, arrived)

    def rest(self) -> Iterator[Moment[T]]:
        """What was held back and was no jump: its times were damaged."""
        odd, self._odd = self._odd, []
        for frame, _, arrived in odd:
            yield self._moment(frame, self._last + self.interval, arrived)

    def _is_odd(self, own: float, arrived: float) -> bool:
        if self._shift is None or self._last == -inf:
            return False
        moment = own + self._shift
        ahead = moment - self._last - (arrived - self._last_arrival)
        return moment < self._last - RESTART or ahead > LONGEST_IN_STREAM

    def _jump(self) -> Iterator[Moment[T]]:
        odd, self._odd = self._odd, []
        first = odd[0]
        moment = max(first.arrived, self._last + self.interval)
        self._shift = moment - first.own
        yield self._moment(first.frame, moment, first.arrived, jumped=True)
        for frame, own, arrived in odd[1:]:
            fits = not self._is_odd(own, arrived)
            own_moment = own + self._shift if fits else self._last + self.interval
            yield self._moment(frame, own_moment, arrived)

    def _moment(
        self, frame: T, moment: float, arrived: float, *, jumped: bool = False
    ) -> Moment[T]:
        self._last, self._last_arrival = max(moment, self._last), arrived
        return Moment(frame, self._last, jumped)
