"""What a request asks of one video, done in threads: labels, vectors, or windows as they come."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

from timesformer_cli.errors import VideoError
from timesformer_cli.inference.classified import Result, failed
from timesformer_cli.inference.classify import ClassifyOptions
from timesformer_cli.library.embed import (
    EmbedResult,
    clip_embedded,
    content_of,
    windows_embedded,
)
from timesformer_cli.serving.body import GivenVideo
from timesformer_cli.serving.engine import Engine
from timesformer_cli.serving.options import AskedOfVideo
from timesformer_cli.timelines.options import TimelineOptions
from timesformer_cli.timelines.results import ScoredWindow, Timeline, TimelineResult
from timesformer_cli.timelines.run import Step, TimelineRun
from timesformer_cli.video.stream import VideoFollower

Line = Result | TimelineResult | EmbedResult | ScoredWindow  # what becomes one line of JSON


class VideoWork:
    """The answer of one verb about one video, until `until`, a moment of `time.monotonic`.

    `lines` may be asked for by one thread after another.
    """

    def __init__(
        self, engine: Engine, verb: str, given: GivenVideo, asked: AskedOfVideo, until: float
    ) -> None:
        self.engine, self.given, self.asked, self.until = engine, given, asked, until
        self._follower: VideoFollower | None = None
        options = asked.options
        if isinstance(options, TimelineOptions):
            self.lines = self._windows(verb, options)
        else:
            self.lines = self._vector(options) if verb == "embed" else self._labels(options)

    def stop(self) -> None:
        """Kill what decodes windows, so that whoever waits for a line need not wait long."""
        if self._follower is not None:
            self._follower.stop()

    def _labels(self, options: ClassifyOptions) -> Iterator[Line]:
        video = [self.given.video]
        for result in self.engine.warm.classified(video, options=options, until=self.until):
            yield self._line(result)

    def _vector(self, options: ClassifyOptions) -> Iterator[Line]:
        warm, video = self.engine.warm, self.given.video
        for outcome in warm.scored([video], features=True, options=options, until=self.until):
            if isinstance(outcome, VideoError):
                yield self._line(failed(video.path, outcome))
                continue
            yield self._line(
                clip_embedded(
                    video.path,
                    outcome,
                    warm.scorer,
                    options,
                    content_of(video.path),
                    self.engine.revision,
                    self.asked.normalise,
                )
            )

    def _windows(self, verb: str, options: TimelineOptions) -> Iterator[Line]:
        """Windows as they are scored, where they are asked for, and then the whole."""
        result: TimelineResult | EmbedResult
        kept: list[Step] = []
        with self.engine.follower() as self._follower:
            run = TimelineRun(options, scorer=self.engine.warm.scorer, follower=self._follower)
            with closing(run.timeline(self.given.video)) as steps:
                while True:
                    try:
                        step = next(steps)
                    except StopIteration as end:
                        result = end.value
                        break
                    if verb == "embed":
                        kept.append(step)
                    elif self.asked.stream:
                        yield from step.scored
        if verb == "embed" and isinstance(result, Timeline):
            content = content_of(self.given.video.path)
            result = windows_embedded(
                result, kept, content, self.engine.revision, self.asked.normalise
            )
        yield self._line(result)

    def _line(self, result: Result | TimelineResult | EmbedResult) -> Line:
        """The result under the name that the client knows."""
        return replace(result, video=self.given.name)
