"""`tsf embed`: vectors that are what the model's head sees, in files that other programs read."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.support import clips
from tests.support.contract import require_valid
from timesformer_cli.cli.app import app
from timesformer_cli.library.embed import content_of
from timesformer_cli.weights.load import load_path


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Two videos of some seconds, and a file that is none."""
    folder = tmp_path_factory.mktemp("videos")
    clips.write(folder / "a.mp4", 90)
    clips.write(folder / "b.mp4", 60, size=(120, 160))
    (folder / "c.mp4").write_text("no video\n" * 9)
    return folder


@pytest.fixture
def embed(model_folder):
    """`tsf embed` with the small model."""

    def ran(*arguments: object):
        words = ["embed", *map(str, arguments), "-m", str(model_folder), "--device", "cpu"]
        return CliRunner().invoke(app, [*words, "--dtype", "float32"])

    return ran


def lines(ran) -> list[dict]:
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    for each in found:
        require_valid("embed", each)
    return found


def test_the_head_makes_the_scores_of_a_vector(embed, videos, model_folder):
    ran = embed(videos, "--top-k", "1000", "--views", "2x1")
    assert ran.exit_code == 1  # one of them is no video
    first, second, broken = lines(ran)
    assert broken["error"]["kind"] and broken["status"] == "error"
    head = load_path(model_folder)[0].head
    for told in (first, second):
        (found,) = told["embeddings"]
        assert found["start"] < found["end"]
        assert told["content"] == content_of(told["video"])
    # One clip alone: over several, scores are averaged and not logits.
    told = lines(embed(videos / "a.mp4", "--top-k", "1000"))[0]
    (found,) = told["embeddings"]
    with torch.no_grad():
        vector = torch.tensor(found["vector"])
        scores = head(vector).softmax(0)
    said = {prediction["index"]: prediction["score"] for prediction in found["predictions"]}
    assert len(said) == len(scores)
    assert all(scores[index] == pytest.approx(score, abs=1e-4) for index, score in said.items())


def test_windows_are_those_of_the_timeline(embed, videos, model_folder):
    video = videos / "a.mp4"
    (told,) = lines(embed(video, "--every", "0.4", "--from", "0.2"))
    words = ["timeline", str(video), "-m", str(model_folder), "--every", "0.4", "--from", "0.2"]
    words += ["--windows", "--format", "jsonl", "--dtype", "float32", "--device", "cpu"]
    timeline = json.loads(CliRunner().invoke(app, words).stdout)
    require_valid("timeline", timeline)
    assert len(timeline["windows"]) > 4
    for window, found in zip(timeline["windows"], told["embeddings"], strict=True):
        assert all(window[name] == found[name] for name in ("start", "end", "predictions"))
    assert len({tuple(found["vector"]) for found in told["embeddings"]}) > 4


def test_numpy_has_a_table_that_says_what_each_row_is(embed, videos, tmp_path):
    ran = embed(videos, "--normalise", "-o", tmp_path / "v.npy")
    assert ran.exit_code == 1 and "c.mp4: cannot_decode" in ran.stderr and not ran.stdout
    vectors = np.load(tmp_path / "v.npy")
    assert vectors.dtype == np.float32 and vectors.shape[0] == 2
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    with (tmp_path / "v.csv").open() as file:
        rows = list(csv.DictReader(file))
    told = lines(embed(videos, "--normalise"))[:2]
    for row, vector, one in zip(rows, vectors, told, strict=True):
        (found,) = one["embeddings"]
        assert np.allclose(vector, found["vector"], atol=1e-5)
        assert (row["video"], row["content"]) == (one["video"], one["content"])
        assert row["label"] == found["predictions"][0]["label"]
        assert float(row["end"]) == found["end"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.csv", "v.npy"]


def test_parquet_has_a_row_for_each_window_and_each_failure(embed, videos, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    ran = embed(videos, "--every", "0.5", "--top-k", "2", "-o", tmp_path / "v.parquet")
    assert ran.exit_code == 1
    table = parquet.read_table(tmp_path / "v.parquet")
    assert table.schema.metadata[b"tsf.schema"] == b"1"
    rows = table.to_pylist()
    told = lines(embed(videos, "--every", "0.5", "--top-k", "2"))
    found = [(one, window) for one in told[:2] for window in one["embeddings"]]
    for row, (one, window) in zip(rows, found, strict=False):
        assert (row["video"], row["start"]) == (one["video"], window["start"])
        assert row["predictions"] == window["predictions"]
        assert np.allclose(row["vector"], window["vector"], atol=1e-5)
    assert len(rows) == len(found) + 1
    assert rows[-1]["vector"] is None and rows[-1]["error_kind"] == told[-1]["error"]["kind"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "1"], "--from is for windows; it needs --every"),
        (["--no-cuts"], "--cuts is for windows; it needs --every"),
        (["--every", "1", "--views", "2x1"], "--views is for one vector a video, without --every"),
        (["--format", "npy"], "--format npy needs a file; name it with -o"),
        (["--top-k", "2", "-o", "v.npy"], "--top-k is for the other formats"),
        (["-o", "v.xlsx"], "no format goes by .xlsx here"),
        (["--every", "0"], "--every is at least 0.001 seconds"),
    ],
)
def test_what_does_not_fit_is_said(embed, videos, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    ran = embed(videos / "a.mp4", *words)
    assert ran.exit_code == 2 and message in ran.stderr
    assert not list(tmp_path.iterdir())


def test_content_is_that_of_the_file_wherever_it_lies(videos, tmp_path):
    shutil.copy(videos / "a.mp4", tmp_path / "other name.mp4")
    assert content_of(str(tmp_path / "other name.mp4")) == content_of(str(videos / "a.mp4"))
    assert content_of(str(videos / "b.mp4")) != content_of(str(videos / "a.mp4"))
    pictures = [tmp_path / name for name in ("one", "two")]
    for folder in pictures:
        folder.mkdir()
        (folder / "1.png").write_bytes(b"1")
    assert content_of(str(pictures[0])) == content_of(str(pictures[1]))
    (pictures[1] / "1.png").rename(pictures[1] / "2.png")
    assert content_of(str(pictures[0])) != content_of(str(pictures[1]))
