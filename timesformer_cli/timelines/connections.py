"""The connections of one live stream, one after another: what they gave, and when to open the next."""

import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from timesformer_cli.video.live.reader import LiveBatch, LiveWindow

if TYPE_CHECKING:
    from timesformer_cli.inference.batching import Scorer
    from timesformer_cli.inference.window_scores import WindowScorer

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before a lost stream is opened again
STEADY = 10.0  # seconds that a connection lasts, then the next loss is a new one
RATE_OVER = 3.0  # seconds over which frames a second are counted


class RetryPause:
    """How long to wait before a lost stream is opened again, and how often that is tried."""

    def __init__(self, retries: int | None) -> None:
        self.retries, self.tries, self._last = retries, 0, 0.0

    def allows(self, lasted: float) -> bool:
        """Whether to try once more after a connection that lasted so long."""
        if lasted >= STEADY:
            self.tries, self._last = 0, 0.0
        return self.retries is None or self.tries < self.retries

    def next(self) -> float:
        """Seconds to wait now."""
        self.tries += 1
        self._last = min(max(FIRST_PAUSE, 2 * self._last), LONGEST_PAUSE)
        return self._last


class ConnectionSums:
    """What all connections gave so far; each counts anew."""

    def __init__(self) -> None:
        self.windows = 0
        self.began: float | None = None
        self._before = _Counts(0, 0, 0)  # of connections that are closed
        self._now = _Counts(0, 0, 0)
        self._frames: deque[tuple[float, int]] = deque()  # when, and frames until then
        self._shot, self._shots = (-1, -1), -1
        self._part = -1
        self._scorer: WindowScorer | None = None

    @property
    def dropped(self) -> int:
        """Windows."""
        return self._before.dropped + self._now.dropped

    @property
    def damaged(self) -> int:
        """Packets and frames."""
        return self._before.damaged + self._now.damaged

    def add(self, batch: LiveBatch) -> None:
        """Take over what the connection counts."""
        self.began = self.began or batch.began
        self._now = _Counts(batch.frames, batch.dropped, batch.damaged)
        now = time.monotonic()
        self._frames.append((now, batch.frames))
        while now - self._frames[0][0] > RATE_OVER:
            self._frames.popleft()

    def close_connection(self) -> None:
        """What comes now is of another connection."""
        self._before = _Counts(*(a + b for a, b in zip(self._before, self._now, strict=True)))
        self._now = _Counts(0, 0, 0)
        self._frames.clear()
        self._shot, self._scorer = (-1, -1), None

    def rate(self, now: float) -> float:
        """Frames a second over the last seconds."""
        if len(self._frames) < 2:
            return 0.0
        (first, before), (_, count) = self._frames[0], self._frames[-1]
        return (count - before) / (now - first)

    def shot_of(self, window: LiveWindow) -> int:
        """The number of its shot, over all connections."""
        if (window.part, window.shot) != self._shot:
            self._shot = window.part, window.shot
            self._shots += 1
        return self._shots

    def scorer_of(self, window: LiveWindow, scorer: "Scorer", batch_size: int) -> "WindowScorer":
        """What scores the windows of its part; frames are counted anew in the next one."""
        from timesformer_cli.inference.window_scores import WindowScorer

        if self._scorer is None or window.part != self._part:
            self._part, self._scorer = window.part, WindowScorer(scorer, batch_size)
        return self._scorer


class _Counts(NamedTuple):
    frames: int
    dropped: int
    damaged: int
