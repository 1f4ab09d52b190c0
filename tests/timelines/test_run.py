"""A timeline, from a file to segments: alone, in parts, and after it was stopped."""

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.models import randomised, tiny
from tests.video.test_windows import shots
from timesformer_cli.config import Sampling
from timesformer_cli.dataset.own_labels import OwnLabel
from timesformer_cli.errors import UsageError
from timesformer_cli.inference.classified import Failed
from timesformer_cli.inference.classify import ClassifyOptions, classify_videos
from timesformer_cli.results import to_plain
from timesformer_cli.timelines.journal import Journal, journal_path
from timesformer_cli.timelines.options import TimelineOptions
from timesformer_cli.timelines.results import Timeline
from timesformer_cli.timelines.run import Step, TimelineRun, ended, run_timelines
from timesformer_cli.video import VideoPath

ROOT = Path(__file__).parents[2]
MODEL = "camera-motion"


@pytest.fixture(scope="module")
def model():
    """Two passes, eight frames two apart: a window spans half a second."""
    model = randomised(tiny())
    model.labels, model.sampling = tuple("abcde"), Sampling(frames=8, stride=2)
    return model


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> VideoPath:
    path = shots(tmp_path_factory.mktemp("film") / "film.mp4", [90, 20, 60, 50])
    return VideoPath(str(path))


def timeline(video: VideoPath, model: Any, **options: Any) -> Timeline:
    chosen = TimelineOptions(**{"model": model, "every": 0.1, "windows": True, **options})
    *_, result = run_timelines([video], chosen)
    assert isinstance(result, Timeline)
    return result


def test_two_motions_in_one_shot_are_two_segments():
    video = VideoPath(str(ROOT / "examples" / "pan_left_then_zoom_in.mp4"))
    result = timeline(video, MODEL, every=None)
    first, second = result.segments
    assert (first.label, second.label) == ("pan left", "zoom in")
    assert abs(first.end - 3.0) <= result.every / 2
    assert second.end == pytest.approx(6.0, abs=0.05)
    assert result.every == pytest.approx(result.span / 2, abs=1e-3)
    refined = timeline(video, MODEL, every=None, refine=True)
    assert abs(refined.segments[0].end - 3.0) <= abs(first.end - 3.0) + 0.15


@pytest.fixture(scope="module")
def several(model):
    """The same weights, as a model of several labels a clip."""
    made = randomised(tiny(multi_label=True))
    made.load_state_dict(model.state_dict())
    made.labels, made.sampling = model.labels, model.sampling
    return made


def test_each_label_of_several_has_segments_of_its_own(film, several):
    result = timeline(film, several, smooth=0.0)
    assert len({segment.label for segment in result.segments}) > 1
    assert any(after.start < before.end for before, after in pairwise(result.segments))
    for number, shot in enumerate(result.shots):
        windows = [one for one in result.windows if one.shot == number]
        for label in several.labels:
            on = [p.score >= 0.5 for one in windows for p in one.predictions if p.label == label]
            held = [s.windows for s in result.segments if (s.shot, s.label) == (number, label)]
            assert sum(on) == sum(held), (shot, label)
    assert timeline(film, several, threshold=1.0).segments == ()
    with pytest.raises(UsageError, match="leave out --refine"):
        timeline(film, several, refine=True)


def test_a_window_has_the_scores_of_classify(film, model):
    """Of a video that is one window long."""
    result = timeline(film, model, cuts=False, start=0.0, end=16 / 30 + 0.001)
    window = result.windows[0]
    options = ClassifyOptions(model=model, clips=1000)
    # `classify` of so many clips has one of them at the start of the video.
    (whole,) = classify_videos([film], options)
    first = whole.views[0]
    assert first.start == window.start == 0.0
    for mine, theirs in zip(window.predictions, first.predictions, strict=True):
        assert mine.label == theirs.label and abs(mine.score - theirs.score) <= 1e-6


def test_shots_are_part_of_the_answer_and_no_segment_crosses_one(film, model):
    result = timeline(film, model)
    assert [shot.end for shot in result.shots] == pytest.approx(
        [3.0, 110 / 30, 170 / 30, 220 / 30], abs=1e-3
    )
    for segment in result.segments:
        shot = result.shots[segment.shot]
        assert shot.start <= segment.start < segment.end <= shot.end
    assert len(timeline(film, model, cuts=False).shots) == 1


def test_json_is_the_dataclass_field_for_field(film, model):
    result = timeline(film, model)
    again = Timeline.from_dict(json.loads(json.dumps(to_plain(result))))
    assert again == result
    assert "windows" not in to_plain(timeline(film, model, windows=False))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": (OwnLabel("a"), OwnLabel("z"))}, "no class 'z'"),
        ({"frames": 7}, "tubelet|frames|grid|multiple"),
    ],
)
def test_options_that_the_model_cannot_follow_are_said(film, options, words):
    model = randomised(tiny(attention="vivit-1"))
    model.labels, model.sampling = tuple("abcde"), Sampling(frames=8, stride=2)
    with pytest.raises(UsageError, match=words):
        timeline(film, model, **options)


def test_a_model_without_a_stride_needs_one(film):
    model = randomised(tiny())
    model.sampling = Sampling(frames=8, stride=None)
    with pytest.raises(UsageError, match="--stride"):
        timeline(film, model)
    assert timeline(film, model, stride=2).windows


def test_a_video_that_cannot_be_read_does_not_end_the_others(film, model, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("nothing")
    options = TimelineOptions(model=model, every=0.5)
    first, *_, last = run_timelines([VideoPath(str(bad)), film], options)
    assert isinstance(first, Failed) and isinstance(last, Timeline)


def test_steps_tell_how_far_it_is(film, model):
    *steps, result = run_timelines([film], TimelineOptions(model=model, every=0.1))
    assert isinstance(result, Timeline) and all(isinstance(step, Step) for step in steps)
    done = [step.done for step in steps]
    assert done == sorted(done) and steps[0].windows == 0
    assert steps[0].duration == pytest.approx(220 / 30, abs=0.05)
    assert sum(len(step.scored) for step in steps) == steps[-1].windows


@pytest.mark.parametrize("scheme", ["divided", "space", "vivit-1"])
def test_a_run_that_was_stopped_goes_on_to_the_same_answer(film, tmp_path, scheme):
    model = randomised(tiny(attention=scheme))
    model.labels, model.sampling = tuple("abcde"), Sampling(frames=8, stride=2)
    options = TimelineOptions(model=model, every=0.05, windows=True, batch_size=4)
    path = journal_path(tmp_path / "out.json")
    with TimelineRun(options) as run:
        every: list[Step] = []
        expected = ended(run.timeline(film), every.append)
        assert isinstance(expected, Timeline)
        total = len(expected.windows)
        for stop in random.Random(scheme).sample(range(1, len(every)), 6):
            with Journal(path, {"a": 1}, resume=False) as journal:
                begun = run.timeline(film, journal)
                for _ in range(stop + 1):
                    next(begun)
                begun.close()
            with path.open("ab") as file:  # and half a line, as a kill leaves it
                file.write(b'{"clips": [{"start"')
            steps: list[Step] = []
            with Journal(path, {"a": 1}, resume=True) as journal:
                result = ended(run.timeline(film, journal), steps.append)
            assert result == expected
            again = sum(len(step.scored) for step in steps)
            assert again < total, "it began anew"
            with Journal(path, {"a": 1}, resume=True) as journal:
                assert ended(run.timeline(film, journal)) == expected  # read, not made


def test_a_journal_of_something_else_or_of_another_file_is_not_taken(film, model, tmp_path):
    path = tmp_path / "journal"
    with TimelineRun(TimelineOptions(model=model, every=0.5)) as run:
        with Journal(path, {"model": "a"}, resume=True) as journal:
            ended(run.timeline(film, journal))
        with Journal(path, {"model": "b"}, resume=True) as journal:
            assert not journal.finished
        with Journal(path, {"model": "a"}, resume=True) as journal:
            ended(run.timeline(film, journal))
        whole = path.read_text()
        path.write_text(whole.replace('"file": [', '"file": [1'))
        with Journal(path, {"model": "a"}, resume=True) as journal:
            assert not journal.finished
            journal.remove()
    assert not path.exists()
