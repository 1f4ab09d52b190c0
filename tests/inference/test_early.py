"""Videos are decoded while the model is opened, wherever its files say how clips are taken."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.hub import until
from tests.support.models import randomised, tiny
from timesformer_cli.config import Sampling
from timesformer_cli.errors import WeightsError
from timesformer_cli.inference import classify as room
from timesformer_cli.inference.classify import ClassifyOptions, classify_videos
from timesformer_cli.inference.open import describe_model
from timesformer_cli.inference.process_tuning import let_threads_sleep
from timesformer_cli.video import VideoPath
from timesformer_cli.video.pool import DecodePool
from timesformer_cli.video.worker_process import DecodeWorker
from timesformer_cli.weights.hub.locate import locate
from timesformer_cli.weights.load import save_model

EXAMPLES = Path(__file__).parents[2] / "examples"
VIDEOS = [VideoPath(str(EXAMPLES / name)) for name in ("zoom_in.mp4", "no.mp4", "pan_left.mp4")]


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    model = randomised(tiny())
    model.labels, model.sampling = tuple("abcde"), Sampling(frames=8, stride=2)
    folder = tmp_path_factory.mktemp("early") / "model"
    save_model(model, folder)
    return ClassifyOptions(model=locate(str(folder)), workers=1, dtype="float32")


def spied(monkeypatch):
    """Lists that fill with the answers of decoders, and with the calls that asked for them."""
    answers, calls, changed = [], [], threading.Condition()
    ask, decode = DecodeWorker.ask, DecodePool.decode

    def asking(worker, *arguments):
        answer = ask(worker, *arguments)
        with changed:
            answers.append(answer)
            changed.notify()
        return answer

    def decoding(pool, videos, *arguments, **options):
        calls.append(arguments)
        return decode(pool, videos, *arguments, **options)

    monkeypatch.setattr(DecodeWorker, "ask", asking)
    monkeypatch.setattr(DecodePool, "decode", decoding)
    return answers, calls, changed


def test_frames_are_there_before_the_model_is(options, monkeypatch):
    answers, calls, changed = spied(monkeypatch)
    opened = room.open_scorer

    def opening(*arguments, **more):
        with changed:  # all three, though one worker is no more than two ahead without it
            assert changed.wait_for(lambda: len(answers) == len(VIDEOS), timeout=60)
        return opened(*arguments, **more)

    monkeypatch.setattr(room, "open_scorer", opening)
    results = list(classify_videos(VIDEOS, options))
    assert [result.status for result in results] == ["ok", "error", "ok"]
    assert [result.video for result in results] == [video.path for video in VIDEOS]
    assert len(calls) == 1 and len(answers) == len(VIDEOS)  # none is decoded a second time


def test_the_answers_are_those_of_a_model_that_was_open(options, monkeypatch):
    early = list(classify_videos(VIDEOS, options))
    monkeypatch.setattr("timesformer_cli.weights.assumed.foretold", lambda _: None)
    late = list(classify_videos(VIDEOS, options))
    for one, other in zip(early, late, strict=True):
        if one.status == "ok":
            one, other = (replace(each, seconds=early[0].seconds) for each in (one, other))
        assert one == other


def test_what_was_foretold_wrongly_is_decoded_again(options, monkeypatch):
    monkeypatch.setattr(
        "timesformer_cli.weights.assumed.foretold",
        lambda located: replace(describe_model(located), sampling=Sampling(frames=4, stride=1)),
    )
    _, calls, _ = spied(monkeypatch)
    results = list(classify_videos(VIDEOS, options))
    assert [len(result.views[0].times) for result in (results[0], results[2])] == [8, 8]
    assert len(calls) == 2


def test_a_model_that_does_not_open_is_the_error_and_ends_the_decoders(options, monkeypatch):
    def failing(*arguments, **more):
        raise WeightsError("no such weights")

    monkeypatch.setattr(room, "open_scorer", failing)
    before = threading.active_count()
    with pytest.raises(WeightsError, match="no such weights"):
        list(classify_videos(VIDEOS, options))
    until(lambda: threading.active_count() <= before)


@pytest.mark.parametrize(
    ("given", "soon", "told"),
    [
        ({}, True, {"OMP_WAIT_POLICY": "PASSIVE"}),
        ({}, False, {"GOMP_SPINCOUNT": "1000"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, False, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"GOMP_SPINCOUNT": "7"}, False, {"GOMP_SPINCOUNT": "7"}),
    ],
)
def test_threads_that_wait_leave_the_processors_to_others(given, soon, told, monkeypatch):
    monkeypatch.setattr("os.environ", dict(given))
    let_threads_sleep(soon=soon)
    assert os.environ == told
