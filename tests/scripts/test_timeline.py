"""The measurements of `tsf timeline`: footage whose truth is known, and scores by hand."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

# OpenCV's wheel needs libGL, which a machine without a screen may lack.
pytest.importorskip("cv2", exc_type=ImportError)
av = pytest.importorskip("av")

from scripts.camera_motion.paths import LABELS
from scripts.camera_motion.pictures import textures
from scripts.timeline import cost, joined, score
from scripts.timeline.footage import (
    LONGEST,
    RATE,
    SHORTEST,
    Part,
    draw_parts,
    film,
    read_truth,
    shots_of,
    truth_of,
)
from timesformer_cli.timelines.options import TimelineOptions
from timesformer_cli.timelines.segments import automatic_price

SIZE = (96, 64)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """Twelve seconds of two motions or three."""
    path = tmp_path_factory.mktemp("footage") / "made.mp4"
    film(path, 4, 12.0, SIZE, [], textures(1, 8))
    return path


def frames_of(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


def truth(*rows):
    return [
        Part(start=start, end=end, label=label, cut_before=cut) for start, end, label, cut in rows
    ]


def found(*rows):
    return [SimpleNamespace(start=start, end=end, label=label) for start, end, label in rows]


def test_motions_follow_one_another_and_half_of_the_changes_are_cuts():
    for seed in range(20):
        parts = draw_parts(np.random.default_rng(seed), 600)
        assert parts[0].start == 0
        assert parts[-1].end == 600
        assert all(SHORTEST - 1e-9 <= part.end - part.start <= LONGEST + 1e-9 for part in parts)
        for before, after in pairwise(parts):
            assert before.end == after.start
            assert before.label != after.label
        assert abs(2 * sum(part.cut_before for part in parts) - (len(parts) - 1)) <= 1
        assert [part for shot in shots_of(parts) for part in shot] == parts


def test_footage_holds_what_its_truth_says(footage):
    parts, frames = read_truth(truth_of(footage)), frames_of(footage)
    assert len(frames) == 12 * RATE
    assert parts[-1].end == 12
    changes = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(frames)]
    cuts = [round(part.start * RATE) - 1 for part in parts if part.cut_before]
    assert cuts
    assert sorted(np.argsort(changes)[-len(cuts) :]) == cuts


def test_the_same_seed_makes_the_same_footage(footage, tmp_path):
    again = tmp_path / "again.mp4"
    film(again, 4, 12.0, SIZE, [], textures(1, 8))
    assert truth_of(again).read_text() == truth_of(footage).read_text()
    # Rounding in the last bit, which depends on threads, can change what the encoder makes of it.
    first, second = (pictures_of(path) for path in (footage, again))
    assert first.shape == second.shape and np.abs(first - second).mean() < 1


def pictures_of(path):
    with av.open(str(path)) as container:
        return np.stack(
            [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
        ).astype(int)


def test_what_is_found_as_it_is_true_has_the_best_score():
    parts = truth((0, 4, "a", False), (4, 10, "b", False), (10, 16, "a", True))
    perfect = score.score(parts, parts, [10.0])
    assert perfect.share_right == perfect.f1 == 1
    assert perfect.errors_within == perfect.errors_at_cuts == (0.0,)
    assert (perfect.cuts_matched, perfect.cuts_found, perfect.cuts_true) == (1, 1, 1)


def test_scores_are_as_counted_by_hand():
    parts = truth((0, 4, "a", False), (4, 8, "b", False), (8, 12, "c", True), (12, 16, "a", True))
    segments = found((0, 4.5, "a"), (4.5, 8.1, "b"), (8.1, 9.5, "c"), (9.5, 16, "a"))
    counted = score.score(parts, segments, [8.1, 14.0])
    # c covers 1.4 of 4 seconds: not found. The last a covers 4 of 6.5: found.
    assert (counted.matched, counted.found, counted.true) == (3, 4, 4)
    assert counted.f1 == 0.75
    assert counted.errors_within == (0.5,)
    assert counted.errors_at_cuts == ()  # b and c are no matched neighbours
    # Wrong: the middles from 4.125 to 4.375, and from 9.625 to 11.875. At 8.125 c is right again.
    assert (counted.right, counted.quarters) == (64 - 2 - 10, 64)
    assert (counted.cuts_matched, counted.cuts_found, counted.cuts_true) == (1, 2, 2)
    both = counted + counted
    assert both.f1 == counted.f1
    assert len(both.errors_within) == 2


def test_a_segment_is_found_once_however_often_it_is_said():
    parts = truth((0, 10, "a", False))
    halves = found((0, 5, "a"), (5, 10, "a"))
    assert len(score.matching(parts, halves)) == 1
    assert score.score(parts, halves, []).f1 == pytest.approx(2 / 3)


def test_a_time_without_a_segment_is_wrong():
    parts = truth((0, 10, "a", False))
    assert score.score(parts, found((0, 5, "a")), []).share_right == 0.5


def test_each_cut_is_found_by_a_cut_of_its_own():
    assert score.near([1.0, 1.2], [1.1]) == 1
    assert score.near([1.0, 5.0], [1.29, 5.31]) == 1
    assert score.near([], [1.0]) == 0


def test_windows_give_the_timelines_own_segments_again(footage):
    (line,) = score.timelines([footage], TimelineOptions(model=score.MODEL))
    price = automatic_price(line.span, line.every)
    again = score.smoothed(line, price)
    assert [(s.start, s.end, s.label) for s in again] == [
        (s.start, s.end, s.label) for s in line.segments
    ]
    assert {segment.label for segment in again} <= set(LABELS)


def test_a_long_video_is_its_minute_again_and_again(footage, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "PIECE", 30.0)
    (tmp_path / "piece.mp4").write_bytes(footage.read_bytes())
    long = frames_of(cost.make_long(tmp_path, 1))
    piece = frames_of(footage)
    assert len(long) == 2 * len(piece)
    assert all(np.array_equal(a, b) for a, b in zip(long, piece * 2, strict=True))


def test_joined_clips_are_where_they_are_said_to_be(footage, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(joined, "SIZE", (128, 72))
    short = tmp_path / "short.mp4"
    film(short, 1, 2.0, SIZE, [], textures(2, 8))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    path = tmp_path / "joined.mp4"
    parts = joined.join([footage, short, broken, footage], path)
    assert [(part.clip, part.start, part.end) for part in parts] == [
        ("made.mp4", 0.0, 12.0),
        ("made.mp4", 12.0, 24.0),
    ]
    assert "left out: broken.mp4" in capsys.readouterr().out
    frames = frames_of(path)
    assert len(frames) == 24 * RATE
    assert frames[0].shape == joined.SIZE[::-1]
    alone = tmp_path / "alone.mp4"
    joined.cut_out(path, 12 * RATE, 13 * RATE, alone)
    assert all(
        np.array_equal(one, other)
        for one, other in zip(frames_of(alone), frames[12 * RATE : 13 * RATE], strict=True)
    )
