"""The Python interface: the command's verbs, without printing."""

import dataclasses
import inspect
import io
import logging
import os
import pydoc
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import timesformer_cli
from tests.support import clips
from timesformer_cli.errors import DeviceError, UsageError, VideoError, WeightsError


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


def test_what_had_to_be_assumed_is_logged(model_folder, tmp_path, caplog):
    (model_folder / "preprocessor_config.json").rename(tmp_path / "moved.json")
    try:
        timesformer_cli.load_model(model_folder)
        assert caplog.record_tuples[0][:2] == ("timesformer_cli", logging.WARNING)
        assert "no preprocessor_config.json" in caplog.text
    finally:
        (tmp_path / "moved.json").rename(model_folder / "preprocessor_config.json")


def test_a_script_without_a_main_guard_can_classify(model_folder, clip, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import timesformer_cli\n"
        f"print(*(r.status for r in timesformer_cli.classify({str(clip)!r}, model={str(model_folder)!r})))\n"
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
            list(timesformer_cli.classify(clip, model=model, **other))


@pytest.fixture(scope="module")
def classifier(model_folder):
    how = {"device": "cpu", "dtype": "float32", "top_k": 2, "stride": 2}
    with timesformer_cli.Classifier(model_folder, **how) as made:
        yield made


@pytest.fixture(scope="module")
def shown():
    """Two seconds at 20 frames a second of what no two frames show alike."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 96, 128, 3), dtype=np.uint8)
    return np.maximum(noise, np.arange(40, dtype=np.uint8)[:, None, None, None] * 6)


def test_an_array_is_a_lossless_file_of_the_same_frames(classifier, shown, tmp_path):
    path = tmp_path / "lossless.mkv"
    clips.write(path, shown, codec="ffv1", pix_fmt="bgr0", fps=20, size=(128, 96))
    (read,) = classifier(path)
    for given in (shown, torch.from_numpy(shown), np.asfortranarray(shown)):
        (result,) = classifier(given, fps=20)
        assert (result.video, result.decoder) == ("array", "array")
        assert (result.predictions, result.views) == (read.predictions, read.views)
    (slower,) = classifier(shown, fps=5)
    assert slower.views != read.views  # sampled by its own rate
    assert np.array_equal(classifier.features(shown, fps=20), classifier.features(path))
    (of_array,), (of_file,) = classifier.embed(shown, fps=20), classifier.embed(path)
    assert np.array_equal(of_array.embeddings[0].vector, of_file.embeddings[0].vector)
    windows = list(classifier.timeline(path, every=0.3))
    assert list(classifier.timeline(shown, fps=20, every=0.3)) == windows and windows
    (seen,), (known,) = classifier.explain(shown, fps=20), classifier.explain(path)
    assert seen.video == "array" and np.array_equal(seen.map, known.map)


def test_open_files_and_lists_of_anything_have_results_in_order(classifier, clip, shown):
    folder = Path(tempfile.gettempdir())
    before = {path.name for path in folder.glob("tsf-*")}
    (once,) = classifier(clip)
    with clip.open("rb") as file:
        given = [
            io.BytesIO(clip.read_bytes()),
            file,
            clip,
            "nope.mp4",
            b"text",
            memoryview(clip.read_bytes()),
        ]
        results = list(classifier(iter(given)))
    assert [r.video for r in results] == [
        "file",
        str(clip),
        str(clip),
        "nope.mp4",
        "bytes",
        "bytes",
    ]
    assert [r.status for r in results] == ["ok", "ok", "ok", "error", "error", "ok"]
    assert all(r.predictions == once.predictions for r in results if r.status == "ok")
    begun = classifier([clip.read_bytes()] * 4)
    next(begun)
    begun.close()  # what was written for the others goes, too
    assert {path.name for path in folder.glob("tsf-*")} == before


def test_a_list_is_asked_for_no_more_than_is_decoded_ahead(classifier, clip):
    asked = []

    def paths():
        for number in range(100):
            asked.append(number)
            yield clip

    results = classifier(paths())
    next(results)
    assert len(asked) <= 2 * classifier.options.batch_size + 2 * (os.cpu_count() or 1)
    results.close()


@pytest.mark.parametrize(
    ("given", "how", "message"),
    [
        (7, {}, "a video is a path, bytes, a file opened in binary mode, or an array"),
        (np.zeros((4, 8, 8, 3), np.uint8), {}, "give fps, its frames a second"),
        (np.zeros((4, 8, 8, 3), np.uint8), {"fps": 0}, "fps is a number of frames a second"),
        (np.zeros((4, 8, 8, 3)), {"fps": 5}, r"got float64 \(4, 8, 8, 3\)"),
        (np.zeros((4, 3, 8, 8), np.uint8), {"fps": 5}, r"got uint8 \(4, 3, 8, 8\)"),
        (np.zeros((0, 8, 8, 3), np.uint8), {"fps": 5}, r"got uint8 \(0, 8, 8, 3\)"),
        (io.StringIO("text"), {}, "binary mode"),
        (b"bytes", {"fps": 5}, "fps is for arrays and for folders of pictures"),
        ("examples/pan_right.mp4", {"fps": 5}, "fps is for arrays and for folders of pictures"),
    ],
)
def test_what_is_no_video_and_an_fps_that_nothing_needs_are_refused(
    classifier, given, how, message
):
    with pytest.raises(UsageError, match=message):
        list(classifier(given, **how))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("top_k", 0), ("crops", 2), ("batch_size", 1.5), ("timeout", 0), ("decoder", "ffmpeg")],
)
def test_keywords_that_make_no_sense_are_refused_before_anything_is_opened(keyword, value):
    with pytest.raises(UsageError, match=f"{keyword} is "):
        timesformer_cli.Classifier("no such model", **{keyword: value})
    with pytest.raises(TypeError, match="unexpected keyword argument 'topk'"):
        timesformer_cli.Classifier("camera-motion", topk=1)


def test_a_timeline_on_a_ready_model_is_that_of_the_function(
    classifier, model_folder, clip, tmp_path
):
    how = {"every": 0.2, "cuts": False}
    own = {"device": "cpu", "dtype": "float32", "top_k": 2, "stride": 2}
    alone = timesformer_cli.timeline(clip, model_folder, **how, **own).result()
    children = None
    for _ in range(2):
        followed = classifier.timeline(clip.read_bytes(), **how).result()
        assert followed.video == "bytes"
        assert dataclasses.replace(followed, video=str(clip), model=alone.model) == alone
        assert children in (None, process_ids())
        children = process_ids()
    for _ in range(3):  # what is left in the middle leaves no process behind
        left = classifier.timeline(clip, **how)
        next(iter(left))
        del left
    list(classifier.timeline(clip, **how))
    assert len(process_ids()) <= len(children)
    for number in range(2):
        (tmp_path / f"{number}.mp4").write_bytes(clip.read_bytes())
    with pytest.raises(UsageError, match=r"one video at a time: .* has 2"):
        classifier.timeline(tmp_path).result()


def test_explanations_and_vectors_are_those_of_the_commands(classifier, clip, model_folder):
    from timesformer_cli.explain.options import ExplainOptions
    from timesformer_cli.explain.run import explain_videos
    from timesformer_cli.inference.classify import ClassifyOptions
    from timesformer_cli.library.embed import embed_videos
    from timesformer_cli.video import VideoPath

    found = [VideoPath(str(clip))]
    (alone,) = explain_videos(
        found, ExplainOptions(model=str(model_folder), stride=2, device="cpu")
    )
    first, missing = classifier.explain([clip, "nope.mp4"])
    assert np.array_equal(first.map, alone.map) and first.score == alone.score
    assert missing.error.kind == "not_found"
    (other,) = classifier.explain(clip, attention="space")
    (again,) = classifier.explain(clip)
    assert other.score != first.score and np.array_equal(again.map, first.map)
    how = {"device": "cpu", "dtype": "float32", "top_k": 2, "stride": 2}
    (told,) = embed_videos(found, ClassifyOptions(model=str(model_folder), **how))
    (vector,) = classifier.embed(clip)
    assert np.array_equal(vector.embeddings[0].vector, told.embeddings[0].vector)
    assert (vector.content, vector.embeddings[0].start) == (told.content, told.embeddings[0].start)
    windows = next(iter(classifier.embed(clip, every=0.2)))
    assert len(windows.embeddings) > 1 and windows.revision.startswith("sha256:")
    with pytest.raises(VideoError, match="does not exist"):
        classifier.features("nope.mp4")


def test_threads_may_use_every_verb_at_once(classifier, clip):
    verbs = [
        lambda: [r.predictions for r in classifier(clip)],
        lambda: [s.label for s in classifier.timeline(clip, every=0.3).segments()],
        lambda: [r.score for r in classifier.explain(clip)],
        lambda: classifier.features(clip).tolist(),
    ]
    alone = [verb() for verb in verbs]
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(verb) for verb in verbs * 3]
        assert [one.result() for one in asked] == alone * 3


def test_help_and_type_checkers_see_every_keyword_with_its_default():
    from timesformer_cli import keywords
    from timesformer_cli.inference.classify import ClassifyOptions

    signature = inspect.signature(timesformer_cli.classify)
    assert list(signature.parameters)[:3] == ["videos", "model", "fps"]
    named = list(signature.parameters)[3:]
    assert named == list(keywords.ClassifyKeywords.__annotations__)
    fields = {field.name: field.default for field in dataclasses.fields(ClassifyOptions)}
    renamed = {"labels": "labels", "template": "templates"}
    assert {renamed.get(name, name) for name in named} | {"model"} == set(fields)
    for name in set(named) - set(renamed):
        assert signature.parameters[name].default == fields[name]
    assert "top_k: 'int' = 5" in pydoc.plain(pydoc.render_doc(timesformer_cli.Classifier))


def test_nothing_is_said_that_nobody_asked_to_hear(model_folder, capfd, caplog):
    assert any(
        isinstance(each, logging.NullHandler)
        for each in logging.getLogger("timesformer_cli").handlers
    )
    with caplog.at_level(logging.INFO), timesformer_cli.Classifier(model_folder, device="cpu"):
        assert "timesformer_cli" in caplog.record_tuples[0] and "is open on cpu" in caplog.text
    assert capfd.readouterr() == ("", "")


def test_a_classifier_that_was_not_closed_is_closed_and_warned_of(model_folder):
    before = process_ids()
    left = [timesformer_cli.Classifier(model_folder, device="cpu")]
    with pytest.warns(ResourceWarning, match="a Classifier was not closed"):
        left.clear()
    assert process_ids() <= before
