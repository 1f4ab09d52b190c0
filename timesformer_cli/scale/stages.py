"""What runs on the actors of a cluster: decoding in children of ours, the model, windows."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import starmap
from typing import TYPE_CHECKING, Any

import numpy as np

from timesformer_cli.callbacks import ignore_note
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import ErrorKind, VideoError, WeightsError
from timesformer_cli.inference.classified import Failed, classified_of, failed
from timesformer_cli.inference.classify import ClassifyOptions
from timesformer_cli.inference.process_tuning import let_threads_sleep, use_threads
from timesformer_cli.inference.scorer import open_scorer
from timesformer_cli.library.embed import clip_embedded, content_of, windows_embedded
from timesformer_cli.parquet import Columns, parquet_schema
from timesformer_cli.scale.storage import decodable
from timesformer_cli.timelines.options import TimelineOptions
from timesformer_cli.video import Decoded, DecodePool, VideoPath

if TYPE_CHECKING:
    import pyarrow

    from timesformer_cli.timelines.run import Step
    from timesformer_cli.weights.hub.locate import Located

# A video's name, the digest of its content where that is asked for, and its clips.
Clip = tuple[str, str, Decoded | VideoError]


@dataclass(frozen=True, kw_only=True)
class ClusterJob:
    """What is done with each video; it travels to every machine."""

    options: ClassifyOptions | TimelineOptions  # of windows, where they are of a timeline
    located: str  # the model, as `Located.to_text` writes it
    revision: str  # of its weights
    rows_of: Callable[[Any], Iterable[Mapping[str, Any]]]  # a result as rows, by column
    columns: Columns
    clips: tuple[Sampling, Preprocessing] | None = None  # how they are taken; None for windows
    vectors: bool = False  # whether results are vectors
    normalise: bool = False
    threads: int | None = None  # that a model computes on


def _located(job: ClusterJob) -> "Located":
    """The model on this machine; one that the driver has in a file of its own is asked for by name."""
    from timesformer_cli.weights.hub.locate import Located, locate
    from timesformer_cli.weights.revision import revision_of

    told = Located.from_text(job.located)
    here = told if told.path.exists() else replace(locate(told.name), bare=told.bare)
    if revision_of(here) != job.revision:
        raise WeightsError(f"{told.name}: is another model on this machine than on the driver's")
    return here


class DecodeStage:
    """Rows of inputs in, rows of clips out; a video that cannot be read is a row with its error."""

    def __init__(self, job: ClusterJob) -> None:
        assert isinstance(job.options, ClassifyOptions)
        self.job, self.options = job, job.options
        self.pool = DecodePool(
            1, self.options.timeout, self.options.decoder, debug=self.options.debug
        )

    def __call__(self, inputs: "pyarrow.Table") -> "Iterator[pyarrow.Table]":
        """A table for each video, so that Ray Data can part them where they are large."""
        return map(_clip_row, self.clips(inputs))

    def clips(self, inputs: "pyarrow.Table") -> Iterator[Clip]:
        """The clips of each video, which is fetched while the one before it is decoded."""
        options, job = self.options, self.job
        under_way: deque[tuple[str, str, ExitStack]] = deque()

        def fetched() -> Iterator[VideoPath]:
            for row in inputs.to_pylist():
                stack, content, video = ExitStack(), "", VideoPath(row["video"])
                try:
                    video = VideoPath(stack.enter_context(opened_input(row)))
                    content = content_of(video.path) if job.vectors else ""
                except VideoError as error:
                    video = VideoPath(row["video"], error)
                except OSError:  # the decoder says what is wrong with it
                    pass
                under_way.append((row["video"], content, stack))
                yield video

        assert job.clips is not None
        try:
            for clip in self.pool.decode(fetched(), *job.clips, options.clips, options.crops):
                name, content, stack = under_way.popleft()
                stack.close()
                yield name, content, clip
        finally:
            for _name, _content, stack in under_way:
                stack.close()


class ModelStage:
    """Rows of clips in, rows of the answer out; views of different videos share a batch."""

    def __init__(self, job: ClusterJob) -> None:
        assert isinstance(job.options, ClassifyOptions)
        let_threads_sleep()
        use_threads(job.threads)
        self.job = job
        self.options = replace(job.options, model=_located(job))
        self.scorer = open_scorer(self.options, ignore_note, ExitStack(), answers=not job.vectors)

    def __call__(self, clips: "pyarrow.Table") -> "pyarrow.Table":
        """The rows of all these videos."""
        columns = (clips.column(name) for name in ("video", "content", "header", "frames"))
        return self.rows(starmap(_clip, zip(*columns, strict=True)))

    def rows(self, clips: Iterable[Clip]) -> "pyarrow.Table":
        """The rows of the videos that these clips are of, in their order."""
        from timesformer_cli.inference.batching import score_videos

        job, options, scorer = self.job, self.options, self.scorer
        told: list[tuple[str, str]] = []

        def decoded() -> Iterator[Decoded | VideoError]:
            for name, content, clip in clips:
                told.append((name, content))
                yield clip

        results: list[Any] = []
        scored = score_videos(scorer, decoded(), options.batch_size, features=job.vectors)
        for number, outcome in enumerate(scored):
            name, content = told[number]
            if job.vectors and not isinstance(outcome, VideoError):
                made = clip_embedded(
                    name, outcome, scorer, options, content, job.revision, job.normalise
                )
                results.append(made)
            else:
                results.append(classified_of(VideoPath(name), outcome, scorer, options))
        return _table(results, job)


class ClipStage:
    """Both of them in one process: rows of inputs in, rows of the answer out."""

    def __init__(self, job: ClusterJob) -> None:
        self.decoding = DecodeStage(job)  # first: its child starts while the model is read
        self.model = ModelStage(job)

    def __call__(self, inputs: "pyarrow.Table") -> "pyarrow.Table":
        """The rows of all these videos."""
        return self.model.rows(self.decoding.clips(inputs))


class WindowStage:
    """Rows of inputs in, rows of the answer out; a video's windows are decoded and scored here."""

    def __init__(self, job: ClusterJob) -> None:
        from timesformer_cli.timelines.run import TimelineRun

        assert isinstance(job.options, TimelineOptions)
        let_threads_sleep()
        use_threads(job.threads)
        self.job = job
        options = replace(job.options, model=_located(job), features=job.vectors)
        self.run = TimelineRun(options)

    def __call__(self, inputs: "pyarrow.Table") -> "pyarrow.Table":
        """The rows of all these videos, each video's together."""
        return _table(list(map(self._result, inputs.to_pylist())), self.job)

    def _result(self, row: Mapping[str, Any]) -> Any:
        from timesformer_cli.timelines.run import ended

        job, steps = self.job, list["Step"]()
        try:
            with opened_input(row) as path:
                result = ended(self.run.timeline(VideoPath(path)), steps.append)
                content = content_of(path) if job.vectors else ""
        except VideoError as error:
            return failed(row["video"], error)
        except OSError as error:
            return failed(
                row["video"], VideoError(ErrorKind.NOT_READABLE, error.strerror or str(error))
            )
        result = replace(result, video=row["video"])
        if isinstance(result, Failed) or not job.vectors:
            return result
        return windows_embedded(result, steps, content, job.revision, job.normalise)


def opened_input(row: Mapping[str, Any]) -> Any:
    """`decodable` for a row of inputs; raises VideoError where its error is known."""
    if row["kind"]:
        raise VideoError(ErrorKind(row["kind"]), row["message"])
    return decodable(row["source"], row["offset"], row["size"])


def _clip_row(clip: Clip) -> "pyarrow.Table":
    import pyarrow

    name, content, outcome = clip
    pixels: bytes | memoryview = b""
    if isinstance(outcome, VideoError):
        header = {"kind": outcome.kind, "message": str(outcome)}
    else:
        header, pixels = outcome.to_header(), outcome.frames.data.cast("B")
    values = {"video": name, "content": content, "header": json.dumps(header)}
    return pyarrow.table(
        {name: [value] for name, value in values.items()}
        | {"frames": pyarrow.array([pixels], pyarrow.large_binary())}
    )


def _clip(name: Any, content: Any, header: Any, frames: Any) -> Clip:
    """The inverse of `_clip_row`, without a copy of the frames."""
    told = json.loads(header.as_py())
    if "kind" in told:
        outcome: Decoded | VideoError = VideoError(ErrorKind(told["kind"]), told["message"])
    else:
        outcome = Decoded.from_header(told, np.frombuffer(frames.as_buffer(), np.uint8))
    return name.as_py(), content.as_py(), outcome


def _table(results: list[Any], job: ClusterJob) -> "pyarrow.Table":
    import pyarrow

    rows = [dict(row) for result in results for row in job.rows_of(result)]
    return pyarrow.Table.from_pylist(rows, parquet_schema(job.columns))
