"""Frames against a plain decode of the whole file: presentation times, picture by picture.

The reference is written here, without the package: every packet, in order, nothing skipped.
"""

from bisect import bisect_right
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.support.clips import write
from tests.support.videos import decode
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import VideoError
from timesformer_cli.video.decode import READERS

TEN = Sampling(frames=10, stride=None)
NEAR = 4.0  # mean difference of two conversions of one picture from YUV; of two pictures, over 8
SIZE = 64, 48


def reference(path: Path) -> tuple[list[float], list[av.VideoFrame]]:
    """Times from the first picture on, and pictures, of a whole file."""
    times, pictures = [], []
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.best("video")
        rate = float(stream.average_rate)
        stream.codec_context.thread_count = 1  # what is made up of damage depends on it
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                continue
            for frame in frames:
                times.append(float(frame.pts * stream.time_base))
                pictures.append(frame)
    if times != sorted(times):  # AVI keeps the order of decoding only: its pictures are counted
        times = [number / rate for number in range(len(times))]
    return [time - times[0] for time in times], pictures


def fitted(picture: av.VideoFrame, frame: np.ndarray) -> Image.Image:
    """The reference at the frame's size, which differs where pixels are not square."""
    height, width, _ = frame.shape
    whole = Image.fromarray(picture.to_ndarray(format="rgb24"))
    return whole.resize((width, height), Image.Resampling.BILINEAR)


def compare(path: Path) -> list[str]:
    """Check ten moments with every reader that claims the file; the readers that did."""
    times, pictures = reference(path)
    height, width = pictures[0].height, pictures[0].width
    own_size = Preprocessing(resize=min(height, width), crop=(height, width))
    claimed = []
    for decoder in READERS:
        try:
            decoded = decode(str(path), TEN, own_size, crops=0, decoder=decoder)
        except VideoError:
            continue
        claimed.append(decoder)
        for moment, frame in zip(decoded.views[0].times, decoded.frames[0], strict=True):
            # Moments are rounded to a millisecond where they are told.
            around = {max(0, bisect_right(times, moment + by) - 1) for by in (-5e-4, 1e-3, 2e-3)}
            shown = (np.asarray(fitted(pictures[number], frame), int) for number in around)
            apart = min(np.abs(picture - frame).mean() for picture in shown)
            assert apart < NEAR, (decoder, moment, around, apart)
    return claimed


def moving(count: int) -> list[np.ndarray]:
    """Pictures of which any two differ by more than codecs do: blocks that change with the number."""
    width, height = SIZE
    return [
        np.random.default_rng(number)
        .integers(0, 256, (height // 16, width // 16, 3), np.uint8)
        .repeat(16, axis=0)
        .repeat(16, axis=1)
        for number in range(count)
    ]


# codec, container, options; each at several rates and lengths of a group of pictures.
CODERS = [
    ("libx264", "mp4", {"bf": "0"}),
    ("libx264", "mp4", {"bf": "3"}),
    ("libx264", "mkv", {"bf": "2", "x264-params": "open-gop=1"}),
    ("libx264", "ts", {"bf": "2"}),
    ("libx264", "mov", {"bf": "3", "x264-params": "bframes=3:b-pyramid=normal"}),
    ("libx265", "mp4", {"x265-params": "log-level=none"}),
    ("mpeg4", "avi", {}),
    ("mpeg4", "mp4", {"bf": "2"}),
    ("mpeg2video", "mpg", {"bf": "2"}),
    ("mjpeg", "avi", {}),
    ("libvpx", "webm", {"cpu-used": "8", "deadline": "realtime"}),
    ("libvpx-vp9", "webm", {"cpu-used": "8", "deadline": "realtime"}),
    ("ffv1", "mkv", {}),
    ("flv1", "flv", {}),
    ("wmv2", "asf", {}),
]
RATES_AND_GROUPS = [
    (Fraction(30000, 1001), 12),
    (Fraction(10), 250),
    (Fraction(25), 1),
    (Fraction(50), 7),
]
MADE = [
    pytest.param(coder, rate, group, id=f"{coder[0]}-{coder[1]}-{float(rate):.4g}-{group}-{number}")
    for number, (coder, (rate, group)) in enumerate(product(CODERS, RATES_AND_GROUPS))
]


@pytest.mark.parametrize(("coder", "rate", "group"), MADE)
def test_made_files_give_the_pictures_that_a_plain_decode_gives(coder, rate, group, tmp_path):
    codec, suffix, options = coder
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    try:
        path = write(
            tmp_path / f"a.{suffix}",
            moving(36),
            codec=codec,
            fps=rate,
            size=SIZE,
            pix_fmt=pixels,
            options={"g": str(group), "b": "2000000", **options},
        )
    except (av.error.FFmpegError, ValueError) as error:
        pytest.skip(f"this FFmpeg does not write it: {error}")
    assert "av" in compare(path)


@pytest.mark.parametrize("start", [5, 13])
@pytest.mark.parametrize("options", [{"bf": "0"}, {"bf": "3"}], ids=str)
def test_an_edit_list_hides_what_comes_before(start, options, tmp_path):
    """Packets from a keyframe on, the first pictures of which the edit list leaves out."""
    source = write(
        tmp_path / "a.mp4", moving(48), fps=25, size=SIZE, options={"g": "12", **options}
    )
    path = tmp_path / "cut.mp4"
    with av.open(str(source)) as inp, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(inp.streams.video[0])
        shift = int(start / 25 / inp.streams.video[0].time_base)
        for packet in inp.demux(inp.streams.video[0]):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                out.mux(packet)
    assert "av" in compare(path)


def test_variable_rates_give_the_picture_that_is_on_screen(tmp_path):
    squares = [number * number for number in range(24)]
    path = write(
        tmp_path / "a.mkv",
        moving(24),
        size=SIZE,
        pts=lambda number: squares[number],
        time_base=Fraction(1, 50),
    )
    assert "av" in compare(path)


@pytest.mark.parametrize("part", range(4))
def test_real_clips_give_the_pictures_that_a_plain_decode_gives(real_clips, part):
    files = [path for path in sorted(real_clips.iterdir()) if path.suffix != ".csv"]
    for path in files[part::4]:
        if path.suffix == ".gif":  # its frames are composed, and no plain decode turns them
            continue
        assert "av" in compare(path), path
