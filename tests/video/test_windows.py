"""Windows of a video that is decoded once are the clips that `classify` would take there."""

import random
import time
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
import torch

from tests.support.clips import barcode, read_barcode, write
from tests.support.models import randomised, tiny
from tests.support.videos import decode
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import VideoError
from timesformer_cli.inference.fast.model import make_fast
from timesformer_cli.inference.predictor import Predictor
from timesformer_cli.inference.window_scores import WindowScorer
from timesformer_cli.video.facts import Pixels, Probe
from timesformer_cli.video.follow import follow
from timesformer_cli.video.messages import Followed, FollowRequest
from timesformer_cli.video.sample import Jitter, span
from timesformer_cli.video.stream import StreamedWindow, VideoFollower
from timesformer_cli.video.windows import Shot, Window, WindowPicker, WindowPlan

WHOLE = Preprocessing(resize=120, crop=(120, 160))
SAMPLING = Sampling(frames=4, stride=8)  # 31 / 30 s
SPAN = span(SAMPLING)
assert SPAN is not None


class Seen:
    """Keeps what it is told, and no more pixels than a model would."""

    def __init__(self) -> None:
        self.windows: list[tuple[Window, np.ndarray]] = []
        self.shots: list[Shot] = []
        self.most = 0
        self._pixels: dict[int, Pixels] = {}

    def described(self, described: Probe) -> None:
        self.probe = described

    def window(self, window: Window, fresh: Sequence[tuple[int, Pixels]]) -> None:
        assert not {number for number, _ in fresh} & self._pixels.keys(), "told twice"
        self._pixels.update(fresh)
        self.windows.append((window, np.stack([self._pixels[n] for n in window.frames])))
        self._pixels = {n: kept for n, kept in self._pixels.items() if n >= window.oldest}
        self.most = max(self.most, len(self._pixels))

    def shot(self, shot: Shot) -> None:
        self.shots.append(shot)


def followed(path: Path, decoder: str = "av", **plan: Any) -> tuple[Seen, Followed]:
    seen = Seen()
    settings = {"sampling": SAMPLING, "every": 0.5, "cuts": False, **plan}
    request = FollowRequest(
        path=str(path), plan=WindowPlan(**settings), preprocessing=WHOLE, decoder=decoder
    )
    return seen, follow(request, seen)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("windows") / "clip.mp4", 200, options={"crf": "10"})


def require_same(path: Path, seen: Seen, decoder: str, sampling: Sampling = SAMPLING) -> None:
    """Fail where a window is not the clip that a decode of that moment alone gives."""
    length = span(sampling)
    assert seen.windows and length is not None
    for window, pixels in seen.windows:
        room = seen.probe.duration - length
        jitter = Jitter((window.clip.start / room,)) if room > 0 else None
        alone = decode(str(path), sampling, WHOLE, decoder=decoder, jitter=jitter)
        assert np.allclose(alone.views[0].times, window.clip.times, atol=1e-3)
        assert np.array_equal(alone.frames[0], pixels)


@pytest.mark.parametrize("decoder", ["av", "decord", "opencv"])
def test_a_window_is_the_clip_that_classify_takes_there(clip, decoder):
    generator = random.Random(7)
    for _ in range(5):  # ten windows each: 50 moments a decoder
        every, start = generator.uniform(0.1, 0.6), generator.uniform(0, 1)
        seen, end = followed(clip, decoder, every=every, start=start)
        assert len(seen.windows) >= 10 and not end.fault
        require_same(clip, seen, decoder)


FIVE = {
    "h264.mp4": {"options": {"crf": "10"}},
    "slow.mp4": {"fps": 12, "frames": 90},
    "b.mkv": {"codec": "mpeg4", "options": {"bf": "2"}},
    "turned.mp4": {"rotation": 90},
    "pictures.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("five")
    return [write(folder / name, **{"frames": 150, **how}) for name, how in FIVE.items()]


@pytest.mark.parametrize("decoder", ["av", "decord", "opencv"])
def test_fifty_random_moments_of_five_files_have_the_scores_of_classify(decoder, five):
    model = Predictor(make_fast(randomised(tiny(frames=4)), torch.device("cpu"), torch.float32))
    small, generator = Preprocessing(resize=64, crop=(64, 64)), random.Random(decoder)
    for path in five:
        seen, scorer = Seen(), WindowScorer(model, 1)
        plan = WindowPlan(
            sampling=SAMPLING,
            every=generator.uniform(0.1, 0.2),
            start=generator.random(),
            cuts=False,
        )
        follow(FollowRequest(path=str(path), plan=plan, preprocessing=small, decoder=decoder), seen)
        for window, pixels in generator.sample(seen.windows, 10):
            fresh = dict(zip(window.frames, pixels, strict=True))
            scores = scorer.score([StreamedWindow(window, fresh)]).scores
            jitter = Jitter((window.clip.start / (seen.probe.duration - SPAN),))
            alone = decode(str(path), SAMPLING, small, decoder=decoder, jitter=jitter)
            assert alone.views[0].times == pytest.approx(window.clip.times, abs=1e-3)
            expected = model.start(alone.frames)().scores
            np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vfr.mkv", {"pts": lambda i: i * 40 + i % 3 * 7, "time_base": __import__("fractions").Fraction(1, 1000)}),
        ("slow.mp4", {"fps": 12}),
        ("b.mkv", {"codec": "mpeg4", "options": {"bf": "2"}}),
        ("late.ts", {"format": "mpegts"}),
        ("turned.mp4", {"rotation": 90}),
    ],
)  # fmt: skip
def test_so_it_is_in_other_containers_rates_and_orders(tmp_path, name, options):
    path = write(tmp_path / name, 100, **options)
    seen, _ = followed(path)
    require_same(path, seen, "av")


@pytest.mark.parametrize("frames", [3, 20, 31, 32, 33])
def test_a_video_about_as_long_as_a_clip_gives_what_classify_takes(tmp_path, frames):
    for cuts in (False, True):
        path = shots(tmp_path / "short.mp4", [frames])
        seen, _ = followed(path, cuts=cuts)
        assert len(seen.windows) == 1 and [shot.start for shot in seen.shots] == [0.0]
        require_same(path, seen, "av")


def test_real_clips_give_what_classify_takes(real_clips):
    for name in ("basketball.mp4", "av1_video.mkv", "v_SoccerJuggling_g23_c01.avi", "bikes.mp4"):
        seen, _ = followed(real_clips / name, every=0.7)
        require_same(real_clips / name, seen, "av")


def shots(path: Path, parts: Sequence[int]) -> Path:
    """Parts of so many frames, each of another colour; the barcode goes on through all of them."""
    colours = [(200, 60, 40), (40, 190, 70), (60, 60, 220), (210, 200, 60)]
    pictures, number = [], 0
    for part, length in enumerate(parts):
        for _ in range(length):
            picture = barcode(number)
            picture[:30] = colours[part % 4]
            picture[30:90] = picture[30:90] // 8 + np.array(colours[part % 4], np.uint8) // 2
            pictures.append(picture)
            number += 1
    return write(path, pictures, options={"crf": "10"})


def test_no_window_crosses_a_cut_and_every_shot_has_one(tmp_path):
    path = shots(tmp_path / "cut.mp4", [80, 15, 60, 45])
    seen, _ = followed(path, cuts=True, every=0.3)
    bounds = [0.0, 80 / 30, 95 / 30, 155 / 30, 200 / 30]
    assert [shot.start for shot in seen.shots] == pytest.approx(bounds[:-1], abs=1e-3)
    assert [shot.end for shot in seen.shots] == pytest.approx(bounds[1:], abs=1e-3)
    for shot in seen.shots:
        inside = [w for w, _ in seen.windows if shot.start <= w.clip.start < shot.end]
        assert inside and all(w.clip.end <= shot.end + 1e-6 for w in inside)
        assert inside[0].clip.start == pytest.approx(shot.start)
        if shot.end - shot.start > SPAN:
            steps = np.diff([w.clip.start for w in inside])
            assert np.allclose(steps, 0.3)
    # The shot of half a second is spread over, as `classify` spreads over a video of its length.
    ((window, _),) = [
        (w, pixels) for w, pixels in seen.windows if 80 / 30 - 0.01 <= w.clip.start < 95 / 30 - 0.01
    ]
    short = write(tmp_path / "part.mp4", 15)
    alone = decode(str(short), SAMPLING, WHOLE)
    moments = [moment - window.clip.start for moment in window.clip.times]
    assert moments == pytest.approx(alone.views[0].times, abs=1e-3)
    assert [number - 80 for number in window.frames] == [
        read_barcode(frame) for frame in alone.frames[0]
    ]


def test_windows_farther_apart_than_they_are_long_skip_what_lies_between(clip):
    seen, end = followed(clip, every=2 * SPAN)
    starts = [window.clip.start for window, _ in seen.windows]
    assert starts == pytest.approx([2 * SPAN * number for number in range(len(starts))])
    assert len(starts) == 3 and end.end == pytest.approx(200 / 30, abs=0.01)
    require_same(clip, seen, "av")


def test_a_part_of_a_video_begins_and_ends_where_it_is_told(clip):
    seen, end = followed(clip, start=2.0, end=4.5)
    assert seen.windows[0][0].clip.start == pytest.approx(2.0)
    assert all(window.clip.end <= 4.5 + 1e-6 for window, _ in seen.windows)
    assert seen.shots == [Shot(2.0, 4.5)] and end.end == 4.5
    require_same(clip, seen, "av")


def test_a_part_far_into_a_file_is_the_same_as_when_all_of_it_is_read(tmp_path):
    path = write(tmp_path / "long.mp4", 200, fps=5, options={"g": "10"})  # 40 s: a seek is made
    plan = {"sampling": Sampling(frames=4, stride=12), "every": 1.0}
    early, _ = followed(path, **plan)
    late, _ = followed(path, start=31.0, **plan)
    expected = {round(w.clip.start, 3): pixels for w, pixels in early.windows}
    assert len(late.windows) > 5
    for window, pixels in late.windows:
        assert np.array_equal(expected[round(window.clip.start, 3)], pixels)


def test_a_start_behind_the_end_is_an_error(clip):
    with pytest.raises(VideoError, match=r"ends at 6\.7 s, before 60 s"):
        followed(clip, start=60.0)


def test_no_more_frames_are_held_than_a_clip_has(tmp_path):
    held = []
    for frames in (60, 250):
        seen, _ = followed(write(tmp_path / f"{frames}.mp4", frames, size=(64, 48)), every=0.1)
        held.append(seen.most)
    assert held[0] == held[1] <= 34


@pytest.mark.parametrize("most", [99, 5])
def test_only_frames_that_windows_want_are_prepared(most):
    seen, prepared, waiting = Seen(), [], WeakSet()
    plan = WindowPlan(sampling=SAMPLING, every=SPAN, cuts=False)
    picker = WindowPicker(plan, seen, 1 / 30, 1 / 30, most=most)

    class Decoded:
        def __init__(self, number: int) -> None:
            self.number = number
            waiting.add(self)

        def __call__(self) -> dict[str, Pixels]:
            prepared.append(self.number)
            return {"center": np.full((2, 2, 3), self.number, np.uint8)}

    for number in range(92):
        picker.offer(number / 30, Decoded(number), lambda: np.zeros((2, 2, 3), np.uint8))
        # The last frames, of which it is not known yet whether anybody wants them.
        assert len(waiting) <= 3 + (0 if seen.windows else most)
    picker.finish()
    wanted = {number for window, _ in seen.windows for number in window.frames}
    assert len(seen.windows) == 2 and len(prepared) == len(set(prepared)) and wanted <= {*prepared}
    if most > 31:  # no more than a window that was cut off by the end
        assert len(prepared) < len(wanted) + 4
    for window, pixels in seen.windows:
        assert [picture.max() for picture in pixels] == list(window.frames)


def test_what_was_told_before_times_ran_backwards_stays_told():
    seen = Seen()
    picker = WindowPicker(
        WindowPlan(sampling=SAMPLING, every=0.5, cuts=False), seen, 1 / 30, 1 / 30
    )
    picture = np.zeros((2, 2, 3), np.uint8)
    for number in range(90):
        picker.offer(number / 30, lambda: {"center": picture}, lambda: picture)
    picker.finish()
    assert len(seen.windows) == 4 and seen.shots == [Shot(0.0, 3.0)]


@pytest.fixture(scope="module")
def follower():
    with VideoFollower(timeout=30.0) as follower:
        yield follower


def request(path: Path, **plan: Any) -> FollowRequest:
    settings = {"sampling": SAMPLING, "every": 0.5, **plan}
    return FollowRequest(path=str(path), plan=WindowPlan(**settings), preprocessing=WHOLE)


def test_the_process_tells_what_the_function_does(follower, clip):
    seen, _ = followed(clip, cuts=True)
    events = list(follower.follow(request(clip)))
    assert isinstance(events[0], Probe) and isinstance(events[-1], Followed)
    windows = [event for event in events if isinstance(event, StreamedWindow)]
    assert [event.window for event in windows] == [window for window, _ in seen.windows]
    pixels: dict[int, Pixels] = {}
    for event, (_, expected) in zip(windows, seen.windows, strict=True):
        pixels |= event.fresh
        assert np.array_equal(np.stack([pixels[n] for n in event.window.frames]), expected)


def test_a_file_that_breaks_off_gives_what_came_before(follower, clip, tmp_path):
    fragmented = {"movflags": "frag_keyframe+empty_moov"}
    whole = write(tmp_path / "whole.mp4", 200, options={"g": "15"}, container_options=fragmented)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    events = list(follower.follow(request(cut)))
    ended = events[-1]
    assert isinstance(ended, Followed) and 1.0 < ended.end < 6.0
    assert len([event for event in events if isinstance(event, StreamedWindow)]) >= 2


@pytest.mark.parametrize("content", [b"", b"no video at all\n" * 99])
def test_what_is_no_video_is_an_error_and_the_next_one_is_read(follower, clip, tmp_path, content):
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError):
        list(follower.follow(request(path)))
    assert isinstance(list(follower.follow(request(clip)))[-1], Followed)


def test_whoever_leaves_in_the_middle_can_follow_another_video(follower, clip):
    for event in follower.follow(request(clip, every=0.05)):
        if isinstance(event, StreamedWindow):
            break
    processes = set()
    for _ in range(3):
        events = list(follower.follow(request(clip, end=inf)))
        assert isinstance(events[-1], Followed) and isinstance(events[0], Probe)
        time.sleep(0.2)  # a process that ended with the thread that started it would be gone by now
        processes.add(follower._worker._child.pid)
    assert len(processes) == 1
