"""Train on one set of UT-Interaction, test on the other: the table of docs/training.md.

Needs the data set's clips with a clips.csv (path, label, set, sequence). Runs that were begun are
resumed, and finished ones only read, so it may be stopped at any time. Recipes are chosen by
`--folds`, which takes nothing from the other set:

    python -m scripts.ut_interaction DATA --folds 2 --more "--learning-rate 1e-3" --out build/rate
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import fmean

import av
import torch
import torch.nn.functional as F
from torch import Tensor

from timesformer_cli.model import TimeSformer
from timesformer_cli.model.inflate import inflate
from timesformer_cli.weights.load import load_model, save_model

INIT = "camera-motion"
STARTS = ("random", INIT)
ATTENTIONS = ("divided", "space")
TRAIN, TEST = "1", "2"  # the sets
SIDE = 64  # px: less than half of the patches that the network takes of 96
OPTIONS = "--val-fraction 0 --preset light --batch-size 4 --workers 1 --timeout 600".split()
NEIGHBOURS = 5


def read_rows(data: Path) -> list[dict[str, str]]:
    """The data set's own table, paths made absolute."""
    with (data / "clips.csv").open(newline="") as file:
        return [row | {"path": str((data / row["path"]).resolve())} for row in csv.DictReader(file)]


def held_out(rows: list[dict[str, str]], folds: int, fold: int) -> list[dict[str, str]]:
    """Rows with their split: set 2 is the test, or else that fold of set 1, by scenes."""
    if not folds:
        return [row | {"split": {TRAIN: "train", TEST: "test"}[row["set"]]} for row in rows]
    return [
        row | {"split": "test" if int(row["sequence"]) % folds == fold else "train"}
        for row in rows
        if row["set"] == TRAIN
    ]


def write_table(rows: list[dict[str, str]], path: Path) -> None:
    """The table that `tsf train` takes."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, ["path", "label", "split"], extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)


def starting(attention: str, seed: int | None, folder: Path) -> str:
    """The network of `camera-motion` for small pictures and whole videos, as a model folder.

    With a seed its weights are random.
    """
    if not (folder / "config.json").exists():
        source = load_model(INIT)[0]
        config = replace(source.config.with_attention(attention), height=SIDE, width=SIDE)
        if seed is None:
            model = inflate(source, config)
        else:
            torch.manual_seed(seed)
            model = TimeSformer(config)
        model.labels = source.labels
        model.preprocessing = replace(source.preprocessing, resize=SIDE, crop=(SIDE, SIDE))
        model.sampling = replace(source.sampling, stride=None)
        save_model(model, folder)
    return str(folder)


def accuracy(table: Path, init: str, attention: str, out: Path, more: list[str]) -> float:
    """Train, or go on, or read what is done: the share of test clips that are right."""
    results = out / "results.json"
    if not results.exists():
        command = [sys.executable, "-m", "timesformer_cli", "train"]
        if (out / "last.pt").exists():
            command += ["--resume", str(out)]
        else:
            command += [str(table), "--init", init, "--attention", attention, "-o", str(out)]
            command += [*OPTIONS, *more]
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
    train = torch.tensor([row["split"] == "train" for row in rows])
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of the data set, with its clips.csv")
    parser.add_argument("--out", type=Path, default=Path("build/ut-interaction"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS)
    parser.add_argument("--attentions", nargs="+", default=ATTENTIONS)
    parser.add_argument("--folds", type=int, default=0, help="of set 1, instead of set 2")
    parser.add_argument("--more", default="", help="options of tsf train; give an --out of its own")
    options = parser.parse_args()
    folds = range(options.folds or 1)
    splits = [held_out(read_rows(options.data), options.folds, fold) for fold in folds]
    print("| what is seen | top-1, mean | runs |")
    print("| --- | --: | --- |")
    for start, attention in product(options.starts, options.attentions):
        shares = []
        for seed, fold in product(options.seeds, folds):
            part = f"-fold-{fold}" if options.folds else ""
            folder = options.out / f"{start}-{attention}-{seed}{part}"
            folder.mkdir(parents=True, exist_ok=True)
            table = folder.with_suffix(".csv")
            write_table(splits[fold], table)
            random = seed if start == "random" else None
            init = starting(attention, random, folder.with_suffix(".start"))
            more = ["--seed", str(seed), *options.more.split()]
            shares.append(accuracy(table, init, attention, folder, more))
        runs = ", ".join(f"{share:.1%}" for share in shares)
        print(f"| {attention}, from {start} | {fmean(shares):.1%} | {runs} |", flush=True)
    baselines = [size_baselines(rows) for rows in splits]
    for name in baselines[0]:
        print(
            f"| width and height only, {name} | {fmean(each[name] for each in baselines):.1%} | |"
        )
    print(f"| chance | {1 / len({row['label'] for row in splits[0]}):.1%} | |")


if __name__ == "__main__":
    main()
