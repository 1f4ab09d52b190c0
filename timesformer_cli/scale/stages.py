"""What runs on the actors of a cluster: decoding in children of ours, the model, windows."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from timesformer_cli.callbacks import ignore_note
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import ErrorKind, VideoError, WeightsError
from timesformer_cli.inference.classify import ClassifyOptions, Failed, classified_of, failed
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
    from timesformer_cli.weights.load import revision_of

    told = Located.from_text(job.located)
    here = told if told.path.exists() else replace(locate(told.name), bare=told.bare)
    if revision_of(here) != job.revision:
        raise WeightsError(f"{told.name}: is another model on this machine than on the driver's")
    return here


class DecodeStage:
    """Rows of inputs in, rows of clips out; a video that cannot be read is a row with its error."""

    def __init__(self, job: ClusterJob) -> None:
        assert isinstance(job.options, ClassifyOptions)
        self.job, options = job, job.options
        self.pool = DecodePool(1, options.timeout, options.decoder, debug=options.debug)

    def __call__(self, inputs: "pyarrow.Table") -> "Iterator[pyarrow.Table]":
        """A table for each video, so that Ray Data can part them where they are large."""
        options = self.job.options
        assert isinstance(options, ClassifyOptions)
        with _Fetched(inputs.to_pylist(), self.job.vectors) as fetched:
            assert self.job.clips is not None
            decoded = self.pool.decode(fetched, *self.job.clips, options.clips, options.crops)
            for outcome in decoded:
                yield _clip_row(*fetched.done(), outcome)


class _Fetched:
    """Videos as paths that a decoder opens, each fetched while the one before it is decoded."""

    def __init__(self, rows: list[dict[str, Any]], hashed: bool) -> None:
        self.rows, self.hashed = iter(rows), hashed
        self.open: list[tuple[str, str, ExitStack]] = []

    def __enter__(self) -> "_Fetched":
        return self

    def __exit__(self, *_: object) -> None:
        for _name, _content, stack in self.open:
            stack.close()

    def __iter__(self) -> Iterator[VideoPath]:
        for row in self.rows:
            stack, content = ExitStack(), ""
            try:
                path = stack.enter_context(opened_input(row))
                content = content_of(path) if self.hashed else ""
                video = VideoPath(path)
            except VideoError as error:
                video = VideoPath(row["video"], error)
            except OSError:  # the decoder says what is wrong with it
                video = VideoPath(path)
            self.open.append((row["video"], content, stack))
            yield video

    def done(self) -> tuple[str, str]:
        """The name and the content of the oldest one, which is closed."""
        name, content, stack = self.open.pop(0)
        stack.close()
        return name, content


def opened_input(row: Mapping[str, Any]) -> Any:
    """`decodable` for a row of inputs; raises VideoError where its error is known."""
    if row["kind"]:
        raise VideoError(ErrorKind(row["kind"]), row["message"])
    return decodable(row["source"], row["offset"], row["size"])


def _clip_row(video: str, content: str, outcome: Decoded | VideoError) -> "pyarrow.Table":
    import pyarrow

    pixels: bytes | memoryview = b""
    if isinstance(outcome, VideoError):
        header = {"kind": outcome.kind, "message": str(outcome)}
    else:
        header, pixels = outcome.to_header(), outcome.frames.data.cast("B")
    values = {"video": video, "content": content, "header": json.dumps(header)}
    return pyarrow.table(
        {name: [value] for name, value in values.items()}
        | {"frames": pyarrow.array([pixels], pyarrow.large_binary())}
    )


class ModelStage:
    """Rows of clips in, rows of the answer out; views of different videos share a batch."""

    def __init__(self, job: ClusterJob, tally: Any) -> None:
        assert isinstance(job.options, ClassifyOptions)
        let_threads_sleep()
        use_threads(job.threads)
        self.job, self.tally = job, tally
        self.options = replace(job.options, model=_located(job))
        self.scorer = open_scorer(self.options, ignore_note, ExitStack(), answers=not job.vectors)

    def __call__(self, clips: "pyarrow.Table") -> "pyarrow.Table":
        """The rows of all these videos, each video's together."""
        from timesformer_cli.inference.batching import score_videos

        job, options, scorer = self.job, self.options, self.scorer
        names, contents = (clips.column(name).to_pylist() for name in ("video", "content"))
        decoded = map(_decoded, clips.column("header"), clips.column("frames"))
        scored = score_videos(scorer, decoded, options.batch_size, features=job.vectors)
        results: list[Any] = []
        for name, content, outcome in zip(names, contents, scored, strict=True):
            if job.vectors and not isinstance(outcome, VideoError):
                made = clip_embedded(
                    name, outcome, scorer, options, content, job.revision, job.normalise
                )
                results.append(made)
            else:
                results.append(classified_of(VideoPath(name), outcome, scorer, options))
        return _told(results, job, self.tally)


def _decoded(header: Any, frames: Any) -> Decoded | VideoError:
    told = json.loads(header.as_py())
    if "kind" in told:
        return VideoError(ErrorKind(told["kind"]), told["message"])
    return Decoded.from_header(told, np.frombuffer(frames.as_buffer(), np.uint8))


class WindowStage:
    """Rows of inputs in, rows of the answer out; a video's windows are decoded and scored here."""

    def __init__(self, job: ClusterJob, tally: Any) -> None:
        from timesformer_cli.timelines.run import TimelineRun

        assert isinstance(job.options, TimelineOptions)
        let_threads_sleep()
        use_threads(job.threads)
        self.job, self.tally = job, tally
        options = replace(job.options, model=_located(job), features=job.vectors)
        self.run = TimelineRun(options)

    def __call__(self, inputs: "pyarrow.Table") -> "pyarrow.Table":
        """The rows of all these videos, each video's together."""
        return _told(list(map(self._result, inputs.to_pylist())), self.job, self.tally)

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


def _told(results: list[Any], job: ClusterJob, tally: Any) -> "pyarrow.Table":
    """The results as rows; the driver's count hears of them, and nobody waits for it."""
    import pyarrow

    if tally is not None:
        tally.add.remote(len(results))
    rows = [dict(row) for result in results for row in job.rows_of(result)]
    return pyarrow.Table.from_pylist(rows, parquet_schema(job.columns))
