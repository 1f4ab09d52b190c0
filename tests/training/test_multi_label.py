"""Clips that have several labels: from a table to a model that the other commands take."""

import csv
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.support import clips
from tests.support.models import tiny
from timesformer_cli.cli.app import app
from timesformer_cli.config import Sampling
from timesformer_cli.dataset.multi_label import average_precision, split_labels
from timesformer_cli.model import TimeSformer
from timesformer_cli.training.randomness import seeded
from timesformer_cli.weights.load import load_path, save_model

COLOURS = {"red": (200, 40, 40), "on|off": (40, 160, 60)}  # a name with a bar in it
BARS = {"upright": (slice(None), slice(20, 44)), "lying": (slice(16, 32), slice(None))}
QUICK = ("--preset", "light", "--epochs", "24", "--learning-rate", "3e-3", "--batch-size", "4")
QUICK += ("--workers", "1", "--device", "cpu")


def tsf(command: str, *arguments: object):
    return CliRunner().invoke(app, [command, *map(str, arguments)])


@pytest.fixture(scope="module")
def init(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("init") / "model"
    with seeded(0):
        model = TimeSformer(tiny(frames=2, height=32, width=32))
    model.sampling = Sampling(frames=2, stride=None)
    save_model(model, folder)
    return str(folder)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Clips of a colour and a bar, each with two labels, in training, validation and test."""
    folder = tmp_path_factory.mktemp("data")
    rows, random = ["path,label,split"], np.random.default_rng(0)
    for colour, bar in product(COLOURS, BARS):
        for split, count in {"train": 4, "val": 2, "test": 1}.items():
            for number in range(count):
                name = f"{list(COLOURS).index(colour)}-{bar}-{split}-{number}.mp4"
                frames = np.full((4, 48, 64, 3), COLOURS[colour], np.int16)
                frames += random.integers(-30, 30, (1, 1, 1, 3))
                for frame in frames:
                    frame[BARS[bar]] = random.integers(90, 160)
                clips.write(
                    folder / name, list(frames.clip(0, 255).astype(np.uint8)), fps=4, size=(64, 48)
                )
                written = colour.replace("|", "\\|")
                rows.append(f"{name},{written}|{bar},{split}")
    path = folder / "clips.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(table, init, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "several"
    ran = tsf("train", table, "--multi-label", "--init", init, *QUICK, "-o", out)
    assert ran.exit_code == 0, ran.stderr
    return out


def classify(video: Path, model: Path | str, *more: str) -> dict[str, Any]:
    words = (video, "-m", model, "--format", "json", "--device", "cpu", "--dtype", "float32")
    ran = tsf("classify", *words, *more)
    assert ran.exit_code == 0, ran.stderr
    return json.loads(ran.stdout)[0]


def test_clips_of_two_labels_are_learned(trained):
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert all(row.keys() >= {"val_map", "val_f1", "val_accuracy"} for row in rows)
    report = json.loads((trained / "results.json").read_text())
    assert rows[report["best_epoch"] - 1]["val_map"] == max(row["val_map"] for row in rows)
    for split in ("val", "test"):
        assert report["scores"][split]["several"]["mean_average_precision"] >= 0.95, split
    assert report["scores"]["test"]["clips"] == 4


def test_the_folder_says_sigmoids_and_keeps_a_threshold_for_each_class(trained):
    values = json.loads((trained / "config.json").read_text())
    assert values["problem_type"] == "multi_label_classification"
    labels = [values["id2label"][str(n)] for n in range(4)]
    assert sorted(labels) == sorted([*COLOURS, *BARS])
    model, _ = load_path(trained)
    assert model.config.multi_label
    assert list(model.config.each_threshold) == values["class_thresholds"] and len(labels) == 4
    found = json.loads((trained / "results.json").read_text())["scores"]["val"]["several"]
    assert [row["threshold"] for row in found["classes"]] == values["class_thresholds"]
    card = (trained / "README.md").read_text()
    assert "a clip may have several or none" in card and "mean average precision" in card
    assert (
        "| on\\|off | 8 |" in card and "| clips, of several classes or none | 16 | 8 | 4 |" in card
    )


def test_results_carry_that_there_are_several_and_which(trained, table):
    video = next(table.parent.glob("1-lying-test-*.mp4"))  # green
    said = classify(video, trained)
    assert said["multi_label"] is True and set(said["labels"]) == {"on|off", "lying"}
    assert 0 < sum(one["score"] for one in said["predictions"]) != pytest.approx(1)
    assert classify(video, trained, "--threshold", "1")["labels"] == []
    assert len(classify(video, trained, "--threshold", "0")["labels"]) == 4
    rows = tsf("classify", video, "-m", trained, "--format", "csv", "--device", "cpu").stdout
    said_of = {row["label"]: row["said"] for row in csv.DictReader(rows.splitlines())}
    assert said_of == {"on|off": "yes", "lying": "yes", "red": "no", "upright": "no"}
    shown = tsf("classify", video, "-m", trained, "--device", "cpu")
    assert shown.stdout.count("+ ") == 2 and "several labels a video" in shown.stderr


def test_evaluate_gives_map_f1_and_each_class(trained, table, tmp_path):
    predictions = tmp_path / "all.jsonl"
    words = ("evaluate", table, "-m", trained, "--split", "test", "--device", "cpu")
    ran = tsf(*words, "--format", "json", "--predictions", predictions)
    assert ran.exit_code == 0, ran.stderr
    scores = json.loads(ran.stdout)["evaluations"][0]["scores"]
    assert scores["multi_label"] is True and scores["top1"] is None and scores["confusion"] == []
    rows = [json.loads(line) for line in predictions.read_text().splitlines()]
    for each in scores["several"]["classes"]:
        has = [each["label"] in split_labels(row["label"]) for row in rows]
        given = [
            next(p["score"] for p in row["predictions"] if p["label"] == each["label"])
            for row in rows
        ]
        expected = average_precision(np.array(has), np.array(given))
        assert (each["clips"], each["average_precision"]) == (2, pytest.approx(expected))
    assert scores["several"]["mean_average_precision"] >= 0.95
    shown = tsf(*words).stdout
    assert "mAP" in shown and "all labels right" in shown and "threshold" in shown
    low = tsf(*words, "--threshold", "0", "--format", "json").stdout
    assert json.loads(low)["evaluations"][0]["scores"]["correct"] == 0
    compared = tsf(*words, "--compare", trained)
    assert compared.exit_code == 0 and "McNemar" in compared.stdout


def test_columns_of_0_and_1_say_the_same_as_bars(trained, table, tmp_path):
    lines = ["path,red,upright,lying,on|off"]
    for row in csv.DictReader(table.read_text().splitlines()):
        if row["split"] == "test":
            labels = split_labels(row["label"])
            cells = (str(int(label in labels)) for label in ("red", "upright", "lying", "on|off"))
            lines.append(",".join([str(table.parent / row["path"]), *cells]))
    columns = tmp_path / "columns.csv"
    columns.write_text("\n".join(lines) + "\n")
    words = ("-m", trained, "--format", "json", "--device", "cpu")
    first = tsf("evaluate", table, "--split", "test", *words)
    second = tsf("evaluate", columns, *words)
    said = [
        json.loads(ran.stdout)["evaluations"][0]["scores"]["several"] for ran in (first, second)
    ]
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["classify", "VIDEO", "-m", "PLAIN", "--threshold", "0.5"],
            "--multi-label scores each class",
        ),
        (["evaluate", "TABLE", "-m", "PLAIN", "--threshold", "0.5"], "--threshold is for several"),
        (["evaluate", "TABLE", "-m", "MODEL", "--confusion", "x.png"], "no confusion matrix"),
        (
            ["classify", "VIDEO", "-m", "MODEL", "--threshold", "2"],
            "should be less than or equal to 1",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(trained, table, init, words, message):
    video = next(table.parent.glob("*-test-*.mp4"))
    places = {"VIDEO": video, "TABLE": table, "MODEL": trained, "PLAIN": init}
    ran = tsf(*(places.get(word, word) for word in words))
    assert ran.exit_code == 2 and message in ran.stderr
    assert ran.stderr.count("error:") == 1


def test_a_dry_run_counts_clips_and_their_labels(table, init, tmp_path):
    ran = tsf("train", table, "--multi-label", "--init", init, *QUICK, "--dry-run", "-o", tmp_path)
    assert ran.exit_code == 0, ran.stderr
    said = " ".join(ran.stdout.split())
    assert "several labels a clip: 2 to 2, 2.0 on average; 0 clips have none" in said
    assert "on|off 8 4 2" in said


def test_a_model_of_one_label_can_be_asked_for_several(init, table):
    video = next(table.parent.glob("*-test-*.mp4"))
    one, many = classify(video, init), classify(video, init, "--multi-label")
    assert (one["multi_label"], many["multi_label"]) == (False, True) and "labels" not in one
    model = load_path(Path(init))[0]
    shares = np.array([p["score"] for p in sorted(one["predictions"], key=lambda p: p["index"])])
    alone = np.array([p["score"] for p in sorted(many["predictions"], key=lambda p: p["index"])])
    logits = np.log(alone / (1 - alone))
    assert np.exp(logits) / np.exp(logits).sum() == pytest.approx(shares, abs=2e-5)
    assert len(model.labels) == len(alone)
    parts = classify(video, init, "--multi-label", "--device", "cpu,cpu")
    assert [p["label"] for p in parts["predictions"]] == [p["label"] for p in many["predictions"]]
