"""Lists of paths that other programs write: their bytes, and what a name in them means on this disk."""

import codecs
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from io import BufferedIOBase

from timesformer_cli.errors import ErrorKind, UsageError, VideoError
from timesformer_cli.video.safe_file import HEAD

SUFFIXES = frozenset(
    ".3g2 .3gp .apng .asf .avi .divx .dv .f4v .flv .gif .m1v .m2ts .m2v .m4v .mkv .mov .mp4 .mpe .mpeg"
    " .mpg .mpv .mts .mxf .ogv .rm .rmvb .ts .vob .webm .wmv .y4m".split()
)
LINE_BREAK = re.compile(r"\r\n|\r|\n")
# Longer marks first: UTF-32's begins with UTF-16's.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WIDE_MARKS = tuple(mark for mark, _ in MARKS)
NO_NAMES = "no videos given: stdin is empty, and `-` reads their paths from it, one a line"
# What the first bytes of video files are, with the offset at which they stand.
CONTAINERS = (
    *((4, box, "mp4 or mov") for box in (b"ftyp", b"moov", b"mdat", b"wide", b"pnot")),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (0, b"RIFF", "AVI, WebP or WAV"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"FLV\x01", "FLV"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "ASF or WMV"),
    (0, b"OggS", "Ogg"),
    (0, b"\0\0\1\xba", "MPEG"),
    (0, b"\0\0\1\xb3", "MPEG"),
    (0, b"\0\0\0\1", "H.264 or H.265"),
    (0, b"\0\0\1", "H.264 or H.265"),
    (0, b"\x06\x0e\x2b\x34", "MXF"),
    (0, b".RMF\0", "RealMedia"),
    (0, b"YUV4MPEG2 ", "YUV4MPEG2"),
    (0, b"\x89PNG\r\n", "PNG"),
    (0, b"\x1f\x07\0", "DV"),
)
# Some of these are letters that a name may begin with; a video has control characters as well.
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
MOST_CONTROL = 1 / 20  # share of control characters, NUL aside, that no list of paths has


def has_video_suffix(name: str) -> bool:
    """Whether a name ends like that of a video, in any case."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def read_list(stream: Iterable[str | bytes]) -> list[str]:
    """The names in a list: one a line, or with NUL between them; in UTF-8, UTF-16 or any bytes.

    Raises UsageError for a list without names, and for a video in its place, of which no more than
    the beginning is read.
    """
    parts: list[bytes] = []
    size, looked = 0, False
    # One pass, and nothing is asked for after its end: a terminal would wait for more.
    for line in stream:
        parts.append(os.fsencode(line))
        size += len(parts[-1])
        if size >= HEAD and not looked:
            _require_list(b"".join(parts))
            looked = True
    data = b"".join(parts)
    if not looked:
        _require_list(data)
    names = _names(data)
    if not names:
        raise UsageError(NO_NAMES)
    return names


def names_as_they_come(stream: BufferedIOBase) -> Iterator[str]:
    """The names of `read_list`, each as soon as its end was read.

    What ends the first name ends all: a line break, or NUL. A list in UTF-16 is read to its end
    first. Raises UsageError as `read_list` does, and for NUL in a list of lines.
    """
    head = rest = end = b""
    none_yet = True
    while chunk := stream.read1(1 << 16):
        rest += chunk
        if len(head) < HEAD:
            head += chunk
            _require_list(head)
        if not end:
            even = rest[: len(rest) // 2 * 2]
            if head.startswith(WIDE_MARKS) or decode_wide(even) is not None:
                yield from read_list([rest, *stream])
                return
            end = b"\0" if b"\0" in rest else b"\n" if b"\n" in rest else b""
            if not end:
                continue
        if end == b"\n" and b"\0" in rest:
            raise UsageError("stdin: has NUL behind lines; one or the other ends every name")
        whole, _, rest = rest.rpartition(end)
        for name in _names(whole + end):
            none_yet = False
            yield name
    for name in _names(rest):
        none_yet = False
        yield name
    if none_yet:
        raise UsageError(NO_NAMES)


def decode_wide(data: bytes) -> str | None:
    """The text of bytes in UTF-16 or UTF-32; None where they are in neither.

    Without a mark they are UTF-16 where all their NUL bytes are the same half of the characters,
    and either every character has one or a line break does. Raises UnicodeDecodeError.
    """
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    if not data or len(data) % 2:
        return None
    for encoding, high in (("utf-16-le", 1), ("utf-16-be", 0)):
        halves, others = data[high::2], data[1 - high :: 2]
        if b"\0" in halves and b"\0" not in others:
            breaks = any(
                half == 0 and other in b"\r\n" for half, other in zip(halves, others, strict=True)
            )
            if breaks or not halves.strip(b"\0"):
                try:
                    return data.decode(encoding)
                except UnicodeDecodeError:
                    return None
    return None


def video_container(head: bytes) -> str | None:
    """What kind of video file begins with these bytes; None for what is no video."""
    if not head.startswith(b"YUV4MPEG2 ") and not CONTROL.search(head):
        return None
    for offset, magic, name in CONTAINERS:
        if head.startswith(magic, offset):
            return name
    for offset, step in ((0, 188), (4, 192)):
        if set(head[offset::step]) == {0x47} and len(head) > offset + 2 * step:
            return "MPEG-TS"
    return None


def _require_list(data: bytes) -> None:
    head = data[:HEAD]
    how = "give its path, or save it to a file first"
    if kind := video_container(head):
        raise UsageError(f"stdin holds a video ({kind}), and `-` reads paths: {how}")
    control = len(CONTROL.findall(head)) - head.count(b"\0")
    if control > len(head) * MOST_CONTROL and decode_wide(head[: len(head) // 2 * 2]) is None:
        raise UsageError(f"stdin holds no text, and `-` reads paths of videos: {how}")


def _names(data: bytes) -> list[str]:
    try:
        text = decode_wide(data)
    except UnicodeDecodeError as error:
        raise UsageError(f"stdin: not {error.encoding}, though it begins so") from error
    if text is not None:
        names = LINE_BREAK.split(text)
    elif b"\0" in data:
        names = os.fsdecode(data.removeprefix(codecs.BOM_UTF8)).split("\0")
    else:
        names = LINE_BREAK.split(os.fsdecode(data.removeprefix(codecs.BOM_UTF8)))
    return [name for name in names if name.strip()]


class ListedNames:
    """Finds what the names in a list mean on this disk; `read_otherwise` has those that differ.

    A name that is there is taken as it is. Else it is read in the other Unicode form, without
    spaces and quotes around it, with its backslashes as separators, and as the only video that has
    more than its name by a suffix.
    """

    def __init__(self) -> None:
        self.read_otherwise: list[tuple[str, str]] = []
        self._folders: dict[str, tuple[dict[str, list[str]], dict[str, list[str]]]] = {}

    def find(self, name: str, folder: str = "") -> str:
        """The path that a name means below the folder; as it stands where nothing fits.

        Raises VideoError where several videos fit.
        """
        literal = os.path.join(folder, name)
        if "\0" in literal or os.path.lexists(literal):
            return literal
        bare = re.sub(r"\A(['\"])(.+)\1\Z", r"\2", name.strip())
        for reading in dict.fromkeys((name, bare, bare.replace("\\", "/"))):
            found = self._spelled(os.path.join(folder, reading), suffix=True)
            if found is not None:
                if composed(found) != composed(literal):
                    self.read_otherwise.append((name, os.path.relpath(found, folder or ".")))
                return found
        return literal

    def note(self, source: str) -> str | None:
        """What to tell the user about names that were read otherwise; None where there are none."""
        if not self.read_otherwise:
            return None
        name, path = self.read_otherwise[0]
        count = len(self.read_otherwise)
        paths = "1 path is" if count == 1 else f"{count} paths are"
        return f"{source}: {paths} not there as written; '{name}' was read as '{path}'"

    def _spelled(self, path: str, *, suffix: bool = False) -> str | None:
        """The path in the spelling of the disk, if it is there."""
        if os.path.lexists(path):
            return path
        parent, name = os.path.split(path)
        if not name:
            return None
        there = self._spelled(parent) if parent else ""
        if there is None:
            return None
        names, stems = self._inside(there)
        found = names.get(composed(name), []) or (stems.get(composed(name), []) if suffix else [])
        if len(found) > 1:
            raise VideoError(
                ErrorKind.NOT_FOUND, f"may be {' or '.join(found)}: write the whole name"
            )
        return os.path.join(there, found[0]) if found else None

    def _inside(self, folder: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """The names in a folder by their composed form, and its videos by that of their stems."""
        if folder not in self._folders:
            names: dict[str, list[str]] = {}
            stems: dict[str, list[str]] = {}
            try:
                listed = sorted(os.listdir(folder or "."))
            except OSError:
                listed = []
            for name in listed:
                names.setdefault(composed(name), []).append(name)
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in SUFFIXES:
                    stems.setdefault(composed(stem), []).append(name)
            self._folders[folder] = names, stems
        return self._folders[folder]


def composed(text: str) -> str:
    """The text with each accent in its letter, as Unicode's form NFC: some disks take them apart."""
    return unicodedata.normalize("NFC", text)
