"""Clips of several videos in a batch, batches on several devices: nothing changes but the time."""

import os
import signal
import sys
from contextlib import closing

import numpy as np
import pytest
import torch

import timesformer_cli
from tests.support import clips
from tests.support.models import randomised, tiny
from timesformer_cli.errors import DeviceError, ErrorKind, UsageError, VideoError, WeightsError
from timesformer_cli.inference.batching import score_videos
from timesformer_cli.inference.device_pool import DevicePool
from timesformer_cli.inference.fast.model import make_fast
from timesformer_cli.inference.predictor import ModelOutputs, Predictor
from timesformer_cli.schemes import SCHEMES
from timesformer_cli.video import Decoded, Probe
from timesformer_cli.weights.hub.locate import Located, as_located

HOW = {"compile": False, "debug": True}


@pytest.fixture(scope="module")
def devices(model_folder):
    with closing(
        DevicePool(as_located(str(model_folder)), ["cpu", "cpu"], "float32", **HOW)
    ) as devices:
        yield devices


class Slow:
    """Scores that are only worked out when asked for: each view's first value."""

    ahead = 2

    def __init__(self):
        self.asked, self.most, self.started = 0, 0, 0

    def start(self, frames, *, features):
        self.started += 1
        self.most = max(self.most, self.started - self.asked)

        def ask():
            self.asked += 1
            scores = torch.from_numpy(frames[:, 0, 0, 0, :1].astype("float32"))
            return ModelOutputs(scores, 2.0 * len(frames))

        return ask


def video(number, views):
    frames = np.full((views, 1, 1, 1, 3), number, np.uint8)
    probe = Probe(**dict.fromkeys(Probe.__dataclass_fields__))
    return Decoded(frames=frames, views=(), decoder="av", warnings=(), seconds=0.0, probe=probe)


def test_batches_ahead_change_neither_order_nor_scores_and_are_few():
    missing = VideoError(ErrorKind.NOT_FOUND, "no such file")
    views = [3, 0, 1, 1, 9, 0, 0, 2, 1, 1, 1, 2]
    videos = [video(number, count) if count else missing for number, count in enumerate(views)]
    slow = Slow()
    outcomes = list(score_videos(slow, videos, batch_size=4))
    assert len(outcomes) == len(videos)
    for number, (outcome, count) in enumerate(zip(outcomes, views, strict=True)):
        if not count:
            assert outcome is missing
            continue
        decoded, outputs = outcome
        assert decoded is videos[number]
        assert outputs.scores.tolist() == [number]
        assert outputs.seconds == pytest.approx(2.0 * count)
    assert slow.most <= 3 + 2  # the group of nine views is three batches


def test_without_batches_ahead_results_come_as_soon_as_a_batch_is_full():
    slow, given = Slow(), []
    slow.ahead = 0

    def decoded():
        for number in range(4):
            given.append(number)
            yield video(number, 1)

    next(score_videos(slow, decoded(), batch_size=2))
    assert given == [0, 1]


def test_processes_give_what_one_gives(model_folder, devices):
    assert (devices.device, devices.dtype) == ("cpu,cpu", "float32")
    alone = Predictor(
        make_fast(timesformer_cli.load_model(model_folder), torch.device("cpu"), torch.float32)
    )
    assert devices.description == alone.description
    batches = [
        np.random.default_rng(n).integers(0, 256, (n, 8, 64, 64, 3), np.uint8) for n in (1, 3, 2)
    ]
    pending = [devices.start(batch) for batch in batches]
    for ask, batch in zip(pending, batches, strict=True):
        outputs = ask()
        torch.testing.assert_close(outputs.scores, alone.start(batch)().scores, atol=1e-6, rtol=0)
        assert outputs.seconds > 0


def test_videos_are_classified_on_several_devices(model_folder, tmp_path):
    paths = [clips.write(tmp_path / f"{n}.mp4", 20 + n) for n in range(3)]
    how = {"model": model_folder, "dtype": "float32", "batch_size": 1}
    one = list(timesformer_cli.classify(paths, device="cpu", **how))
    two = list(timesformer_cli.classify(paths, device="cpu,cpu", **how))
    assert [result.predictions for result in one] == [result.predictions for result in two]
    assert {result.device for result in two} == {"cpu,cpu"}


@pytest.mark.parametrize(
    ("name", "device", "error", "message"),
    [
        (None, "tpu", UsageError, "no device 'tpu'"),
        (None, "cuda:99", DeviceError, "no device 'cuda:99'"),
        ("nowhere", "cpu", WeightsError, "nowhere"),
    ],
)
def test_what_a_process_meets_at_its_start_is_raised_here(
    model_folder, tmp_path, name, device, error, message
):
    where = Located(name="x", path=tmp_path / name if name else model_folder)
    with pytest.raises(error, match=message):
        DevicePool(where, ["cpu", device], "auto", **HOW)


@pytest.mark.skipif(sys.platform == "win32", reason="signals have no names there")
def test_a_process_that_is_killed_is_named(model_folder):
    frames = np.zeros((1, 8, 64, 64, 3), np.uint8)
    with closing(DevicePool(as_located(str(model_folder)), ["cpu"], "float32", **HOW)) as devices:
        devices.start(frames)()
        os.kill(devices._lanes[0].child.pid, signal.SIGKILL)
        with pytest.raises(DeviceError, match=r"on cpu ended \(signal 9, SIGKILL\)"):
            devices.start(frames)()


@pytest.mark.parametrize(
    "scheme",
    [pytest.param(name, marks=pytest.mark.slow) for name in SCHEMES if name != "divided"]
    + ["divided"],
)
def test_a_form_to_be_compiled_is_one_graph(scheme):
    torch.compiler.reset()
    form = make_fast(
        randomised(tiny(attention=scheme)), torch.device("cpu"), torch.float32, compile=True
    )
    pixels = torch.randint(0, 256, (2, 8, 64, 64, 3), dtype=torch.uint8)
    graph = torch.compile(form.forward, backend="eager", fullgraph=True)
    with torch.inference_mode():
        torch.testing.assert_close(graph(pixels), form.forward(pixels))


def test_int8_is_not_compiled():
    with pytest.raises(UsageError, match="exclude each other"):
        make_fast(randomised(tiny()), torch.device("cpu"), torch.int8, compile=True)


def test_a_compiler_that_fails_is_one_line(monkeypatch):
    form = make_fast(randomised(tiny()), torch.device("cpu"), torch.float32, compile=True)

    def fail(pixels):
        raise torch._dynamo.exc.InternalTorchDynamoError("no compiler\nand much more")

    monkeypatch.setattr(form, "_compiled_call_impl", fail)
    with pytest.raises(DeviceError, match=r"leave out --compile \(no compiler\)"):
        Predictor(form).start(np.zeros((1, 8, 64, 64, 3), np.uint8))


@pytest.mark.slow
def test_a_compiled_form_gives_the_same_scores():
    model = randomised(tiny())
    plain, compiled = (
        Predictor(make_fast(model, torch.device("cpu"), torch.float32, compile=compile))
        for compile in (False, True)
    )
    for count in (2, 3, 1):
        frames = np.random.default_rng(0).integers(0, 256, (count, 8, 64, 64, 3), np.uint8)
        scores = (predictor.start(frames)().scores for predictor in (plain, compiled))
        torch.testing.assert_close(*scores, atol=1e-5, rtol=0)


def test_features_come_with_the_scores_where_they_are_asked_for(model_folder, devices):
    """The published form's features, alone and from several devices, averaged over a video's views."""
    model = timesformer_cli.load_model(model_folder)
    alone = Predictor(make_fast(model, torch.device("cpu"), torch.float32))
    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 64, 64, 3), np.uint8)
    mean, std = (torch.tensor(x) for x in (model.preprocessing.mean, model.preprocessing.std))
    clip = ((torch.from_numpy(frames) / 255 - mean) / std).permute(0, 1, 4, 2, 3)
    with torch.inference_mode():
        expected = model.features(clip)
    for runs in (alone, devices):
        outputs = runs.start(frames, features=True)()
        torch.testing.assert_close(outputs.features, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(outputs.scores, runs.start(frames)().scores, atol=1e-6, rtol=0)
        assert runs.start(frames)().features is None
    probe = Probe(**dict.fromkeys(Probe.__dataclass_fields__))
    shown = Decoded(frames=frames, views=(), decoder="av", warnings=(), seconds=0.0, probe=probe)
    (scored,) = score_videos(alone, [shown], batch_size=2, features=True)
    mean = torch.from_numpy(scored.outputs.features)
    torch.testing.assert_close(mean, expected.mean(dim=0), atol=1e-5, rtol=0)
