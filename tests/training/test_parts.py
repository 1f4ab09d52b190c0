# ruff: noqa: F811
"""Parts of longer videos, and folders of pictures, from a table to a model and its scores."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tests.support import clips
from tests.training.test_train import (  # noqa: F401
    COLOURS,
    FAST,
    init,
    one_thread,
    tsf,
)
from timesformer_cli.cli.app import app
from timesformer_cli.weights.load import load_path

RATE, LENGTH = 6, 6  # frames a second, and of a part


@pytest.fixture(scope="module")
def footage(tmp_path_factory) -> Path:
    """Three videos, in each of which two colours take turns; a table of their parts, and files."""
    folder = tmp_path_factory.mktemp("footage")
    listed, cut = [], []
    for video in range(3):
        frames = []
        for place, (label, colour) in enumerate([*COLOURS.items()] * 3):
            part = np.full((LENGTH, 48, 64, 3), colour, np.uint8)
            for index, frame in enumerate(part):
                frame[:, 8 * index + video + place :][:, :6] = 128
            frames += [*part]
            split = "val" if video == 2 else "train"
            listed.append((f"{video}.mkv", label, split, place, place + 1))
            cut.append((f"{video}-{place}.mkv", label, split))
            clips.write(folder / cut[-1][0], part, fps=RATE, size=(64, 48), codec="ffv1")
        clips.write(folder / f"{video}.mkv", frames, fps=RATE, size=(64, 48), codec="ffv1")
    for name, heading, rows in (
        ("long.csv", "path label split start end", listed),
        ("cut.csv", "path label split", cut),
    ):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([heading.split(), *rows])
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_path(folder)[0].state_dict()


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return all(torch.equal(first[name], second[name]) for name in first)


def test_parts_train_and_score_as_files_that_were_cut_there(footage, init, tmp_path, one_thread):
    for name in ("long", "cut"):
        ran = tsf(footage / f"{name}.csv", "--init", init, *FAST, "-o", tmp_path / name)
        assert ran.exit_code == 0, ran.stderr
    assert same(tmp_path / "long", tmp_path / "cut")
    reports = []
    for name in ("long", "cut"):
        predictions = tmp_path / f"{name}.jsonl"
        how = ("--split", "val", "-m", tmp_path / "cut", "--format", "json", "--predictions")
        words = ["evaluate", footage / f"{name}.csv", *how, predictions, "--device", "cpu"]
        ran = CliRunner().invoke(app, [*map(str, words)])
        assert ran.exit_code == 0, ran.stderr
        rows = [json.loads(line) for line in predictions.read_text().splitlines()]
        reports.append([row["predictions"] for row in rows])
        parts = [row.get("part") for row in rows]
        assert parts == ([[n, n + 1] for n in range(6)] if name == "long" else [None] * 6)
    assert reports[0] == reports[1]


def test_a_part_behind_the_end_is_listed_with_its_line(footage, init, tmp_path):
    table = footage / "late.csv"
    table.write_text((footage / "long.csv").read_text() + "2.mkv,grün,val,5,9\n")
    ran = tsf(table, "--init", init, *FAST, "--dry-run", "-o", tmp_path / "run")
    assert ran.exit_code == 0, ran.stderr
    said = ran.stdout.replace("\n", "")
    assert "2.mkv (5 to 9 s) (outside: lasts " in said and f"{table}:20" in said
    table.write_text("path,label,start,end\n2.mkv,0,5,9\n2.mkv,1,0,1\n")
    words = ("evaluate", table, "-m", init, "--format", "json")
    ran = CliRunner().invoke(app, [*map(str, words)])
    assert ran.exit_code == 1
    (row,) = json.loads(ran.stdout)["evaluations"][0]["scores"]["unreadable"]
    assert row["part"] == [5, 9] and f"({table}:2)" in row["error"]["message"]
    table.unlink()


def test_folders_of_pictures_train_and_score(init, tmp_path):
    data = tmp_path / "data"
    for label, colour in COLOURS.items():
        for number in range(4):
            folder = data / ("val" if number == 3 else "train") / label / str(number)
            folder.mkdir(parents=True)
            for index in range(5):
                picture = np.full((48, 64, 3), colour, np.uint8)
                picture[:, 8 * index + number :][:, :6] = 128
                Image.fromarray(picture).save(folder / f"{index:06d}.png")
    ran = tsf(data, "--init", init, *FAST, "-o", tmp_path / "run")
    assert (ran.exit_code, "--fps RATE reads each" in ran.stderr) == (2, True)
    ran = tsf(data, "--init", init, *FAST, "--fps", 5, "-o", tmp_path / "run")
    assert ran.exit_code == 0, ran.stderr
    assert "clips last 1.0 to 1.0 s" in ran.stderr
    words = ("evaluate", data, "--split", "val", "-m", tmp_path / "run", "--fps", 5)
    ran = CliRunner().invoke(app, [*map(str, words)])
    assert ran.exit_code == 0 and "2 videos" in ran.stdout, ran.stderr
