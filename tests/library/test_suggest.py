"""`tsf suggest`: unsure clips first, no two alike, in a table that training reads once it is filled in."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.support import clips
from timesformer_cli.cli.app import app
from timesformer_cli.dataset.labelled import read_labelled_clips
from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.library.embed import Embedded, Embedding
from timesformer_cli.library.suggest import suggest_clips


def clip(name: str, scores: list[float], vector: list[float]) -> Embedded:
    ranked = sorted(enumerate(scores), key=lambda pair: -pair[1])
    predictions = tuple(Prediction(f"label {at}", at, score) for at, score in ranked)
    seen = Embedding(start=0, end=1, predictions=predictions, vector=np.array(vector, np.float32))
    return Embedded(
        video=name,
        status="ok",
        content=name,
        model="m",
        revision="r",
        device="cpu",
        dtype="float32",
        decoder="av",
        embeddings=(seen,),
    )


def test_unsure_clips_come_first_and_copies_last():
    listed = [
        clip("sure", [0.98, 0.02], [-1, 0.1]),
        clip("unsure", [0.52, 0.48], [1, 0]),
        clip("its copy", [0.53, 0.47], [1, 0]),
        clip("less unsure, unlike", [0.7, 0.3], [0, 1]),
    ]
    found = suggest_clips(listed, 4)
    assert [one.video for one in found[:2]] == ["unsure", "less unsure, unlike"]
    assert found[-1].video == "its copy"
    assert found[0].margin == pytest.approx(0.04)
    assert (found[0].distance, found[-1].distance) == (2.0, pytest.approx(0.0, abs=1e-6))
    assert suggest_clips(listed, 1) == found[:1]
    assert suggest_clips([], 3) == []
    assert suggest_clips(list(reversed(listed)), 4) == found


def test_clips_that_are_all_alike_come_by_their_margins():
    listed = [clip(str(n), [0.5 + n / 10, 0.5 - n / 10], [1, 1]) for n in (3, 1, 2)]
    assert [one.video for one in suggest_clips(listed, 3)] == ["1", "2", "3"]


def test_of_several_labels_the_least_sure_one_counts():
    listed = [
        clip("all sure", [0.9, 0.95, 0.02], [1, 0]),
        clip("one is not", [0.9, 0.55, 0], [0, 1]),
    ]
    found = suggest_clips(listed, 2, multi_label=True)
    assert [one.video for one in found] == ["one is not", "all sure"]
    assert found[0].margin == pytest.approx(0.1)


def test_the_table_is_one_that_training_reads(model_folder, tmp_path):
    (tmp_path / "videos").mkdir()
    for number in range(4):
        frames = [np.full((48, 64, 3), 60 * number, np.uint8)] * 8
        clips.write(tmp_path / "videos" / f"{number}.mp4", frames, size=(64, 48))
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42 and no more")
    table = tmp_path / "elsewhere" / "to-label.csv"
    table.parent.mkdir()
    words = ["suggest", str(tmp_path / "videos"), "--model", str(model_folder), "-k", "3"]
    ran = CliRunner().invoke(app, [*words, "--device", "cpu", "-o", str(table)])
    assert ran.exit_code == 1, ran.stderr  # one of them is broken, and named
    assert "broken.mp4" in ran.stderr and "3 of 4 clips, 1 failed" in ran.stderr
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["", "", ""]
    assert all(Path(row["path"]).is_file() and row["guess"] for row in rows)
    margins = [float(row["margin"]) for row in rows]
    assert margins[0] == min(margins)
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(row | {"label": f"class {number % 2}"} for number, row in enumerate(rows))
    listed = read_labelled_clips(table)
    assert [one.label for one in listed] == ["class 0", "class 1", "class 0"]
    ran = CliRunner().invoke(app, [*words, "--device", "cpu", "--format", "json"])
    assert [Path(one["video"]).name for one in json.loads(ran.stdout)] == [
        Path(row["path"]).name for row in rows
    ]
