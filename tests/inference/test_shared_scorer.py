"""One model for several threads: what comes while it is busy shares a batch, and nothing is mixed up."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event, active_count

import numpy as np
import pytest
import torch

from tests.support import clips
from tests.support.models import randomised, tiny
from timesformer_cli.config import Sampling
from timesformer_cli.errors import DeviceError
from timesformer_cli.inference.classify import ClassifyOptions, WarmModel
from timesformer_cli.inference.fast.model import make_fast
from timesformer_cli.inference.predictor import ModelOutputs, Predictor
from timesformer_cli.inference.shared_scorer import SharedScorer
from timesformer_cli.timelines.options import TimelineOptions
from timesformer_cli.timelines.run import TimelineRun, ended
from timesformer_cli.video import VideoPath

CLIP = (8, 64, 64, 3)


def noise(views, seed, clip=CLIP):
    return np.random.default_rng(seed).integers(0, 256, (views, *clip), np.uint8)


class Slow:
    """A scorer that waits until it is let go, and notes the batches that it was given."""

    def __init__(self, predictor, ahead=0):
        self.predictor, self.ahead, self.go, self.batches = predictor, ahead, Event(), []
        self.description, self.choice = predictor.description, predictor.choice
        self.device, self.dtype = predictor.device, predictor.dtype

    def start(self, frames, *, features=False):
        self.go.wait(10)
        self.batches.append((len(frames), features))
        if frames.shape[1] == 1:
            raise DeviceError("no room")
        return self.predictor.start(frames, features=features)


@pytest.fixture(scope="module")
def predictor():
    return Predictor(make_fast(randomised(tiny()), torch.device("cpu"), torch.float32))


@pytest.mark.parametrize("ahead", [0, 1])
def test_what_waits_together_goes_together_and_each_gets_its_own(predictor, ahead):
    slow = Slow(predictor, ahead)
    shared = SharedScorer(slow, most=8)
    asked = [(noise(1 + n % 3, n), n % 5 == 4) for n in range(20)]
    pending = [shared.start(frames, features=features) for frames, features in asked]
    slow.go.set()
    for (frames, features), ask in zip(asked, pending, strict=True):
        given, alone = ask(), predictor.start(frames, features=features)()
        torch.testing.assert_close(given.scores, alone.scores, atol=1e-6, rtol=1e-5)
        assert (given.features is not None) == features
        if features:
            torch.testing.assert_close(given.features, alone.features, atol=1e-5, rtol=1e-5)
    shared.close()
    views = [count for count, _ in slow.batches]
    assert sum(views) == sum(len(frames) for frames, _ in asked) and max(views) <= 8
    assert len(views) < len(asked) / 2


def test_an_error_reaches_those_of_its_batch_alone(predictor):
    slow = Slow(predictor)
    shared = SharedScorer(slow, most=8)
    bad = [shared.start(noise(1, n, (1, 64, 64, 3))) for n in range(3)]
    good = shared.start(noise(2, 9))
    slow.go.set()
    for ask in bad:
        with pytest.raises(DeviceError, match="no room"):
            ask()
    assert isinstance(good(), ModelOutputs)
    with pytest.raises(ZeroDivisionError):
        shared.call(lambda: 1 // 0)
    assert shared.call(lambda: 7) == 7
    shared.close()
    with pytest.raises(RuntimeError, match="closed"):
        shared.start(noise(1, 1))


def test_closing_leaves_nobody_waiting(predictor):
    slow, before = Slow(predictor), active_count()
    shared = SharedScorer(slow, most=1)
    pending = [shared.start(noise(1, n)) for n in range(4)]
    with ThreadPoolExecutor(1) as closing:
        done = closing.submit(shared.close)
        slow.go.set()
        done.result(10)
    outcomes = [ask.__self__.exception(1) for ask in pending]
    assert all(error is None or "closed" in str(error) for error in outcomes)
    assert active_count() == before


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return [VideoPath(str(clips.write(folder / f"{n}.mp4", 24 + 8 * n))) for n in range(4)]


def test_threads_with_different_clips_get_what_each_would_alone(videos, model_folder):
    plain = ClassifyOptions(model=str(model_folder), dtype="float32", workers=2)
    others = {
        "plain": plain,
        "views": ClassifyOptions(model=str(model_folder), dtype="float32", clips=2, top_k=1),
        "frames": ClassifyOptions(model=str(model_folder), dtype="float32", frames=4, stride=1),
    }
    with WarmModel(plain, decoders=2, shared=True) as warm, ThreadPoolExecutor(6) as threads:
        jobs = [(name, video) for name in others for video in videos]
        given = threads.map(
            lambda job: next(warm.classified([job[1]], options=others[job[0]])), jobs
        )
        given = dict(zip(jobs, given, strict=True))
    for name, options in others.items():
        with WarmModel(options, decoders=2) as alone:
            for video, expected in zip(videos, alone.classified(videos), strict=True):
                result = given[name, video]
                assert result.views[0].times == expected.views[0].times
                assert len(result.views) == len(expected.views)
                for one, other in zip(result.predictions, expected.predictions, strict=True):
                    assert one.label == other.label
                    assert one.score == pytest.approx(other.score, abs=2e-6)


@pytest.mark.parametrize("scheme", ["divided", "space"])
def test_a_timeline_on_a_shared_model_is_the_same(videos, scheme):
    model = randomised(tiny(attention=scheme))
    model.labels, model.sampling = tuple("abcde"), Sampling(frames=8, stride=2)
    options = TimelineOptions(model=model, every=0.1, windows=True)
    with TimelineRun(options) as run:
        expected = ended(run.timeline(videos[3]))
    with (
        WarmModel(ClassifyOptions(model=model), decoders=1, shared=True) as warm,
        TimelineRun(options, scorer=warm.scorer) as run,
    ):
        assert ended(run.timeline(videos[3])) == expected
