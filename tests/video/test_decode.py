"""Decoding awkward files: every frame carries its number, so a wrong one is seen as wrong."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.clips import barcode, read_barcode, turned, write, write_sound
from tests.support.videos import decode
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import VideoError
from timesformer_cli.video.decode import READERS
from timesformer_cli.video.decoders.base import Picker, ReaderDeclined
from timesformer_cli.video.probe import probe
from timesformer_cli.video.safe_file import VideoFile

WHOLE = Preprocessing(resize=120, crop=(120, 160))
EIGHT = Sampling(frames=8, stride=None)
MODULES = {"decord": "decord", "av": "av", "opencv": "cv2", "torchcodec": "torchcodec"}


def usable(decoder: str) -> bool:
    """Whether it works here: decord has few wheels, OpenCV's needs libGL, torchcodec's FFmpeg."""
    try:
        module = import_module(MODULES[decoder])
    except (ImportError, RuntimeError):
        return False
    return getattr(module, "ffmpeg_major_version", 0) is not None


DECODERS = tuple(filter(usable, MODULES))
SEVERAL = tuple(name for name in DECODERS if name != "torchcodec")  # which declines more than they
needs_opencv = pytest.mark.skipif("opencv" not in DECODERS, reason="OpenCV cannot be imported")
CLOSED = {"g": "15", "bf": "2"}
OPEN_GOP = {"x265-params": "log-level=none:keyint=15:open-gop=1:bframes=3:pools=1:frame-threads=1"}

Make = Callable[[Path], Path]

# name: how it is made, and the decoders that must read it; each is 60 frames at 30 a second.
ORDINARY: dict[str, tuple[Make, tuple[str, ...]]] = {
    "plain.mp4": (lambda p: write(p, 60, options=CLOSED), DECODERS),
    "with-sound.mp4": (lambda p: write(p, 60, audio=True), DECODERS),
    "fragmented.mp4": (
        lambda p: write(
            p, 60, options=CLOSED, container_options={"movflags": "frag_keyframe+empty_moov"}
        ),
        SEVERAL,
    ),
    "open-gop.mp4": (lambda p: write(p, 60, codec="libx265", options=OPEN_GOP), DECODERS),
    "open-gop.mkv": (lambda p: write(p, 60, codec="libx265", options=OPEN_GOP), DECODERS),
    "ten-bit.mp4": (lambda p: write(p, 60, pix_fmt="yuv420p10le"), SEVERAL),
    "vp8.webm": (
        lambda p: write(p, 60, codec="libvpx", options={"deadline": "realtime"}),
        DECODERS,
    ),
    "vp9.webm": (
        lambda p: write(
            p, 60, codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}
        ),
        DECODERS,
    ),
    "motion-jpeg.avi": (
        lambda p: write(p, 60, codec="mjpeg", pix_fmt="yuvj420p", options={"qscale": "3"}),
        SEVERAL,
    ),
    "xvid-b-frames.avi": (
        lambda p: write(p, 60, codec="mpeg4", options={"bf": "2"}),
        ("av", "opencv"),
    ),
    "h264-b-frames.avi": (lambda p: write(p, 60, options=CLOSED), ("av", "opencv")),
    "program.mpg": (
        lambda p: write(p, 60, codec="mpeg2video", options={"bf": "2"}),
        ("av", "opencv"),
    ),
    "mpeg1.mpg": (
        lambda p: write(p, 60, codec="mpeg1video", options={"bf": "2"}),
        ("av", "opencv"),
    ),
    "transport.ts": (lambda p: write(p, 60, options=CLOSED), ("av", "opencv")),
    "bare.264": (lambda p: write(p, 60, options=CLOSED, format="h264"), ("av", "opencv")),
    "av1.mp4": (
        lambda p: write(p, 60, codec="libsvtav1", options={"preset": "12"}),
        ("av", "torchcodec"),
    ),
    "interlaced.mp4": (
        lambda p: write(p, 60, options={"flags": "+ildct+ilme", "x264-params": "tff=1"}),
        ("decord", "av"),
    ),
    "late-start.mkv": (
        lambda p: write(p, 60, pts=lambda i: 5000 + i * 1000 // 30, time_base=Fraction(1, 1000)),
        DECODERS,
    ),
    "rotated-90.mp4": (
        lambda p: write(
            p, turned([barcode(i) for i in range(60)], -1), size=(120, 160), rotation=90
        ),
        DECODERS,
    ),
    "rotated-180.mp4": (
        lambda p: write(p, turned([barcode(i) for i in range(60)], -2), rotation=180),
        DECODERS,
    ),
    "rotated-270.mp4": (
        lambda p: write(
            p, turned([barcode(i) for i in range(60)], -3), size=(120, 160), rotation=270
        ),
        DECODERS,
    ),
    "rotated-180.mkv": (
        lambda p: write(p, turned([barcode(i) for i in range(60)], -2), rotation=180),
        ("av", "opencv", "torchcodec"),
    ),
    "mirrored.mp4": (
        lambda p: write(p, [barcode(i)[:, ::-1] for i in range(60)], hflip=True),
        ("av", "opencv"),
    ),
    "mirrored-90.mp4": (
        lambda p: write(
            p,
            [np.rot90(barcode(i)[:, ::-1], -1) for i in range(60)],
            size=(120, 160),
            rotation=90,
            hflip=True,
        ),
        ("av", "opencv"),
    ),
    "oblong-pixels.mp4": (
        lambda p: write(
            p,
            [barcode(i)[:, ::2] for i in range(60)],
            size=(80, 120),
            sample_aspect_ratio=Fraction(2),
        ),
        DECODERS,
    ),
}


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Clips of ORDINARY by name, each made when first asked for."""
    folder = tmp_path_factory.mktemp("clips")

    def get(name: str) -> Path:
        path = folder / name
        return path if path.exists() else ORDINARY[name][0](path)

    return get


def numbers(
    path: Path | str, sampling: Sampling = EIGHT, decoder: str = "auto"
) -> list[int | None]:
    decoded = decode(os.fspath(path), sampling, WHOLE, decoder=decoder)
    return [read_barcode(frame) for frame in decoded.frames[0]]


def kind_of(path: Path | str, decoder: str = "auto") -> str:
    with pytest.raises(VideoError) as caught:
        decode(os.fspath(path), EIGHT, WHOLE, decoder=decoder)
    return caught.value.kind


@pytest.mark.parametrize("name", ORDINARY)
def test_every_decoder_gives_the_right_frames_or_declines(
    name: str, clip: Callable[[str], Path]
) -> None:
    path, able = clip(name), [decoder for decoder in ORDINARY[name][1] if decoder in DECODERS]
    for decoder in ("auto", *able):
        for sampling in (EIGHT, Sampling(frames=10, stride=2)):
            decoded = decode(os.fspath(path), sampling, WHOLE, decoder=decoder)
            times = decoded.views[0].times
            assert times[0] + times[-1] == pytest.approx(2, abs=0.2)  # MPEG-PS only estimates
            for frame, time in zip(decoded.frames[0], times, strict=True):
                seen = read_barcode(frame)
                assert seen is not None and -1.05 < seen - time * 30 < 0.05, (decoder, seen, time)
    for decoder in set(DECODERS) - set(able):
        assert kind_of(path, decoder) == "cannot_decode"
    first = "av" if "av" in able else able[0]  # the order of auto
    assert decode(os.fspath(path), EIGHT, WHOLE).decoder == first


def test_times_that_a_container_rounded_up_still_count_as_reached() -> None:
    picker = Picker([i / 30 for i in range(4)], 1 / 30)
    for time in (0.0, 0.033, 0.067, 0.1, 0.133):  # as Matroska keeps them
        picker.offer(time, lambda: "picture")
    assert picker.reading.chosen == [0, 1, 2, 3]


def test_all_decoders_give_the_same_pixels(clip: Callable[[str], Path]) -> None:
    for name in ("plain.mp4", "rotated-90.mp4", "oblong-pixels.mp4", "vp9.webm"):
        results = [decode(os.fspath(clip(name)), EIGHT, WHOLE, decoder=d) for d in DECODERS]
        for other in results[1:]:
            difference = np.abs(results[0].frames.astype(int) - other.frames)
            assert difference.mean() < 0.5, name
            assert other.views == results[0].views


def test_a_gif_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.gif", 50, codec="gif", fps=25, pix_fmt="rgb8")
    decoded = decode(str(path), EIGHT, WHOLE)
    assert decoded.decoder == "av" and len(np.unique(decoded.frames[0], axis=0)) == 8


def test_variable_frame_rate_shows_the_frame_on_screen(tmp_path: Path) -> None:
    shown_at = [0, 1, 2, 3, 40, 41, 42, 80, 81, 119]  # hundredths of a second
    path = write(
        tmp_path / "vfr.mkv",
        len(shown_at),
        pts=lambda i: shown_at[i] * 10,
        time_base=Fraction(1, 1000),
    )
    sampling = Sampling(frames=6, stride=None)
    for decoder in ("auto", *DECODERS):
        decoded = decode(str(path), sampling, WHOLE, decoder=decoder)
        seen = [read_barcode(frame) for frame in decoded.frames[0]]
        times = decoded.views[0].times
        on_screen = [max(i for i, at in enumerate(shown_at) if at / 100 <= t) for t in times]
        assert seen == on_screen, decoder


def test_a_clip_cut_without_re_encoding_starts_at_its_edit_list(tmp_path: Path) -> None:
    path = write(tmp_path / "cut.mp4", 60, options={"g": "60", "bf": "0"})
    data = bytearray(path.read_bytes())
    # elst: version/flags, one entry: duration, media time, rate. Start 20 frames in, for 40.
    entry = data.index(b"elst") + 4
    assert int.from_bytes(data[entry + 4 : entry + 8], "big") == 1
    timescale = data.index(b"mdhd") + 16
    units = int.from_bytes(data[timescale : timescale + 4], "big")
    movie = data.index(b"mvhd") + 16
    ticks = int.from_bytes(data[movie : movie + 4], "big")
    data[entry + 8 : entry + 12] = (ticks * 40 // 30).to_bytes(4, "big")
    data[entry + 12 : entry + 16] = (units * 20 // 30).to_bytes(4, "big")
    path.write_bytes(data)
    decoded = decode(str(path), EIGHT, WHOLE)
    assert decoded.decoder == "av"
    seen = [read_barcode(frame) for frame in decoded.frames[0]]
    assert seen == [20 + int(40 * (i + 0.5) / 8) for i in range(8)]


def test_a_clip_late_in_a_long_video_is_sought_exactly(tmp_path: Path) -> None:
    path = write(tmp_path / "long.mp4", 250, fps=5, options={"g": "20", "bf": "2"})
    sampling = Sampling(frames=8, stride=12)  # 3.2 s in the middle of 50 s
    expected = numbers(path, sampling, "decord")
    assert None not in expected and expected[0] == 117
    decoded = decode(str(path), sampling, WHOLE)
    assert decoded.decoder == "av"
    assert [read_barcode(frame) for frame in decoded.frames[0]] == expected
    two = decode(str(path), sampling, WHOLE, clips=2)
    assert [read_barcode(frame) for frame in two.frames[1]] == [
        int(5 * time + 1e-6) if time < 50 else 249 for time in two.views[1].times
    ]


def test_a_seek_that_goes_too_far_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timesformer_cli.video.decoders import pyav

    path = write(tmp_path / "long.mp4", 250, fps=5, options={"g": "20", "bf": "2"})
    monkeypatch.setattr(pyav, "MARGIN", -12.0)
    sampling = Sampling(frames=8, stride=12)
    assert numbers(path, sampling, "av") == numbers(path, sampling, "decord")


def test_clips_and_crops_become_views_clip_by_clip(clip: Callable[[str], Path]) -> None:
    small = Preprocessing(resize=60, crop=(60, 60))
    decoded = decode(
        os.fspath(clip("plain.mp4")), Sampling(frames=4, stride=4), small, clips=2, crops=3
    )
    assert decoded.frames.shape == (6, 4, 60, 60, 3)
    assert [view.crop for view in decoded.views] == ["left", "center", "right"] * 2
    assert [view.start for view in decoded.views] == [0.0] * 3 + [1.5] * 3
    assert not np.array_equal(decoded.frames[0], decoded.frames[3])


def test_one_frame_is_repeated_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "one.mp4", [barcode(77)])
    for sampling in (EIGHT, Sampling(frames=8, stride=32)):
        decoded = decode(str(path), sampling, WHOLE)
        assert [read_barcode(frame) for frame in decoded.frames[0]] == [77] * 8
        assert decoded.warnings == ("gives 1 frame, repeated 8 times",)


def test_a_video_of_fewer_frames_than_wanted_uses_them_all(tmp_path: Path) -> None:
    path = write(tmp_path / "five.mp4", 5)
    assert numbers(path) == [0, 0, 1, 2, 2, 3, 4, 4]
    (warning,) = decode(str(path), EIGHT, WHOLE).warnings
    assert warning == "gives 5 frames, repeated to make the 8 of a clip"


def test_a_truncated_video_is_planned_again_on_what_it_holds(tmp_path: Path) -> None:
    path = write(
        tmp_path / "cut.mp4",
        90,
        options={"g": "15", "crf": "10"},
        container_options={"movflags": "faststart"},
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    for decoder in {"auto", "av", "opencv"} & {"auto", *DECODERS}:
        decoded = decode(str(path), EIGHT, WHOLE, decoder=decoder)
        seen = [read_barcode(frame) for frame in decoded.frames[0]]
        assert None not in seen and 30 < max(filter(None, seen)) < 60, decoder
        assert len(set(seen)) == 8
        assert decoded.warnings[0].startswith("claims 3.0 s, holds 1."), decoder


def test_a_file_without_its_index_is_called_truncated(clip: Callable[[str], Path]) -> None:
    data = clip("plain.mp4").read_bytes()
    path = clip("plain.mp4").with_name("no-index.mp4")
    path.write_bytes(data[: len(data) // 2])
    assert kind_of(path) == "truncated"


def test_what_is_no_video_is_an_error_of_a_fitting_kind(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is not a video\n" * 100)
    (tmp_path / "zeros.mp4").write_bytes(bytes(100_000))
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(100_000))
    assert kind_of(write_sound(tmp_path / "sound.mp4")) == "no_video_stream"
    for name in ("text.mp4", "zeros.mp4", "noise.mp4"):
        assert kind_of(tmp_path / name) == "cannot_decode"
    assert kind_of(tmp_path / "missing.mp4") == "not_found"


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    import av

    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("mp3", rate=16000)
        sound.layout = "mono"
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 160, 120, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(barcode(1), format="rgb24")))
        container.mux(cover.encode())
        for start in range(0, 16000, 1152):
            samples = np.zeros((1, 1152), np.float32)
            block = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            block.sample_rate, block.pts = 16000, start
            container.mux(sound.encode(block))
        container.mux(sound.encode())
    with pytest.raises(VideoError, match="only a cover picture") as caught:
        decode(str(path), EIGHT, WHOLE)
    assert caught.value.kind == "no_video_stream"


def test_a_video_without_a_readable_frame_is_an_error(clip: Callable[[str], Path]) -> None:
    data = bytearray(clip("plain.mp4").read_bytes())
    media = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[media:end] = bytes(end - media)
    path = clip("plain.mp4").with_name("hollow.mp4")
    path.write_bytes(data)
    assert kind_of(path) == "no_frames"


def test_huge_frames_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "wide.bmp"
    Image.new("1", (8800, 4100)).save(path)
    with pytest.raises(VideoError, match="8800x4100") as caught:
        decode(str(path), EIGHT, WHOLE)
    assert caught.value.kind == "too_large"


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux file names")
@pytest.mark.parametrize(
    "name",
    [
        b"two words.mp4",
        b"frame%03d.mp4",
        b"line\nbreak.mp4",
        b"caf\xe9.mp4",
        b"-rf.mp4",
        b"concat:a|b.mp4",
        b"subfile,,start,0,end,9,,:x.mp4",
        b"no suffix",
        "видео 🎬.mp4".encode(),
    ],
)
def test_any_name_is_read(
    name: bytes, tmp_path: Path, clip: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = os.fsdecode(name)
    with open(path, "wb") as file:
        file.write(clip("plain.mp4").read_bytes())
    for decoder in DECODERS:
        assert None not in numbers(path, decoder=decoder)


def test_a_linked_file_is_read(tmp_path: Path, clip: Callable[[str], Path]) -> None:
    (tmp_path / "link.mp4").symlink_to(clip("plain.mp4"))
    assert None not in numbers(tmp_path / "link.mp4")


def test_where_there_are_several_video_streams_the_best_is_read(tmp_path: Path) -> None:
    import av

    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        sizes = ((80, 60), (160, 120))
        streams = [container.add_stream("libx264", rate=30) for _ in sizes]
        for stream in streams:
            stream.disposition = av.stream.Disposition.default if stream.index else 0
        for stream, (width, height) in zip(streams, sizes, strict=True):
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(60):
            for stream, (width, height) in zip(streams, sizes, strict=True):
                picture = barcode(index + 100 * (width == 160), width, height)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    assert numbers(path)[0] == 103
    assert decode(str(path), EIGHT, WHOLE).decoder == "av"


def test_the_probe_describes_what_is_shown(clip: Callable[[str], Path]) -> None:
    def described(name: str) -> tuple[object, ...]:
        with VideoFile(os.fspath(clip(name))) as file:
            found = probe(file)
        assert found.fps == pytest.approx(30) and found.duration == pytest.approx(2, abs=0.05)
        return (found.width, found.height, found.codec, found.rotation, found.mirrored)

    assert described("plain.mp4") == (160, 120, "h264", 0, False)
    assert described("rotated-90.mp4") == (160, 120, "h264", 90, False)
    assert described("mirrored-90.mp4") == (160, 120, "h264", 270, True)
    assert described("oblong-pixels.mp4") == (160, 120, "h264", 0, False)


def test_hdr_is_read_with_a_warning(tmp_path: Path) -> None:
    def pq(stream: object) -> None:
        stream.codec_context.color_trc = 16  # type: ignore[attr-defined]

    path = write(tmp_path / "hdr.mp4", 30, pix_fmt="yuv420p10le", configure=pq)
    assert "is HDR (PQ)" in decode(str(path), EIGHT, WHOLE).warnings[0]


@needs_opencv
def test_a_decoder_that_is_not_installed_is_passed_over(
    clip: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip("plain.mp4")
    monkeypatch.setitem(sys.modules, "decord", None)
    assert decode(str(path), EIGHT, WHOLE).decoder == "av"
    with pytest.raises(VideoError, match="decord2") as caught:
        decode(str(path), EIGHT, WHOLE, decoder="decord")
    assert caught.value.kind == "decoder_missing"
    monkeypatch.setitem(sys.modules, "av", None)
    expected = [int(60 * (i + 0.5) / 8) for i in range(8)]
    for name in ("plain.mp4", "rotated-90.mp4", "oblong-pixels.mp4", "transport.ts"):
        assert decode(str(clip(name)), EIGHT, WHOLE).decoder == "opencv"
        assert numbers(clip(name)) == expected, name
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(VideoError, match="libgl1") as caught:
        decode(str(path), EIGHT, WHOLE)
    assert caught.value.kind == "decoder_missing"


@needs_opencv
def test_opencv_serves_where_pyav_is_missing(
    clip: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = numbers(clip("rotated-180.mp4"))
    monkeypatch.setitem(sys.modules, "av", None)
    assert numbers(clip("rotated-180.mp4")) == expected
    # Without PyAV nobody tells the pixel format, and decord makes some of them black.
    assert decode(str(clip("plain.mp4")), EIGHT, WHOLE).decoder == "opencv"


def test_the_reason_is_that_of_a_decoder_which_could_have_read_the_file(
    clip: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow reads animations only: what it says of an ordinary file explains nothing."""

    def declines(job: object) -> None:
        raise ReaderDeclined("this one cannot")

    for name in ("av", "decord", "opencv"):
        monkeypatch.setitem(READERS, name, declines)
    with pytest.raises(VideoError, match="cannot be decoded: this one cannot"):
        decode(str(clip("plain.mp4")), EIGHT, WHOLE)


def test_a_file_that_brings_every_decoder_down_is_said_to(clip: Callable[[str], Path]) -> None:
    with pytest.raises(VideoError, match="brings every decoder down"):
        decode(str(clip("plain.mp4")), EIGHT, WHOLE, without=("av", "decord", "opencv"))


def test_a_real_gif_decodes_alike_and_a_table_is_no_video(real_clips: Path) -> None:
    """The other real clips are compared with a plain decode, in `test_frames.py`."""
    sampling, small = Sampling(frames=8, stride=32), Preprocessing(resize=96, crop=(96, 96))
    (gif,) = real_clips.glob("*.gif")
    reference = decode(str(gif), sampling, small)
    for decoder in set(DECODERS) - {reference.decoder}:
        with suppress(VideoError):  # declined: no answer rather than a wrong one
            result = decode(str(gif), sampling, small, decoder=decoder)
            assert np.abs(result.frames.astype(int) - reference.frames).mean() < 1
    for table in real_clips.glob("*.csv"):
        assert kind_of(table) == "cannot_decode"


def test_the_package_needs_no_decoder_to_be_imported() -> None:
    code = """
import sys
import timesformer_cli.video
heavy = {"torch", "av", "cv2", "decord", "PIL", "einops", "typer", "rich", "transformers"}
sys.exit(", ".join(sorted(heavy & set(sys.modules))) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_picture_is_converted_in_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    av = pytest.importorskip("av")
    from timesformer_cli.video.decoders import pyav

    if int(av.__version__.split(".")[0]) < pyav.SCALES_IN_THREADS:
        pytest.skip("this PyAV has no threads to convert in")
    asked = []

    class Converter:
        def reformat(self, frame: Any, *size: int, **options: Any) -> Any:
            asked.append(options)
            return frame.reformat(*size, **options)

    converters = SimpleNamespace(whole=Converter(), small=Converter())
    monkeypatch.setattr(pyav, "_converters", lambda: converters)
    plain = av.VideoFrame.from_ndarray(np.zeros((180, 320, 3), np.uint8), format="rgb24")
    pyav.whole_picture(plain)
    pyav.small_picture(plain)
    assert [options["threads"] for options in asked] == [1, 1]


def test_one_converter_for_all_pictures_gives_what_each_frames_own_gives(real_clips) -> None:
    av = pytest.importorskip("av")
    from timesformer_cli.video.decoders import pyav

    seen = set()
    for path in sorted(real_clips.glob("*.*")):
        if path.suffix not in (".mp4", ".mkv", ".avi", ".webm", ".mov", ".gif"):
            continue
        with (
            suppress(av.error.FFmpegError),
            av.open(str(path), metadata_errors="ignore") as container,
        ):
            for number, frame in zip(range(3), container.decode(video=0), strict=False):
                seen.add((frame.format.name, frame.width, frame.height))
                own = frame.to_ndarray(format="rgb24", **pyav._one_thread())
                assert np.array_equal(pyav.whole_picture(frame), own), (path, number)
    assert len({name for name, *_ in seen}) > 1 and len(seen) > 5
