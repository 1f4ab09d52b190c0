"""How well vectors find clips of the same class: the table of docs/library.md.

Two tasks. UT-Interaction: the clips of set 2 are searched for among those of set 1, with a model
that was trained on set 1. Made clips of camera motion: each is searched for among the others, with
the bundled model. Beside the vectors that `tsf embed` writes stand the model's scores (softmax) as
vectors. All by cosine.

    python -m scripts.library.retrieval --ut ../shared/datasets/ut_interaction --pictures build/pictures
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from scripts.camera_motion.data import Maker
from scripts.camera_motion.paths import LABELS
from scripts.camera_motion.pictures import load_pictures, textures
from scripts.camera_motion.train import HELD_OUT_SEED
from scripts.ut_interaction import TEST, TRAIN, held_out, read_rows, starting, write_table
from timesformer_cli.inference.open import open_model

Floats = NDArray[np.floating]
NEAREST = 5
TEXTURES = 40
TRAINING = "--val-fraction 0 --preset light --batch-size 4 --workers 1 --timeout 600 --seed 0"


def judged(
    queries: Floats, wanted: Sequence[str], among: Floats, labels: Sequence[str], *, alone: bool
) -> tuple[float, float]:
    """Mean average precision, and the share of the five nearest that have the query's label.

    With `alone` the queries are the rows themselves, and none finds itself.
    """
    queries, among = (
        each / np.linalg.norm(each, axis=1, keepdims=True) for each in (queries, among)
    )
    alike = queries @ among.T
    if alone:
        np.fill_diagonal(alike, -np.inf)
    names = np.array(labels)
    means, nearest = [], []
    for row, label in zip(alike, wanted, strict=True):
        order = np.argsort(-row)[: len(row) - alone]
        right = names[order] == label
        ranks = np.flatnonzero(right) + 1
        means.append((np.arange(1, len(ranks) + 1) / ranks).mean() if len(ranks) else 0.0)
        nearest.append(right[:NEAREST].mean())
    return float(np.mean(means)), float(np.mean(nearest))


def row_of(task: str, what: str, width: int, found: tuple[float, float]) -> str:
    """One line of the table."""
    return f"| {task} | {what} | {width} | {found[0]:.3f} | {found[1]:.3f} |"


def tsf(*words: object) -> str:
    """What the command writes to stdout."""
    command = [sys.executable, "-m", "timesformer_cli", *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def interactions(data: Path, out: Path, epochs: int) -> None:
    """Train on set 1, embed both sets, and search for the clips of set 2 in set 1."""
    out.mkdir(parents=True, exist_ok=True)
    rows = read_rows(data)
    model = out / "model"
    if not (model / "results.json").exists():
        write_table(held_out(rows, 0, 0), out / "clips.csv")
        init = starting("divided", None, out / "start")
        words = [out / "clips.csv", "--init", init, "--epochs", epochs, "-o", model]
        tsf("train", *words, *TRAINING.split())
    told = json.loads((model / "results.json").read_text())
    paths = [row["path"] for row in rows]
    lines = tsf("embed", *paths, "-m", model, "--top-k", 1000, "--workers", 1).splitlines()
    videos = [json.loads(line) for line in lines]
    assert [video["video"] for video in videos] == paths
    first = [video["embeddings"][0] for video in videos]
    scores = np.zeros((len(first), len(first[0]["predictions"])))
    for number, each in enumerate(first):
        for said in each["predictions"]:
            scores[number, said["index"]] = said["score"]
    test = np.array([row["set"] == TEST for row in rows])
    train = np.array([row["set"] == TRAIN for row in rows])
    labels = np.array([row["label"] for row in rows])
    accuracy = told["scores"]["test"]["accuracy"]
    task = f"UT-Interaction, set 2 in set 1 (top-1 {accuracy:.1%}, {epochs} epochs)"
    vectors = np.array([each["vector"] for each in first])
    for what, given in (("embeddings", vectors), ("softmax scores", scores)):
        found = judged(given[test], labels[test], given[train], labels[train], alone=False)
        print(row_of(task, what, given.shape[1], found), flush=True)


def motions(pictures: Path, clips: int) -> None:
    """Search for each of so many made clips among the others."""
    cv2.setNumThreads(1)
    shelf = load_pictures(pictures)["held-out"]
    make = Maker(HELD_OUT_SEED, shelf, textures(HELD_OUT_SEED, TEXTURES))
    model, _ = open_model("camera-motion", "cpu", "auto")
    vectors, scores, labels = [], [], []
    for number in range(clips):
        made = make(number)
        with torch.inference_mode():
            features = model.features(torch.from_numpy(made.clip)[None])
            scores.append(model.logits(features).softmax(-1)[0].numpy())
        vectors.append(features.float()[0].numpy())
        labels.append(LABELS[made.label])
    right = np.mean(
        [LABELS[int(each.argmax())] == label for each, label in zip(scores, labels, strict=True)]
    )
    task = f"camera motion, {clips} made clips (top-1 {right:.1%})"
    for what, given in (("embeddings", np.stack(vectors)), ("softmax scores", np.stack(scores))):
        found = judged(given, labels, given, labels, alone=True)
        print(row_of(task, what, given.shape[1], found), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ut", type=Path, help="folder of UT-Interaction, with its clips.csv")
    parser.add_argument("--out", type=Path, default=Path("build/retrieval"))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--pictures", type=Path, help="cache of pictures, for the made clips")
    parser.add_argument("--clips", type=int, default=500)
    given = parser.parse_args()
    print("| task | vectors | width | mAP | precision at 5 |")
    print("| --- | --- | ---: | ---: | ---: |", flush=True)
    if given.pictures is not None:
        motions(given.pictures, given.clips)
    if given.ut is not None:
        interactions(given.ut, given.out, given.epochs)


if __name__ == "__main__":
    main()
