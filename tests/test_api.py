"""The Python interface: the command's verbs, without printing."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import timesformer_cli
from tests.support import clips
from timesformer_cli.errors import DeviceError, UsageError, WeightsError


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clips.write(tmp_path_factory.mktemp("clips") / "clip.mp4", 40)


def test_a_loaded_model_maps_clips_to_logits_and_carries_what_using_it_takes(model_folder):
    model = timesformer_cli.load_model(model_folder)
    assert isinstance(model, torch.nn.Module)
    assert not model.training
    assert model(torch.randn(2, 8, 3, 64, 64)).shape == (2, 5)
    assert model.labels == ("a", "b", "c", "d", "e")
    assert model.config.attention == "divided"
    assert model.preprocessing.crop == (64, 64)


@pytest.mark.parametrize("dtype", ["auto", "float32", "int8"])
def test_with_a_dtype_it_is_what_the_command_runs_and_takes_pixels_too(model_folder, clip, dtype):
    model = timesformer_cli.load_model(model_folder, dtype=dtype)
    assert (model.labels, model.preprocessing.crop) == (("a", "b", "c", "d", "e"), (64, 64))
    pixels = torch.randint(0, 256, (2, 8, 64, 64, 3), dtype=torch.uint8)
    normalised = (pixels.permute(0, 1, 4, 2, 3) / 255 - 0.45) / 0.225
    torch.testing.assert_close(model(pixels), model(normalised), atol=1e-3, rtol=0)
    (given,) = timesformer_cli.classify(clip, model=model)
    (named,) = timesformer_cli.classify(clip, model=model_folder, dtype=dtype, device="cpu")
    assert given.predictions == named.predictions
    assert given.dtype == named.dtype


def test_classify_takes_one_video_or_several_and_a_name_or_a_model(model_folder, clip):
    (named,) = timesformer_cli.classify(clip, model=model_folder, dtype="float32", device="cpu")
    model = timesformer_cli.load_model(model_folder)
    first, second = timesformer_cli.classify([clip, "nope.mp4"], model=model, top_k=2)
    assert first.predictions == named.predictions[:2]
    assert (second.status, second.error.kind) == ("error", "not_found")


def test_errors_are_exceptions_of_their_kind(model_folder, tmp_path):
    with pytest.raises(WeightsError):
        timesformer_cli.load_model(tmp_path)
    with pytest.raises(DeviceError):
        timesformer_cli.load_model(model_folder, device="cuda:99")


def test_what_had_to_be_assumed_is_warned_of(model_folder, tmp_path):
    (model_folder / "preprocessor_config.json").rename(tmp_path / "moved.json")
    try:
        with pytest.warns(UserWarning, match=r"no preprocessor_config.json"):
            timesformer_cli.load_model(model_folder)
    finally:
        (tmp_path / "moved.json").rename(model_folder / "preprocessor_config.json")


def test_a_script_without_a_main_guard_can_classify(model_folder, clip, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import timesformer_cli\n"
        f"print(timesformer_cli.classify({str(clip)!r}, model={str(model_folder)!r})[0].status)\n"
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert ran.stdout == "ok\n", ran.stderr


def test_a_timeline_gives_windows_as_they_come_and_then_segments(model_folder, clip):
    followed = timesformer_cli.timeline(clip, model_folder, every=0.1, cuts=False, device="cpu")
    windows = list(followed)
    assert [window.start for window in windows] == pytest.approx(
        [0.1 * number for number in range(len(windows))], abs=1e-3
    )
    segments = followed.segments()
    assert segments[0].start == 0.0 and segments[-1].end == pytest.approx(40 / 30, abs=0.01)
    result = followed.result()
    assert result.status == "ok" and list(result.windows) == windows


def test_a_timeline_of_what_is_no_video_has_no_segments(model_folder, tmp_path):
    followed = timesformer_cli.timeline(tmp_path / "missing.mp4", model_folder, device="cpu")
    assert followed.segments() == () and followed.result().status == "error"


def test_a_classifier_stays_ready(model_folder, clip, tmp_path):
    how = {"model": model_folder, "device": "cpu", "dtype": "float32", "top_k": 2}
    (once,) = timesformer_cli.classify(clip, **how)
    with timesformer_cli.Classifier(**how, workers=1) as classifier:
        list(classifier(clip))
        children = process_ids()
        for _ in range(3):
            (again,) = classifier(clip)
            assert again.predictions == once.predictions and again.video == str(clip)
        first, second = classifier([clip, "nope.mp4"])
        assert first.predictions == once.predictions and second.error.kind == "not_found"
        (given,) = classifier(clip.read_bytes())
        assert (given.video, given.predictions) == ("bytes", once.predictions)
        (broken,) = classifier(b"no video")
        assert (broken.video, broken.status) == ("bytes", "error")
        with ThreadPoolExecutor(3) as pool:
            for (result,) in pool.map(list, [classifier(clip) for _ in range(9)]):
                assert result.predictions == once.predictions
        assert children == process_ids()  # the decoder is the first one still
        assert len(children) == 1 or sys.platform != "linux"
    assert not children & process_ids()


def process_ids() -> set[int]:
    """Of the children of this process."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(number) for path in lists for number in path.read_text().split()}


def test_a_loaded_model_takes_no_other_device_or_dtype(model_folder, clip):
    model = timesformer_cli.load_model(model_folder)
    for other in ({"device": "cpu"}, {"dtype": "bfloat16"}):
        with pytest.raises(UsageError, match="a loaded model has its device and its dtype"):
            timesformer_cli.classify(clip, model=model, **other)
