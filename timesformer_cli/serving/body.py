"""The body of a request: an upload onto the disk, or a path, and the options beside it."""

import asyncio
import errno
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import IO, NamedTuple

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header
from starlette.requests import Request

from timesformer_cli.errors import ErrorKind
from timesformer_cli.serving.refused import Refused
from timesformer_cli.serving.rooted import video_below
from timesformer_cli.video import VideoPath

VIDEO, PATH = "video", "path"  # the part that is the file; the key that names one below the root
MOST_OPTIONS = 1 << 16  # bytes of all that is not the video
MOST_PARTS = 64
PIECE = 1 << 20  # bytes that are written at a time
LONGEST_NAME = 255
HOW = f"send the file as the part '{VIDEO}' of multipart/form-data, or JSON with a '{PATH}'"


class GivenVideo(NamedTuple):
    """The video of a request, until its block ends."""

    name: str  # as results call it
    video: VideoPath
    fields: dict[str, list[str]]  # the options


@asynccontextmanager
async def given_video(
    request: Request,
    folder: Path,
    root: Path | None,
    most: int,
    count: Callable[[int], None],
) -> AsyncIterator[GivenVideo]:
    """Receive the body of a request; an upload is a file in the folder until the block ends.

    A file has `most` bytes, whatever the request said of its length; `count` hears of each piece.
    Raises Refused, and ClientDisconnect where the client left.
    """
    kind, parameters = parse_options_header(request.headers.get("content-type", ""))
    if kind == "application/json":
        fields = _fields_of_json(await _small(request))
        names = fields.pop(PATH, [])
        if len(names) != 1:
            raise Refused(400, ErrorKind.USAGE, f"no video: {HOW}")
        with video_below(root, names[0]) as video:
            yield GivenVideo(names[0], video, fields)
        return
    if kind != "multipart/form-data":
        raise Refused(415, ErrorKind.USAGE, f"no video in '{kind[:100]}': {HOW}")
    # What is neither the video nor an option: boundaries, heads, and whatever stands around them.
    longest = most + MOST_OPTIONS + PIECE
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said[:20]) > longest:
        raise _too_large(most)
    place = folder / token_hex(8)
    try:
        with place.open("xb", buffering=0) as file:
            parts = _Parts(file, most)
            try:
                parser = PushMultipartParser(
                    parameters.get("boundary", ""), max_segment_count=MOST_PARTS
                )
                async for chunk in request.stream():
                    count(len(chunk))
                    longest -= len(chunk)
                    if longest < 0:
                        raise _too_large(most)
                    for event in parser.parse(chunk) if chunk else ():
                        parts.take(event)
                    if len(parts.buffer) >= PIECE:
                        await asyncio.to_thread(parts.flush)
                parser.close()
            except MultipartError as error:
                raise Refused(
                    400, ErrorKind.USAGE, f"the body is no whole multipart/form-data ({error})"
                ) from None
            await asyncio.to_thread(parts.flush)
        if parts.name is None:
            raise Refused(400, ErrorKind.USAGE, f"no video: {HOW}")
        yield GivenVideo(parts.name, VideoPath(str(place)), parts.fields)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Refused(507, ErrorKind.STORAGE, "the server's disk is full") from error
    finally:
        with suppress(FileNotFoundError):
            place.unlink()


@dataclass(slots=True)
class _Parts:
    """What the parts of a form hold: the video goes to a file, options are kept."""

    file: IO[bytes]
    most: int
    name: str | None = None  # of the video, once it began
    fields: dict[str, list[str]] = field(default_factory=dict)
    buffer: bytearray = field(default_factory=bytearray)  # of the video, not written yet
    _segment: MultipartSegment | None = None
    _text: bytearray = field(default_factory=bytearray)  # of the option that is being read
    _small: int = 0  # bytes of all options
    _large: int = 0  # bytes of the video

    def take(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        """One event of the parser; raises Refused."""
        if isinstance(event, MultipartSegment):
            self._segment, self._text = event, bytearray()
            if self._is_video(event):
                if self.name is not None:
                    raise Refused(
                        400, ErrorKind.USAGE, "one video a request, and this one has more"
                    )
                self.name = _plain(event.filename or "upload")
        elif event is None:
            assert self._segment is not None
            if not self._is_video(self._segment):
                self._keep_option(self._segment.name or "")
        elif self._segment is not None and self._is_video(self._segment):
            self._large += len(event)
            if self._large > self.most:
                raise _too_large(self.most)
            self.buffer += event
        else:
            self._small += len(event)
            if self._small > MOST_OPTIONS:
                raise Refused(
                    413, ErrorKind.TOO_LARGE, f"the options have more than {MOST_OPTIONS} bytes"
                )
            self._text += event

    def flush(self) -> None:
        """Write what waits."""
        view = memoryview(self.buffer)
        while view:
            view = view[self.file.write(view) :]
        self.buffer = bytearray()

    def _is_video(self, segment: MultipartSegment) -> bool:
        return bool(segment.name == VIDEO)

    def _keep_option(self, name: str) -> None:
        if self._segment is not None and self._segment.filename is not None:
            raise Refused(400, ErrorKind.USAGE, f"the part '{_plain(name)}' is a file: {HOW}")
        try:
            self.fields.setdefault(_plain(name), []).append(self._text.decode())
        except UnicodeDecodeError:
            raise Refused(400, ErrorKind.USAGE, f"{_plain(name)}: is not UTF-8") from None


async def _small(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_OPTIONS:
            raise Refused(413, ErrorKind.TOO_LARGE, f"the JSON has more than {MOST_OPTIONS} bytes")
    return bytes(body)


def _fields_of_json(body: bytes) -> dict[str, list[str]]:
    """The keys of an object with their values as a command line has them; raises Refused."""
    try:
        values = json.loads(body or b"null", object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise Refused(400, ErrorKind.USAGE, f"the body is no JSON: {HOW}") from None
    if not isinstance(values, dict):
        raise Refused(400, ErrorKind.USAGE, f"the body is no JSON object: {HOW}")
    return {_plain(name): [_word(name, value)] for name, value in values.items()}


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object; raises Refused where a key is there twice."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise Refused(400, ErrorKind.USAGE, "a key of the JSON is there twice")
    return values


def _word(name: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise Refused(400, ErrorKind.USAGE, f"{_plain(name)}: takes a text, a number, true or false")


def _plain(name: str) -> str:
    return name[:LONGEST_NAME]


def _too_large(most: int) -> Refused:
    return Refused(
        413, ErrorKind.TOO_LARGE, f"the video has more than {most:,} bytes, the most here"
    )
