"""Train on one set of UT-Interaction, test on the other: the table of docs/training.md.

Needs the data set's clips with a clips.csv (path, label, set, sequence). Runs that were begun are
resumed, and finished ones only read, so it may be stopped at any time.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import av
import torch
import torch.nn.functional as F
from torch import Tensor

from timesformer_cli.inference.models import load, save
from timesformer_cli.model import TimeSformer

INIT = "camera-motion"
ATTENTIONS = ("divided", "space")
TRAIN, TEST = "1", "2"  # the sets
# Eight frames over 3.2 seconds: most clips are a little longer.
OPTIONS = "--val-fraction 0 --stride 12 --batch-size 4 --learning-rate 2e-3 --workers 1 --timeout 600".split()
NEIGHBOURS = 5


def read_rows(data: Path) -> list[dict[str, str]]:
    """The data set's own table, paths made absolute."""
    with (data / "clips.csv").open(newline="") as file:
        return [row | {"path": str((data / row["path"]).resolve())} for row in csv.DictReader(file)]


def write_table(rows: list[dict[str, str]], path: Path) -> None:
    """The table that `tsf train` takes."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split"])
        for row in rows:
            table.writerow([row["path"], row["label"], {TRAIN: "train", TEST: "test"}[row["set"]]])


def untrained(attention: str, seed: int, folder: Path) -> Path:
    """The network of `camera-motion` with that attention and random weights, as a model folder."""
    if not (folder / "config.json").exists():
        source = load(INIT)[0]
        torch.manual_seed(seed)
        model = TimeSformer(
            replace(source.config, attention=attention),
            preprocessing=source.preprocessing,
            sampling=source.sampling,
        )
        save(model, folder)
    return folder


def accuracy(table: Path, init: str, attention: str, seed: int, out: Path, epochs: int) -> float:
    """Train, or go on, or read what is done: the share of test clips that are right."""
    results = out / "results.json"
    if not results.exists():
        command = [sys.executable, "-m", "timesformer_cli", "train"]
        if (out / "last.pt").exists():
            command += ["--resume", str(out)]
        else:
            command += [str(table), "--init", init, "--attention", attention, "-o", str(out)]
            command += [*OPTIONS, "--epochs", str(epochs), "--seed", str(seed)]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return float(json.loads(results.read_text())["scores"]["test"]["accuracy"])


def sizes(rows: list[dict[str, str]]) -> Tensor:
    """Logarithms of width, height and their ratio, `(clips 3)`."""
    found = []
    for row in rows:
        with av.open(row["path"]) as container:
            stream = container.streams.video[0]
            found.append((stream.width, stream.height))
    width, height = torch.tensor(found, dtype=torch.float64).log().unbind(1)
    return torch.stack([width, height, width - height], dim=1)


def size_baselines(rows: list[dict[str, str]]) -> dict[str, float]:
    """How well a clip's width and height alone tell its class."""
    labels = sorted({row["label"] for row in rows})
    classes = torch.tensor([labels.index(row["label"]) for row in rows])
    train = torch.tensor([row["set"] == TRAIN for row in rows])
    features = sizes(rows)
    features = (features - features[train].mean(0)) / features[train].std(0)
    nearest = torch.cdist(features[~train], features[train]).argsort(dim=1)[:, :NEIGHBOURS]
    votes = F.one_hot(classes[train][nearest], len(labels)).sum(dim=1)
    found = {"nearest neighbours": votes.argmax(dim=1)}
    features = torch.cat([features, features**2], dim=1)
    weight = torch.zeros(features.shape[1], len(labels), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(labels), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200)

    def loss() -> Tensor:
        optimizer.zero_grad()
        fit = F.cross_entropy(features[train] @ weight + bias, classes[train])
        total = fit + 0.01 * weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    found["logistic regression"] = (features[~train] @ weight + bias).argmax(dim=1)
    right = {name: answers == classes[~train] for name, answers in found.items()}
    return {name: float(hits.double().mean()) for name, hits in right.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data set, with its clips.csv")
    parser.add_argument("--out", type=Path, default=Path("build/ut-interaction"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = read_rows(options.data)
    table = options.out / "clips.csv"
    write_table(rows, table)
    found: dict[tuple[str, str], list[float]] = {}
    for seed in options.seeds:
        for attention in ATTENTIONS:
            random = untrained(attention, seed, options.out / f"untrained-{attention}-{seed}")
            for start, init in ((INIT, INIT), ("random weights", str(random))):
                out = options.out / f"{start.split()[0]}-{attention}-{seed}"
                share = accuracy(table, init, attention, seed, out, options.epochs)
                found.setdefault((start, attention), []).append(share)
    print("| what is seen | top-1 on set 2, mean | runs |")
    print("| --- | --: | --- |")
    for (start, attention), shares in found.items():
        runs = ", ".join(f"{share:.1%}" for share in shares)
        print(f"| {attention}, from {start} | {fmean(shares):.1%} | {runs} |")
    for name, share in size_baselines(rows).items():
        print(f"| width and height only, {name} | {share:.1%} | |")
    print(f"| chance | {1 / len({row['label'] for row in rows}):.1%} | |")


if __name__ == "__main__":
    main()
