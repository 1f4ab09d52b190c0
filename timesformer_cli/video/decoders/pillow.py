"""Pictures that move, and folders of pictures, read with Pillow: every frame in order."""

import io
import os
import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.video.cuts import shrink
from timesformer_cli.video.decoders.base import ReaderDeclined, Reading, ReadJob
from timesformer_cli.video.facts import Pixels, Probe, require_pixels_within_limit
from timesformer_cli.video.safe_file import VideoFile

if TYPE_CHECKING:
    from PIL.Image import Image

PNG, APNG_CHUNK = b"\x89PNG\r\n\x1a\n", b"acTL"
UNTIMED = 0.1  # seconds for a frame that says 0, as browsers show it
LARGEST = 1 << 30  # bytes of a file: Pillow holds it
FORMATS = ("WEBP", "PNG")
PICTURE_FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")


def is_animation(file: VideoFile) -> bool:
    """Whether this is a WebP or PNG file, moving or not: FFmpeg reads one picture of them."""
    webp = file.head[:4] == b"RIFF" and file.head[8:12] == b"WEBP"
    return webp or file.head.startswith(PNG)


def probe_animation(file: VideoFile) -> Probe:
    """Describe an animated WebP or PNG by its frames; raises VideoError for a single picture."""
    with _open(file) as image:
        count = _frames(image)
        if count < 2:
            raise VideoError(ErrorKind.NO_VIDEO_STREAM, "is a single picture, not a video")
        durations = [_seconds(image, number) for number in range(count)]
        width, height, kind = image.width, image.height, str(image.format).lower()
    total = sum(durations)
    return Probe(
        width=width,
        height=height,
        fps=len(durations) / total,
        duration=total,
        claimed=total,
        tail=durations[-1],
        frames=len(durations),
        codec=kind,
        container=kind,
        coded_width=width,
        coded_height=height,
        counted=True,
    )


def read_animation(job: ReadJob) -> Reading:
    """Read an animated WebP or PNG; declines all other files."""
    if not is_animation(job.file):
        raise ReaderDeclined("Pillow reads animated WebP and PNG only")
    picker = job.picker()
    with _open(job.file) as image:
        time = 0.0
        for number in range(_frames(image)):
            seconds = _seconds(image, number)
            frame = image.convert("RGB")  # composed by now: the next seek changes the image
            if not picker.offer(time, partial(_prepared, frame, job), partial(_shrunk, frame)):
                return picker.reading
            time += seconds
    return picker.finish()


def _shrunk(frame: "Image") -> Pixels:
    return shrink(np.asarray(frame, np.uint8))


def _prepared(frame: "Image", job: ReadJob) -> object:
    return job.prepare(np.asarray(frame, np.uint8), pixel_aspect=job.probe.pixel_aspect)


def _open(file: VideoFile) -> "Image":
    """The file as Pillow's image; its header alone is read. Raises VideoError."""
    from PIL import Image

    if file.size > LARGEST:
        raise VideoError(
            ErrorKind.TOO_LARGE, f"is a picture of {file.size / 1e9:.1f} GB; the limit is 1 GB"
        )
    try:
        image = Image.open(io.BytesIO(file.read_at(0, file.size)), formats=FORMATS)
    except Exception as error:  # Pillow lets through what its parsers raise
        raise VideoError(
            ErrorKind.CANNOT_DECODE, f"is not a picture that can be read: {error}"
        ) from None
    require_pixels_within_limit(image.width, image.height)
    return image


def _frames(image: "Image") -> int:
    return int(getattr(image, "n_frames", 1))


def _seconds(image: "Image", number: int) -> float:
    """Go to a frame, and say for how long it is shown; raises VideoError where it is damaged."""
    try:
        image.seek(number)
        image.load()
    except Exception as error:
        raise VideoError(
            ErrorKind.CANNOT_DECODE, f"is damaged: its frame {number + 1} cannot be read ({error})"
        ) from None
    return max(0.0, float(image.info.get("duration") or 0.0)) / 1000 or UNTIMED


def pictures_of(folder: str) -> list[str]:
    """The pictures of a folder in the order of the numbers in their names; none where there are
    none.
    """
    with os.scandir(folder) as inside:
        names = [entry.name for entry in inside if PICTURE.search(entry.name) and entry.is_file()]
    return [os.path.join(folder, name) for name in sorted(names, key=_by_number)]


PICTURE = re.compile(r"^[^.].*\.(bmp|jpe?g|png|tiff?|webp)$", re.IGNORECASE)


def _by_number(name: str) -> list[tuple[int, str]]:
    """`frame_2.png` before `frame_10.png`."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def probe_pictures(pictures: Sequence[str], fps: float) -> Probe:
    """Describe a folder of pictures as a video of so many frames a second; raises VideoError."""
    first = _picture(pictures[0])
    return Probe(
        width=first.shape[1],
        height=first.shape[0],
        fps=fps,
        duration=len(pictures) / fps,
        claimed=len(pictures) / fps,
        tail=1 / fps,
        frames=len(pictures),
        codec="pictures",
        container="folder",
        coded_width=first.shape[1],
        coded_height=first.shape[0],
        counted=True,
    )


def read_pictures(pictures: Sequence[str], job: ReadJob) -> Reading:
    """Read the wanted pictures of a folder, each opened only where it is wanted."""
    picker = job.picker()

    def prepared(path: str) -> object:
        return job.prepare(_picture(path), pixel_aspect=1.0)

    for number, path in enumerate(pictures):
        time, small = number / job.probe.fps, partial(_small_picture, path)
        if not picker.offer(time, partial(prepared, path), small):
            return picker.reading
    return picker.finish()


def _small_picture(path: str) -> Pixels:
    return shrink(_picture(path))


def _picture(path: str) -> Pixels:
    from PIL import Image

    try:
        with VideoFile(path) as file:
            image = Image.open(io.BytesIO(file.read_at(0, file.size)), formats=PICTURE_FORMATS)
            require_pixels_within_limit(image.width, image.height)
            return np.asarray(image.convert("RGB"), np.uint8)
    except Exception as error:  # Pillow lets through what its parsers raise
        kind = error.kind if isinstance(error, VideoError) else ErrorKind.CANNOT_DECODE
        name = os.path.basename(path)
        raise VideoError(kind, f"holds a picture that cannot be read: {name} ({error})") from None
