"""Label a live stream window by window, dropping windows where the model is slower than the stream.

1. `video/live` gives the newest windows, and as many at a time as one run of the model takes.
2. `inference/window_scores` scores them; the next ones are asked for when it is done, so nothing
   queues up between the stream and the model.
3. A stream that was lost is opened again, after half a second, then one, two, ... up to thirty.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import numpy as np

from timesformer_cli.callbacks import NoteCallback, ignore_note
from timesformer_cli.dataset.own_labels import OwnLabel
from timesformer_cli.errors import VideoError
from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.inference.process_tuning import let_threads_sleep
from timesformer_cli.inference.scorer import open_scorer, windows_for
from timesformer_cli.inference.several_labels import said_labels
from timesformer_cli.timelines.connections import ConnectionSums, RetryPause
from timesformer_cli.video.live.reader import LiveBatch, LiveReader
from timesformer_cli.video.sample import spread
from timesformer_cli.video.stream import StreamedWindow
from timesformer_cli.video.windows import Window, WindowPlan
from timesformer_cli.weights.catalogue import DEFAULT

if TYPE_CHECKING:
    from timesformer_cli.inference.batching import Scorer
    from timesformer_cli.inference.label_choice import Outputs
    from timesformer_cli.inference.scorer import AnyModel

BEAT = 0.25  # seconds between two signs of life while a stream is lost


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchOptions:
    """How windows are taken from a live stream, and how long it is watched."""

    model: "AnyModel" = DEFAULT
    every: float | None = None  # seconds between two windows; None means half of a window's span
    cuts: bool = False  # whether shots are told apart
    threshold: float = 0.0  # a label whose score is below this is none
    labels: tuple[OwnLabel, ...] = ()  # what the answer may be; empty means all classes
    templates: tuple[str, ...] = ()  # that say a label of one's own words; empty means the model's
    none_below: float | None = None  # a label that is less similar is none
    top_k: int = 5  # labels per window
    frames: int | None = None  # frames per window; None means as the model was trained
    stride: int | None = None  # in frames of a 30-fps video; None means as the model was trained
    device: str = "auto"
    dtype: str = "auto"
    compile: bool = False
    batch_size: int = 1  # windows per run of the model; as many may wait
    retries: int | None = None  # of opening a lost stream, in a row; None means without end
    seconds: float | None = None  # after the first frame; None means until the stream ends
    debug: bool = False  # whether the messages of child processes reach stderr


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedWindow:
    """One window and what the model says of it."""

    time: str  # when the window's last frame came, UTC, ISO 8601
    start: float  # seconds after the first frame
    end: float
    shot: int  # from 0; a stream that jumps, or was lost, begins a new one
    label: str | None  # None where no label that counts reaches the threshold
    predictions: tuple[Prediction, ...]  # best first
    lag: float  # seconds from the window's last frame to its answer
    windows: int  # scored so far, this one too
    dropped: int  # windows so far that the model had no time for


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchStatus:
    """How a stream is, told some times a second."""

    live: bool  # False while it is lost
    elapsed: float  # seconds since the first frame
    fps: float  # frames a second that come, over the last seconds
    windows: int
    dropped: int
    damaged: int  # packets and frames

    @property
    def share_dropped(self) -> float:
        """Of all windows, from 0 to 1."""
        return self.dropped / max(1, self.dropped + self.windows)


WatchEvent = WatchedWindow | WatchStatus


class Watcher:
    """A source that is open and a model that is ready. Leaving its context ends its processes."""

    def __init__(
        self, reader: LiveReader, options: WatchOptions, note: NoteCallback = ignore_note
    ) -> None:
        """Open the model; raises UsageError, WeightsError and DeviceError.

        The reader is open. It is closed with the watcher, and others like it take its place.
        """
        self.source, self.options, self.note = reader.source, options, note
        self._reader: LiveReader | None = reader
        let_threads_sleep()
        with ExitStack() as stack:
            stack.callback(self._close_reader)
            self.scorer: Scorer = open_scorer(options, note, stack)
            description = self.scorer.description
            sampling, self.preprocessing, self.span = windows_for(description, options)
            self.plan = WindowPlan(
                sampling=sampling, every=options.every or self.span / 2, cuts=options.cuts
            )
            self._warm_up()
            self._stack = stack.pop_all()

    def __enter__(self) -> "Watcher":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _warm_up(self) -> None:
        """Run the model once: its first run takes much longer, and the stream does not wait."""
        from timesformer_cli.inference.window_scores import WindowScorer

        frames = self.plan.sampling.frames
        picture = np.zeros((*self.preprocessing.crop, 3), np.uint8)
        window = Window(spread(0.0, self.span, frames), tuple(range(frames)), frames)
        blank = StreamedWindow(window, dict.fromkeys(range(frames), picture))
        WindowScorer(self.scorer, self.options.batch_size).score([blank])

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def events(self) -> Iterator[WatchEvent]:
        """Windows as they are scored, and some times a second how the stream is.

        Ends with a pipe, a file, or the time. Raises VideoError where the stream is lost for good,
        WeightsError and DeviceError.
        """
        sums = ConnectionSums()
        pause = RetryPause(self.options.retries)
        lost: float | None = None  # since when
        while not self._over(sums):
            opened = time.monotonic()
            try:
                reader = self._reader = self._reader or self._open_again()
                for batch in self._batches(reader, sums):
                    if lost is not None and batch.frames:
                        self.note(f"{self.source.name}: back after {time.monotonic() - lost:.1f} s")
                        lost = None
                    yield self._status(sums, live=True)
                    yield from self._scored(batch, sums)
                yield self._status(sums, live=True)
                return
            except VideoError as error:
                self._close_reader()
                sums.close_connection()
                if not self.source.reconnects or not pause.allows(time.monotonic() - opened):
                    tried = f" (opened again {pause.tries}x)" if pause.tries else ""
                    raise VideoError(error.kind, f"{self.source.name}: {error}{tried}") from None
                if lost is None:
                    lost = time.monotonic()
                    self.note(f"{self.source.name}: lost ({error}); it is opened again")
            until = time.monotonic() + pause.next()
            while (left := until - time.monotonic()) > 0 and not self._over(sums):
                yield self._status(sums, live=False)
                time.sleep(min(BEAT, left))

    def _open_again(self) -> LiveReader:
        reader = LiveReader(self.source, debug=self.options.debug)
        self._reader = reader  # before it is opened, so that it is closed whatever happens
        reader.open()
        return reader

    def _batches(self, reader: LiveReader, sums: ConnectionSums) -> Iterator[LiveBatch]:
        """What one connection gives, to its end; raises VideoError where it is lost."""
        most = self.options.batch_size
        reader.begin(self.plan, self.preprocessing, most, sums.began)
        while not self._over(sums):
            batch = reader.next(most)
            sums.add(batch)
            yield batch
            if batch.ended:
                return

    def _over(self, sums: ConnectionSums) -> bool:
        limit = self.options.seconds
        if limit is None or sums.began is None:
            return False
        return time.monotonic() - sums.began >= limit

    def _scored(self, batch: LiveBatch, sums: ConnectionSums) -> Iterator[WatchedWindow]:
        if not batch.windows:
            return
        windows = sums.scorer_of(batch.windows[0], self.scorer, self.options.batch_size)
        scores = windows.score([window.streamed for window in batch.windows]).scores
        answered = time.monotonic()
        for window, row in zip(batch.windows, scores, strict=True):
            sums.windows += 1
            lag = answered - window.arrived
            clip = window.streamed.window.clip
            yield WatchedWindow(
                time=_stamp(lag),
                start=round(clip.start, 3),
                end=round(clip.end, 3),
                shot=sums.shot_of(window),
                label=self._label(row),
                predictions=self.scorer.choice.predictions(row, self.options.top_k),
                lag=round(lag, 3),
                windows=sums.windows,
                dropped=sums.dropped,
            )

    def _label(self, outputs: "Outputs") -> str | None:
        """The best label, where no other class is likelier and it reaches the threshold."""
        choice, described = self.scorer.choice, self.scorer.description
        if described.config.multi_label:
            least = self.options.threshold or None
            return next(iter(said_labels(outputs, described, choice, least)), None)
        scores = choice.scores(outputs)
        best = int(scores.argmax())
        least = max(float(choice.nothing(outputs)), self.options.threshold)
        return choice.labels[best] if float(scores[best]) >= least else None

    def _status(self, sums: ConnectionSums, *, live: bool) -> WatchStatus:
        now = time.monotonic()
        return WatchStatus(
            live=live,
            elapsed=0.0 if sums.began is None else now - sums.began,
            fps=sums.rate(now) if live else 0.0,
            windows=sums.windows,
            dropped=sums.dropped,
            damaged=sums.damaged,
        )


def _stamp(ago: float) -> str:
    """The moment so many seconds ago, as `2026-11-26T05:02:57.123Z`."""
    moment = datetime.now(timezone.utc) - timedelta(seconds=ago)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"
