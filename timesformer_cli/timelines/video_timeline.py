"""One video that is being followed, as Python code sees it."""

from collections.abc import Iterator

from timesformer_cli.inference.classified import Failed
from timesformer_cli.timelines.results import ScoredWindow, Segment, TimelineResult
from timesformer_cli.timelines.run import Step


class VideoTimeline:
    """A video that is being followed, to its end by `result` and `segments`; iterate for windows."""

    def __init__(self, steps: Iterator[Step | TimelineResult]) -> None:
        self._steps = steps
        self._result: TimelineResult | None = None

    def __iter__(self) -> Iterator[ScoredWindow]:
        for step in self._steps:
            if isinstance(step, Step):
                yield from step.scored
            else:
                self._result = step

    def result(self) -> TimelineResult:
        """All that is known of the video; one that could not be read has the status "error"."""
        for _ in self:
            pass
        assert self._result is not None
        return self._result

    def segments(self) -> tuple[Segment, ...]:
        """What happens when; empty where the video could not be read."""
        result = self.result()
        return () if isinstance(result, Failed) else result.segments
