"""Pictures found by the index of a file: those of a plain decode from its beginning, every pixel."""

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.support.clips import write
from tests.support.videos import decode
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.video.decoders import indexed
from timesformer_cli.video.decoders.base import EPSILON, Reading, ReadJob, Unordered
from timesformer_cli.video.decoders.pyav import whole_picture
from timesformer_cli.video.probe import examine
from timesformer_cli.video.safe_file import VideoFile

MOMENTS = 20


def plain_decode(path: Path) -> tuple[list[float], list[np.ndarray]]:
    """Times from the first picture on, and pictures: every packet, in order, nothing skipped."""
    times, pictures = [], []
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.best("video")
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                continue
            for frame in frames:
                times.append(float(frame.pts * stream.time_base))
                pictures.append(whole_picture(frame))
        rate = float(stream.average_rate)
    if times != sorted(times):  # AVI only has the order of decoding
        times = [number / rate for number in range(len(times))]
    return [time - times[0] for time in times], pictures


def read(path: Path, wanted: list[float] | None = None) -> tuple[list[float], Reading, bool]:
    """Random moments, what is read of them, and whether the index sufficed."""
    with VideoFile(str(path)) as file:
        described, known = examine(file)
        chance = random.Random(path.name)
        wanted = wanted or sorted(chance.random() * described.duration for _ in range(MOMENTS))
        job = ReadJob(file, described, wanted, lambda picture, **_: picture.copy(), indexed=known)
        try:
            if known is None:
                return wanted, indexed.read_av(job), False
            return wanted, indexed.read_by_index(job, known), True
        except Unordered:
            return wanted, indexed.read_av(job), False
        finally:
            if known is not None:
                known.close()


def compare(path: Path) -> tuple[bool, int, int]:
    """Whether the index sufficed, and how many pictures were decoded, of how many there are."""
    times, pictures = plain_decode(path)
    wanted, reading, by_index = read(path)
    # A file may claim to be longer than its pictures are; the caller then asks again.
    assert all(moment > times[-1] for moment in wanted[len(reading.pictures) :])
    for moment, picture in zip(wanted, reading.pictures, strict=False):
        number = max(n for n, time in enumerate(times) if n == 0 or not moment < time - EPSILON)
        assert np.array_equal(picture, pictures[number]), (path, moment, number)
    return by_index, reading.decoded, len(pictures)


def moving(count: int) -> list[np.ndarray]:
    """Pictures that differ from one another and move, so that codecs refer to their neighbours."""
    blocks = np.random.default_rng(7).integers(0, 256, (48, 52, 3), np.uint8)
    shown = []
    for n in range(count):
        part = blocks[n // 2 % 40 : n // 2 % 40 + 8, n // 3 % 40 : n // 3 % 40 + 12]
        picture = part.repeat(8, axis=0).repeat(8, axis=1)
        picture[:16, :16] = n * 37 % 256, n * 91 % 256, n * 53 % 256
        shown.append(picture)
    return shown


def hevc(more: str) -> dict[str, str]:
    return {"x265-params": f"log-level=none:pools=1:frame-threads=1:{more}"}


GROUPS = {"g": "12", "bf": "2", "preset": "veryfast"}
SQUARES = [n * n for n in range(60)]
# name: how it is written, and whether its index must suffice; None where either is right.
FILES: dict[str, tuple[dict[str, Any], bool | None]] = {
    "one-group.mp4": ({"options": {"g": "250", "bf": "3"}}, True),
    "all-keys.mp4": ({"options": {"g": "1"}}, True),
    "pyramid.mov": ({"options": {"g": "25", "x264-params": "bframes=5:b-pyramid=normal"}}, True),
    "open.mp4": ({"options": {"g": "12", "x264-params": "open-gop=1:bframes=3"}}, True),
    "open.ts": ({"options": {"g": "12", "x264-params": "open-gop=1:bframes=3"}}, True),
    "refresh.mp4": ({"options": {"g": "12", "x264-params": "intra-refresh=1"}}, None),
    "groups.ts": ({"options": GROUPS}, True),
    "groups.mkv": ({"options": GROUPS, "audio": True}, True),
    "groups.flv": ({"options": GROUPS}, False),
    "fragments.mp4": (
        {"options": GROUPS, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
        True,
    ),
    "negative.mp4": (
        {"options": GROUPS, "container_options": {"movflags": "negative_cts_offsets"}},
        True,
    ),
    "sound.mp4": ({"options": GROUPS, "audio": True}, True),
    "h264.avi": ({"options": GROUPS}, False),
    "hevc-open.mp4": ({"codec": "libx265", "options": hevc("keyint=12:open-gop=1")}, True),
    "hevc-open.mkv": ({"codec": "libx265", "options": hevc("keyint=12:open-gop=1")}, True),
    "hevc-layers.mp4": ({"codec": "libx265", "options": hevc("keyint=12:temporal-layers=3")}, True),
    "vp9.webm": (
        {"codec": "libvpx-vp9", "options": {"g": "12", "deadline": "realtime", "cpu-used": "8"}},
        True,
    ),
    "mpeg4.avi": ({"codec": "mpeg4", "options": {"g": "12"}}, True),
    "mpeg4-reordered.avi": ({"codec": "mpeg4", "options": {"g": "12", "bf": "2"}}, False),
    "mpeg4-reordered.mp4": ({"codec": "mpeg4", "options": {"g": "12", "bf": "2"}}, True),
    "mpeg2.ts": ({"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}}, True),
    "mpeg2.mpg": ({"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}}, False),
    "pictures.avi": ({"codec": "mjpeg", "pix_fmt": "yuvj420p"}, True),
    "uneven.mp4": (
        {"options": GROUPS, "pts": SQUARES.__getitem__, "time_base": Fraction(1, 600)},
        True,
    ),
    "uneven.mkv": (
        {"options": GROUPS, "pts": SQUARES.__getitem__, "time_base": Fraction(1, 1000)},
        True,
    ),
    "late.ts": (
        {"options": GROUPS, "pts": lambda n: 700 + n, "time_base": Fraction(1, 30)},
        True,
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_pictures_are_those_of_a_plain_decode(name: str, tmp_path: Path) -> None:
    how, suffices = FILES[name]
    try:
        path = write(tmp_path / name, moving(60), size=(96, 64), **how)
    except (av.error.FFmpegError, ValueError) as error:
        pytest.skip(f"this FFmpeg does not write it: {error}")
    by_index, _, _ = compare(path)
    assert suffices is None or by_index is suffices


def repacked(path: Path, target: Path, change: Callable[[int, Any], bool]) -> Path:
    """The packets of a file, without those for which `change` says no."""
    with av.open(str(path)) as given, av.open(str(target), "w") as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(given.demux(given.streams.video[0])):
            if packet.dts is not None and change(number, packet):
                packet.stream = stream
                made.mux(packet)
    return target


def earlier(_: int, packet: Any) -> bool:
    shift = int(0.5 / packet.time_base)
    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
    return True


@pytest.mark.parametrize(
    ("suffix", "change"),
    [
        ("mp4", earlier),  # an edit list hides the beginning
        ("mov", lambda number, _: number >= 7),  # begins in the middle of a group
        ("mkv", lambda number, _: number >= 7),
        ("mkv", lambda number, _: number not in (20, 21, 33)),  # lost packets
    ],
)
def test_pictures_of_what_was_cut_are_those_of_a_plain_decode(suffix, change, tmp_path) -> None:
    source = write(tmp_path / "a.mp4", moving(60), size=(96, 64), options=GROUPS)
    compare(repacked(source, tmp_path / f"b.{suffix}", change))


def test_damage_on_the_way_to_a_picture_has_the_file_read_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", moving(60), size=(96, 64), options=GROUPS | {"bf": "0"})
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    content = bytearray(path.read_bytes())
    place, size = places[26]
    content[place + 8 : place + size] = b"\xff" * (size - 8)
    path.write_bytes(content)
    by_index, _, _ = compare(path)
    assert not by_index
    _, reading, by_index = read(path, [57 / 30 + 0.01])  # of another group
    assert by_index and reading.decoded < 12


def test_only_what_a_picture_needs_is_decoded(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mp4",
        moving(240),
        size=(96, 64),
        options={"g": "30", "x264-params": "bframes=3:b-adapt=0:b-pyramid=none:scenecut=0"},
    )
    _, reading, by_index = read(path, [100.01 / 30, 217.01 / 30])
    # A keyframe, every fourth picture after it, and the wanted one of each group.
    assert by_index and reading.decoded <= (3 + 2) + (2 + 2) + (1 + 7 + 1)
    key = write(tmp_path / "b.avi", moving(60), size=(96, 64), codec="mjpeg", pix_fmt="yuvj420p")
    _, reading, by_index = read(key, [0.5, 1.5])
    assert by_index and reading.decoded == 2


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "ts"])
def test_the_index_tells_the_times_that_all_packets_tell(suffix, tmp_path, monkeypatch) -> None:
    from timesformer_cli.video import probe as module

    options = {"codec": "mpeg4", "options": {"g": "12"}} if suffix == "avi" else {"options": GROUPS}
    path = write(tmp_path / f"a.{suffix}", moving(60), size=(96, 64), fps=25, **options)
    with VideoFile(str(path)) as file:
        quick = module.probe(file)
        monkeypatch.setattr(module, "INDEXED", ("nothing",))
        slow = module.probe(file)
    assert (quick.frames, quick.steady, quick.longest) == (slow.frames, slow.steady, slow.longest)
    for name in ("duration", "fps", "tail", "claimed"):
        assert getattr(quick, name) == pytest.approx(getattr(slow, name), abs=1e-9), name


def test_real_clips_give_the_pixels_of_a_plain_decode(real_clips: Path) -> None:
    files = [path for path in sorted(real_clips.iterdir()) if path.suffix in (".mp4", ".avi")]
    # The others are longer, and are compared in the slow test below.
    for path in sorted(files, key=lambda path: path.stat().st_size)[:8]:
        compare(path)


@pytest.mark.slow
def test_all_real_clips_give_the_pixels_of_a_plain_decode(real_clips: Path) -> None:
    for path in sorted(real_clips.iterdir()):
        if path.suffix not in (".csv", ".gif"):
            compare(path)


def test_a_file_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, opened = write(tmp_path / "a.mp4", moving(60), size=(96, 64), options=GROUPS), []
    real = av.open
    monkeypatch.setattr(av, "open", lambda *file, **how: opened.append(1) or real(*file, **how))
    decode(str(path), Sampling(frames=8, stride=4), Preprocessing(resize=64, crop=(64, 64)))
    assert len(opened) == 1
