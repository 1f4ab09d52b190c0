"""A part of a video is decoded as if the rest of it were not there."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import clips
from tests.support.videos import decode
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import VideoError
from timesformer_cli.video import DecodePool, VideoPath
from timesformer_cli.video.sample import Jitter, plan_part

LOOK = Preprocessing(resize=120, crop=(120, 160))
RATE = 30


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    return str(clips.write(tmp_path_factory.mktemp("long") / "long.mp4", 120, fps=RATE))


def numbers(path, sampling, **how):
    frames = decode(path, sampling, LOOK, **how).frames
    return [[clips.read_barcode(frame) for frame in clip] for clip in frames]


@pytest.mark.parametrize(
    "sampling",
    [Sampling(frames=4, stride=3), Sampling(frames=4, stride=30), Sampling(frames=4, stride=None)],
)
@pytest.mark.parametrize("at", [(0, 40), (30, 61), (77, 120), (50, 53), (119, 120)])
def test_a_part_gives_the_frames_of_a_file_that_was_cut_there(long, tmp_path, at, sampling):
    first, end = at
    cut = [clips.barcode(number) for number in range(first, end)]
    short = str(clips.write(tmp_path / "cut.mp4", cut, fps=RATE))
    part = {"start": first / RATE, "end": end / RATE}
    for how in (
        {},
        {"clips": 3},
        {"jitter": Jitter((0.0,) * 4)},
        {"jitter": Jitter((0.9, 0.1, 0.5, 0.99), 1.2)},
    ):
        expected = numbers(short, sampling, **how)
        assert numbers(long, sampling, **how, **part) == expected
        assert all(first <= number < end for clip in expected for number in clip)


@settings(deadline=None)
@given(st.floats(0.5, 1000), st.floats(0, 1), st.floats(0, 1), st.integers(1, 16), st.floats(0, 1))
def test_every_moment_lies_in_its_part(duration, one, other, frames, offset):
    start, end = sorted((one * duration, other * duration))
    if end - start < 0.01:
        return
    for sampling in (Sampling(frames=frames, stride=7), Sampling(frames=frames, stride=None)):
        jitter = Jitter((offset,) * frames)
        for how in ({}, {"jitter": jitter}, {"clips": 4}):
            planned = plan_part(duration, sampling, start=start, end=end, frame=0.001, **how)
            for clip in planned.clips:
                assert start <= min(clip.times) and max(clip.times) <= end
                assert end > duration - 1e-9 or max(clip.times) < end


def test_an_open_part_ends_with_the_video(long):
    assert numbers(long, Sampling(frames=4, stride=None), start=2.0) == numbers(
        long, Sampling(frames=4, stride=None), start=2.0, end=4.0
    )
    assert numbers(
        long, Sampling(frames=2, stride=None), start=3.0, end=4.4
    )  # a time that was rounded up


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"start": 4.0}, "lasts 4 s, and its part begins at 4 s"),
        ({"start": 3.0, "end": 9.0}, "lasts 4 s, and its part from 3 to 9 s does not"),
    ],
)
def test_a_part_that_is_not_in_the_video_is_said(long, part, said):
    with pytest.raises(VideoError, match=said) as caught:
        decode(long, Sampling(frames=4, stride=3), LOOK, **part)
    assert caught.value.kind == "outside"


def test_the_parts_of_one_video_come_in_order_from_the_pool(long):
    videos = [VideoPath(long, start=n, end=n + 1) for n in (2, 0, 1)]
    with DecodePool(workers=1) as pool:
        found = [
            clips.read_barcode(each.frames[0, 0])
            for each in pool.decode(videos, Sampling(frames=2, stride=2), LOOK)
        ]
    assert [number // RATE for number in found] == [2, 0, 1]
