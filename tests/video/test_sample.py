"""The moments of a clip: properties that hold for every length, sampling and number of clips."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timesformer_cli.config import Sampling
from timesformer_cli.video.sample import plan_clips

durations = st.floats(0.001, 50_000, allow_nan=False)
samplings = st.builds(
    Sampling,
    frames=st.integers(1, 96),
    stride=st.one_of(st.none(), st.integers(1, 64)),
)


@settings(deadline=None)
@given(durations, samplings, st.integers(1, 12), st.floats(0, 0.2))
def test_every_clip_has_its_frames_in_order_and_inside_the_video(
    duration: float, sampling: Sampling, clips: int, frame: float
) -> None:
    planned = plan_clips(duration, sampling, clips, frame=frame)
    assert len(planned.clips) == clips
    for clip in planned.clips:
        assert len(clip.times) == sampling.frames
        assert list(clip.times) == sorted(clip.times)
        assert 0 <= clip.start <= clip.times[0]
        assert clip.times[-1] <= clip.end <= duration


@settings(deadline=None)
@given(durations, samplings)
def test_one_clip_lies_symmetrically_about_the_middle(duration: float, sampling: Sampling) -> None:
    (clip,) = plan_clips(duration, sampling).clips
    for early, late in zip(clip.times, reversed(clip.times), strict=True):
        assert early + late == pytest.approx(duration, rel=1e-6, abs=1e-9)


@settings(deadline=None)
@given(durations, samplings, st.integers(2, 12))
def test_clips_are_symmetric_as_a_set(duration: float, sampling: Sampling, clips: int) -> None:
    planned = plan_clips(duration, sampling, clips).clips
    for early, late in zip(planned, reversed(planned), strict=True):
        assert early.times[0] + late.times[-1] == pytest.approx(duration, rel=1e-6, abs=1e-9)


@settings(deadline=None)
@given(st.floats(8.6, 1000), st.floats(0, 0.1), st.floats(0, 0.1))
def test_the_frame_rate_does_not_move_a_clip_that_fits(
    duration: float, interval: float, other: float
) -> None:
    sampling = Sampling(frames=8, stride=32)
    assert plan_clips(duration, sampling, frame=interval) == plan_clips(
        duration, sampling, frame=other
    )


def test_eight_frames_at_stride_32_cover_eight_and_a_half_seconds_of_any_video() -> None:
    planned = plan_clips(10.0, Sampling(frames=8, stride=32))
    (clip,) = planned.clips
    assert (clip.start, clip.end) == pytest.approx((0.75, 9.25))
    assert clip.times == pytest.approx([0.75 + 8.5 * i / 7 for i in range(8)])
    assert planned.note is None


def test_several_clips_run_from_the_start_to_the_end() -> None:
    clips = plan_clips(20.0, Sampling(frames=8, stride=32), 3).clips
    assert [clip.start for clip in clips] == pytest.approx([0.0, 5.75, 11.5])
    assert clips[-1].times[-1] == 20.0


def test_uniform_sampling_takes_the_middle_of_each_segment() -> None:
    (clip,) = plan_clips(8.0, Sampling(frames=8, stride=None)).clips
    assert clip.times == pytest.approx([i + 0.5 for i in range(8)])


@settings(deadline=None)
@given(durations, st.integers(1, 32), st.integers(1, 8))
def test_uniform_clips_share_out_each_segment(duration: float, frames: int, clips: int) -> None:
    planned = plan_clips(duration, Sampling(frames=frames, stride=None), clips).clips
    moments = sorted(moment for clip in planned for moment in clip.times)
    step = duration / frames / clips
    assert moments == pytest.approx([step * (i + 0.5) for i in range(frames * clips)])


def test_a_short_video_is_spread_over_and_says_so() -> None:
    planned = plan_clips(1.2, Sampling(frames=8, stride=32), frame=0.04)
    assert planned.clips[0].times == pytest.approx([1.16 * i / 7 for i in range(8)])
    assert planned.note == (
        "is 1.2 s long, clips of this model 8.5 s:"
        " 8 frames were taken 0.17 s apart instead of 1.21 s"
    )


def test_a_little_less_than_the_span_is_not_worth_a_note() -> None:
    assert plan_clips(4.5, Sampling(frames=8, stride=32), frame=0.03).note is None


def test_a_clip_of_one_frame_takes_the_middle() -> None:
    assert plan_clips(4.0, Sampling(frames=1, stride=1)).clips[0].times == (2.0,)
    assert (
        plan_clips(0.5, Sampling(frames=1, stride=60)).note
        == "is 0.5 s long, clips of this model 1.97 s"
    )
