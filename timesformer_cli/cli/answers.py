"""Where the answers for videos go: all into one file or stdout as they come, or a file for each."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import Protocol, TextIO, TypeVar, cast

from timesformer_cli.cli.formats import PARQUET, choose_format, require_writable, writing
from timesformer_cli.cli.options import parse_shard
from timesformer_cli.cli.stderr import complain, note, stderr
from timesformer_cli.errors import ExitCode, UsageError
from timesformer_cli.files import AnyFile, require_folder
from timesformer_cli.inference.classified import Failed
from timesformer_cli.parquet import require_parquet
from timesformer_cli.video import VideoPath, find_videos
from timesformer_cli.video.coming import coming_videos
from timesformer_cli.video.find import PAUSE

STDIN = 0  # the number of the open file


class AnsweredVideo(Protocol):
    """What the results for videos have in common."""

    @property
    def video(self) -> str:
        """Its path, as it was found."""
        ...

    @property
    def status(self) -> str:
        """`ok` where all went well."""
        ...


Videos = Sequence[VideoPath] | Iterator[VideoPath]  # all of them, or still coming
Answer = TypeVar("Answer", bound=AnsweredVideo)
# Results as they come, the stream to write to, and the paths of all videos.
VideoRenderer = Callable[[Iterable[Answer], TextIO, Sequence[str]], None]


def find_videos_named(
    arguments: Sequence[str], fps: float | None, shard: str | None = None
) -> tuple[list[VideoPath], list[AnyFile]]:
    """The videos that the command line means, and all that is read to know and to see them.

    With a shard, only those of its share. A path is always in the same share, whatever else is
    there. Raises UsageError for what is no shard, and where there are no videos at all.
    """
    number, count = parse_shard(shard)
    if "-" in arguments and sys.stdin.isatty():
        note("waiting for paths of videos on stdin, one a line; Ctrl-D ends them")
    videos = find_videos(arguments, sys.stdin.buffer, fps, note)
    if not videos:
        raise UsageError("no videos given")
    if count > 1:
        found = len(videos)
        videos = [video for video in videos if share_of(video.path, count) == number]
        note(f"shard {number}/{count}: {len(videos)} of {found} videos")
    return videos, [*(video.path for video in videos), *([STDIN] if "-" in arguments else [])]


def found_or_coming(
    arguments: Sequence[str],
    fps: float | None,
    shard: str | None,
    *written: object,
) -> tuple[Videos, list[AnyFile]]:
    """`find_videos_named`; or the videos as stdin names them, where each answer is a line of stdout.

    `written` are the format, and what else than stdout is written to.
    """
    format, *places = written
    if format != "jsonl" or "-" not in arguments or any(places):
        return find_videos_named(arguments, fps, shard)
    number, count = parse_shard(shard)
    if sys.stdin.isatty():
        note("waiting for paths of videos on stdin, one a line; Ctrl-D ends them")
    coming = coming_videos(arguments, cast(BufferedIOBase, sys.stdin.buffer), fps, note)
    return (
        video for video in coming if video is PAUSE or share_of(video.path, count) == number
    ), []


def known_videos(videos: Videos) -> Sequence[VideoPath]:
    """Those that are known before the work begins: none of those that are still coming."""
    return videos if isinstance(videos, Sequence) else []


def may_be_readable(videos: Videos) -> bool:
    """Whether a model is needed: for videos that are still coming, it may be."""
    return not isinstance(videos, Sequence) or any(video.error is None for video in videos)


def without_pauses(videos: Videos) -> Videos:
    """The same, for what takes one after another anyway."""
    if isinstance(videos, Sequence):
        return videos
    return (video for video in videos if video is not PAUSE)


def share_of(path: str, count: int) -> int:
    """Which of so many shares a path is in, from 1: the same on every machine and in every release."""
    digest = hashlib.sha256(os.fsencode(path)).digest()
    return 1 + int.from_bytes(digest[:8], "big") % count


def choose_answer(
    format: str | None,
    output: Path | None,
    folder: Path | None,
    renderers: Mapping[str, object],
    beside: Sequence[Path | None] = (),
) -> str:
    """The format of one file, of stdout, or of a file for each video in `folder`.

    Raises UsageError where both are given, or what is given cannot be written.
    """
    if folder is None:
        require_writable(output, beside=beside)
        return choose_format(format, output, renderers)
    if output is not None:
        raise UsageError("give --output, one file, or --output-dir, a file for each video")
    require_folder(folder)
    if format == PARQUET:
        require_parquet()
    return format or "json"


def show_results(
    results: Iterable[Answer],
    render: VideoRenderer[Answer],
    output: Path | None,
    videos: Videos,
) -> ExitCode:
    """Write results as they come; return the exit code, which says whether all videos were read.

    A file at `output` appears whole or not at all.
    """
    statuses: list[str] = []
    with writing(output) as stream:
        paths = [video.path for video in known_videos(videos)]
        render(noting(results, statuses), stream, paths)
    return summary(statuses)


def noting(results: Iterable[Answer], statuses: list[str]) -> Iterator[Answer]:
    """Pass the results through, and note the status of each."""
    for result in results:
        statuses.append(result.status)
        yield result


def complain_of(result: Failed) -> None:
    """Name a video that failed, and why, on stderr."""
    complain(f"{result.video}: {result.error.kind}: {result.error.message}")


def answer_files(videos: "Sequence[VideoPath]", folder: Path, format: str) -> dict[str, Path]:
    """For each video that is there, its own file: below `folder` as it lies below what all share.

    Raises UsageError where such a file would take a video's place.

        a/x.mp4, b/x.mp4  ->  folder/a/x.mp4.json, folder/b/x.mp4.json
    """
    there = {video.path: os.path.abspath(video.path) for video in videos if video.error is None}
    try:
        shared = os.path.commonpath([os.path.dirname(place) for place in there.values()] or [""])
    except ValueError as error:  # on Windows
        raise UsageError("--output-dir takes the videos of one disk at a time") from error
    suffix = ".txt" if format == "table" else f".{format}"
    answers = {
        video: folder / (os.path.relpath(place, shared) + suffix) for video, place in there.items()
    }
    sources = {os.path.realpath(place) for place in there.values()}
    for answer in answers.values():
        if os.path.realpath(answer) in sources:
            raise UsageError(f"{answer}: is the same file as a video; give another --output-dir")
    return answers


def write_each(
    results: Iterable[Answer],
    render: VideoRenderer[Answer],
    answers: Mapping[str, Path | None],
) -> ExitCode:
    """Write each result, as it comes, into its own file; a video that failed is only named.

    A file appears whole or not at all, and takes the place of an earlier one. None is stdout.
    """
    statuses: list[str] = []
    for result in noting(results, statuses):
        if isinstance(result, Failed):
            complain_of(result)
            continue
        answer = answers[result.video]
        try:
            if answer is not None:
                answer.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{answer}: cannot be written ({error.strerror})") from error
        with writing(answer) as stream:
            render([result], stream, [result.video])
    return summary(statuses)


def summary(statuses: Sequence[str]) -> ExitCode:
    """Say how many videos failed, and return that as an exit code."""
    failed = sum(status != "ok" for status in statuses)
    if len(statuses) > 1:
        stderr().print(f"[dim]{len(statuses)} videos, {failed} failed[/]")
    return ExitCode.SOME_FAILED if failed else ExitCode.OK
