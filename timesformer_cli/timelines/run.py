"""Follow videos, score their windows, and say at the end of each what happens when."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from timesformer_cli.callbacks import NoteCallback, ignore_note
from timesformer_cli.errors import UsageError, VideoError
from timesformer_cli.inference.batching import Scorer
from timesformer_cli.inference.classified import failed
from timesformer_cli.inference.scorer import model_revision, open_scorer, windows_for
from timesformer_cli.inference.several_labels import least_scores
from timesformer_cli.inference.window_scores import WindowScorer
from timesformer_cli.timelines.journal import Journal, Past
from timesformer_cli.timelines.options import AUTO_PRICE, TimelineOptions
from timesformer_cli.timelines.refine import refine_segments
from timesformer_cli.timelines.results import ScoredWindow, Segment, Timeline, TimelineResult
from timesformer_cli.timelines.segments import Scores, SegmentRules, automatic_price, segments_of
from timesformer_cli.video import VideoPath
from timesformer_cli.video.facts import Probe
from timesformer_cli.video.look import Look, WindowLooks
from timesformer_cli.video.messages import Followed, FollowRequest
from timesformer_cli.video.sample import Clip
from timesformer_cli.video.stream import StreamedWindow, VideoFollower
from timesformer_cli.video.windows import Shot, WindowPlan


class Step(NamedTuple):
    """How far a video is: told once it was opened, and after each batch of windows."""

    video: str
    done: float  # seconds of the video
    duration: float  # that are to be looked at, as far as known
    windows: int  # scored so far
    scored: tuple[ScoredWindow, ...] = ()  # the windows of this step
    features: npt.NDArray[np.float32] | None = None  # of these windows, where asked for: (n d)
    looks: Look | None = None  # how they look, together with the features


Steps = Generator[Step, None, TimelineResult]  # it returns the result


@dataclass(slots=True)
class _Told:
    """What is known of one video so far."""

    past: Past
    scorer: WindowScorer
    looks: WindowLooks | None  # where features are asked for
    waiting: list[StreamedWindow] = field(default_factory=list)  # windows not scored yet
    probe: Probe | None = None

    @property
    def count(self) -> int:
        return sum(map(len, self.past.clips))


class TimelineRun:
    """A model that is ready to follow videos. Leaving its context ends its processes."""

    def __init__(
        self,
        options: TimelineOptions,
        note: NoteCallback = ignore_note,
        *,
        scorer: Scorer | None = None,
        follower: VideoFollower | None = None,
    ) -> None:
        """Open the model, or take one, and a decoder, that are open and stay so.

        Raises UsageError, WeightsError and DeviceError.
        """
        self.options = options
        with ExitStack() as stack:
            self.follower = follower or stack.enter_context(
                VideoFollower(options.timeout, debug=options.debug)
            )
            self.scorer: Scorer = scorer or open_scorer(
                options, note, stack, answers=not options.features
            )
            description = self.scorer.description
            self.sampling, self.preprocessing, self.span = windows_for(description, options)
            self.every = options.every or self.span / 2
            self.rules = self._rules()
            self._stack = stack.pop_all()

    def __enter__(self) -> "TimelineRun":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def plan(self) -> WindowPlan:
        """Which windows are taken."""
        options = self.options
        return WindowPlan(
            sampling=self.sampling,
            every=self.every,
            start=options.start,
            end=options.end,
            cuts=options.cuts,
        )

    @property
    def asked(self) -> dict[str, str]:
        """All that the answer depends on, but for the videos; what a journal must agree with."""
        options = {
            field.name: str(getattr(self.options, field.name))
            for field in fields(self.options)
            if field.name not in ("model", "debug", "timeout", "device", "dtype")
        }
        return options | {
            "model": self.options.name,
            "revision": model_revision(self.options.model),
            "device": self.scorer.device,
            "dtype": self.scorer.dtype,
        }

    def request(self, video: VideoPath, plan: WindowPlan) -> FollowRequest:
        """What the decode process is asked for."""
        return FollowRequest(
            path=video.path,
            plan=plan,
            preprocessing=self.preprocessing,
            decoder=self.options.decoder,
            fps=video.fps,
        )

    def timeline(self, video: VideoPath, journal: Journal | None = None) -> Steps:
        """Follow one video; yields its progress and its windows, and returns its timeline.

        With a journal the work goes on from what is in it, and is written to it. A video that cannot
        be read is a `Failed`; raises WeightsError and DeviceError.
        """
        if video.error is not None:
            return failed(video.path, video.error)
        if journal is not None and video.path in journal.finished:
            return journal.finished[video.path]
        past = None if journal is None else journal.begun.get(video.path)
        if journal is not None and past is None:
            journal.begin(video.path)
        options = self.options
        told = _Told(
            past or Past(),
            WindowScorer(self.scorer, options.batch_size, features=options.features),
            WindowLooks() if options.features else None,
        )
        try:
            for event in self.follower.follow(self.request(video, self._plan_after(told.past))):
                if isinstance(event, Probe):
                    told.probe = event
                    yield self._step(video, told, [])
                elif isinstance(event, StreamedWindow):
                    told.waiting.append(event)
                    if len(told.waiting) >= options.batch_size:
                        yield self._score(video, told, journal)
                elif isinstance(event, Shot):
                    # Its last windows may be too few for a batch. Batches never cross a cut, so
                    # that whoever goes on from a journal makes the same ones.
                    if told.waiting:
                        yield self._score(video, told, journal)
                    told.past.end_shot(event)
                    if journal is not None:
                        journal.shot(event)
                else:
                    result = self._result(video, told, event)
                    if journal is not None:
                        journal.finish(result)
                    return result
        except VideoError as error:
            return failed(video.path, error)
        raise AssertionError("a followed video ends with Followed")

    def _plan_after(self, past: Past) -> WindowPlan:
        """The plan for what is not known yet."""
        plan = self.plan
        if past.shots:
            plan = replace(plan, start=past.shots[-1].end)
        if clips := past.clips[-1]:  # of a shot that goes on
            plan = replace(plan, start=clips[0].start, skip=len(clips), known=clips[-1].end)
        return plan

    def _score(self, video: VideoPath, told: _Told, journal: Journal | None) -> Step:
        looks = None if told.looks is None else told.looks.of(told.waiting)
        clips = [window.window.clip for window in told.waiting]
        outputs = told.scorer.score(told.waiting)
        scores = outputs.scores
        told.past.add(clips, scores)
        told.waiting = []
        if journal is not None:
            journal.windows(clips, scores)
        step = self._step(video, told, self._scored(clips, scores, len(told.past.shots)))
        given = outputs.features
        return step if given is None else step._replace(features=given, looks=looks)

    def _scored(self, clips: Sequence[Clip], scores: Scores, shot: int) -> list[ScoredWindow]:
        choice, most = self.scorer.choice, self.options.top_k
        return [
            ScoredWindow(
                start=round(clip.start, 3),
                end=round(clip.end, 3),
                shot=shot,
                predictions=choice.predictions(row, most),
            )
            for clip, row in zip(clips, scores, strict=True)
        ]

    def _step(self, video: VideoPath, told: _Told, scored: list[ScoredWindow]) -> Step:
        assert told.probe is not None
        start, end = self.options.start, min(told.probe.duration, self.options.end)
        known = [*(shot.end for shot in told.past.shots[-1:]), *(w.end for w in scored)]
        done = max(known, default=start) - start
        return Step(video.path, done, end - start, told.count, tuple(scored))

    def _result(self, video: VideoPath, told: _Told, followed: Followed) -> Timeline:
        assert told.probe is not None
        segments: list[Segment] = []
        windows: list[ScoredWindow] = []
        choice, past = self.scorer.choice, told.past
        for number, shot in enumerate(past.shots):
            clips = past.clips[number]
            if not clips:
                continue
            scores = np.concatenate(past.scores[number])
            centres = [(clip.start + clip.end) / 2 for clip in clips]
            segments += segments_of(shot, number, centres, scores, choice, self.rules)
            if self.options.windows:
                windows += self._scored(clips, scores, number)
        if self.options.refine:
            segments = refine_segments(segments, self._look(video), self.every)
        return Timeline(
            video=video.path,
            status="partial" if followed.fault else "ok",
            model=self.options.name,
            device=self.scorer.device,
            dtype=self.scorer.dtype,
            decoder=followed.decoder,
            fps=told.probe.fps,
            span=round(self.span, 3),
            every=round(self.every, 3),
            duration=round(followed.end - self.options.start, 3),
            shots=tuple(Shot(round(shot.start, 3), round(shot.end, 3)) for shot in past.shots),
            segments=tuple(segments),
            windows=tuple(windows),
            warnings=followed.warnings,
            error=followed.fault,
        )

    def _look(self, video: VideoPath) -> Callable[[float], Mapping[int, float] | None]:
        """A function that gives the scores of the window around a moment, for `refine`."""

        def scores_at(centre: float) -> Mapping[int, float] | None:
            start = max(0.0, centre - self.span / 2)
            plan = WindowPlan(
                sampling=self.sampling,
                every=2 * self.span,
                start=start,
                # Behind the window's last moment, so that the window is whole.
                end=start + self.span + 0.5,
                cuts=False,
            )
            windows = WindowScorer(self.scorer, 1)
            choice, found = self.scorer.choice, None
            # To the end of the plan: a decoder that is left in the middle has to be started anew.
            with suppress(VideoError):
                for event in self.follower.follow(self.request(video, plan)):
                    if isinstance(event, StreamedWindow) and found is None:
                        scores = choice.scores(windows.score([event]).scores[0])
                        found = dict(zip(choice.numbers, scores.tolist(), strict=True))
            return found

        return scores_at

    def _rules(self) -> SegmentRules:
        price = self.options.smooth
        if price == AUTO_PRICE:
            price = automatic_price(self.span, self.every)
        described, least = self.scorer.description, self.options.threshold
        if not described.config.multi_label:
            return SegmentRules(price=price, threshold=least)
        if self.options.refine:
            raise UsageError(
                f"{self.options.name}: its labels come and go by themselves, so no change between two "
                "of them can be refined; leave out --refine, or give a shorter --every"
            )
        each = least_scores(described, self.scorer.choice, least or None)
        return SegmentRules(price=price, thresholds=each)


def ended(steps: Steps, tell: Callable[[Step], None] | None = None) -> TimelineResult:
    """What a video's steps return in the end; `tell` hears of each."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: TimelineResult = end.value
            return result
        if tell is not None:
            tell(step)


def run_timelines(
    videos: Iterable[VideoPath],
    options: TimelineOptions,
    note: NoteCallback = ignore_note,
    journal: Journal | None = None,
) -> Iterator[Step | TimelineResult]:
    """The steps of each video and then its timeline, in input order.

    Raises UsageError, WeightsError and DeviceError; a video that cannot be read is a `Failed`.
    """
    with TimelineRun(options, note) as run:
        for video in videos:
            yield (yield from run.timeline(video, journal))
