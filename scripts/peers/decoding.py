"""Compare decoders: the processor time of one clip of a long file, opening included."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av

from scripts.peers.turns import Spread, alternate, spread
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.video.decode import decode
from timesformer_cli.video.decoders.base import first_line
from timesformer_cli.video.messages import DecodeRequest

FRAMES, STRIDE, RATE = 8, 8, 30
REPEATS = 30  # of ten seconds
SPAN = FRAMES * STRIDE / RATE  # seconds from the start of a clip to its end
PLACES = {"middle": 0.5, "end": 1.0}  # of the last moment at which a whole clip can start


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeRow:
    """One decoder at one place of the file."""

    where: str
    contender: str
    cpu_seconds: Spread  # of all threads, for opening the file and reading 8 frames
    times_default: float | None  # how many times as fast as torchcodec in its exact mode


def compare_decoders(clip: Path, folder: Path, *, runs: int, warmup: int) -> list[DecodeRow]:
    """Rows for each place and decoder; a decoder that is not installed is named and left out."""
    path = repeat_clip(clip, folder / "long.mp4")
    with av.open(path) as opened:
        assert opened.duration is not None
        seconds = opened.duration / av.time_base
    readers, rows = _readers(path), list[DecodeRow]()
    for where, share in PLACES.items():
        start = share * (seconds - SPAN)
        moments = [start + number * STRIDE / RATE for number in range(FRAMES)]
        turns = {name: partial(_timed, read, path, moments) for name, read in readers.items()}
        done = alternate(turns, runs=runs, warmup=warmup, doing=f"decoding, {where}")
        spreads = {name: spread(times) for name, times in done.items()}
        default = spreads.get("torchcodec, exact")
        rows += [
            DecodeRow(
                where=where,
                contender=name,
                cpu_seconds=each,
                times_default=default.median / each.median if default else None,
            )
            for name, each in spreads.items()
        ]
    return rows


def repeat_clip(clip: Path, path: Path) -> Path:
    """Write the clip's packets REPEATS times, one after another: long, and not encoded anew."""
    with av.open(path, "w") as out, av.open(clip) as first:
        stream = out.add_stream_from_template(first.streams.video[0])
        offset = 0
        for _ in range(REPEATS):
            with av.open(clip) as source:
                (video,) = source.streams.video
                for packet in source.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    packet.stream = stream
                    out.mux(packet)
                assert video.duration is not None
                offset += video.duration
    return path


def _timed(read: Callable[[Path, list[float]], object], path: Path, moments: list[float]) -> float:
    began = time.process_time()
    read(path, moments)
    return time.process_time() - began


def _readers(path: Path) -> dict[str, Callable[[Path, list[float]], object]]:
    """The decoders that can open this file here."""
    exact, approximate = (partial(_torchcodec, mode=mode) for mode in ("exact", "approximate"))
    readers = {"tsf": _tsf, "PyAV": _pyav}
    try:
        exact(path, [0.0])
    except (ImportError, RuntimeError, OSError) as error:  # it looks for FFmpeg's libraries, too
        print(f"left out: torchcodec: {first_line(error)}", file=sys.stderr)
        return readers
    return {**readers, "torchcodec, exact": exact, "torchcodec, approximate": approximate}


def _tsf(path: Path, moments: list[float]) -> object:
    """As `tsf` reads it, resized and cropped."""
    request = DecodeRequest(
        path=str(path),
        sampling=Sampling(frames=FRAMES, stride=STRIDE),
        preprocessing=Preprocessing(resize=224, crop=(224, 224)),
        start=moments[0],
        end=moments[0] + SPAN,
    )
    return decode(request)


def _pyav(path: Path, moments: list[float]) -> object:
    """What one would write: to the keyframe before, and on until the last picture is there."""
    with av.open(path) as container:
        (stream,) = container.streams.video
        assert stream.time_base is not None
        container.seek(int(moments[0] / stream.time_base), stream=stream)
        return [frame.to_ndarray(format="rgb24") for frame in _at(container, moments)]


def _at(container: av.container.InputContainer, moments: list[float]) -> Iterator[av.VideoFrame]:
    """Yield the picture shown at each moment."""
    waiting, shown = list(moments), None
    for frame in container.decode(video=0):
        assert frame.time is not None
        while waiting and shown is not None and frame.time > waiting[0]:
            yield shown
            waiting.pop(0)
        if not waiting:
            return
        shown = frame


def _torchcodec(path: Path, moments: list[float], *, mode: str) -> object:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), seek_mode=mode, num_ffmpeg_threads=1)
    return decoder.get_frames_played_at(moments)
