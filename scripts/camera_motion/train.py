"""Train a model like the bundled camera-motion one, on clips that are made meanwhile.

By two processes of one thread each:
torchrun --nproc-per-node 2 -m scripts.camera_motion.train
A run with the same --out goes on from its last checkpoint; one with --init begins with the weights
that another ended with.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from scripts.camera_motion.data import Maker
from scripts.camera_motion.paths import FRAMES, LABELS, SIDE, UNCLEAR
from scripts.camera_motion.pictures import PACKAGES, Picture, load_pictures, textures
from scripts.camera_motion.report import calibration, evaluate, write_card
from scripts.camera_motion.samples import PREPROCESSING, USES, HeldOut, MadeClips
from timesformer_cli.config import ModelConfig, Sampling
from timesformer_cli.files import replace_file
from timesformer_cli.inference.process_tuning import keep_freed_memory
from timesformer_cli.model import TimeSformer
from timesformer_cli.training import checkpoint
from timesformer_cli.training.loop import Training
from timesformer_cli.training.processes import Processes, processes
from timesformer_cli.training.randomness import seeded
from timesformer_cli.training.recipe import REFERENCE, Recipe
from timesformer_cli.training.state import Settings, TrainingCallbacks
from timesformer_cli.weights.load import load_path, save_model

CONFIG = ModelConfig(
    attention="divided",
    embedding="flow-stem",
    dim=128,
    depth=6,
    heads=4,
    mlp_dim=512,
    frames=FRAMES,
    height=SIDE,
    width=SIDE,
    patch=16,
    classes=len(LABELS),
)
EPOCHS = 25  # which see 153,600 clips
CLIPS = 3072  # made in an epoch, by all processes together
BATCH = 32  # clips a step, by all processes together
RATE = 8e-4
BESIDE = 4 * (FRAMES - 1)  # outputs that learn the camera's path, and are cut off at the end
WATCHED = 500  # held-out clips, after each epoch
HELD_OUT_SEED = 1_000_003


def recipe(epochs: int) -> Recipe:
    """The recipe of this training."""
    return Recipe(
        optimizer="adamw",
        # A recipe's rate is for REFERENCE clips and grows with the square root of their number.
        learning_rate=RATE * (REFERENCE / BATCH) ** 0.5,
        schedule="cosine",
        epochs=epochs,
        weight_decay=0.05,
        warmup=0.03,
        clip_gradient=1.0,
        beta2=0.99,
        average=0.998,
        label_smoothing=0.05,
    )


def begin(options: argparse.Namespace, joined: Processes) -> tuple[Training, str]:
    """A training at its start, or where the checkpoint in `--out` left it.

    With which weights it began is said in words: a run that goes on may be without its `--init`.
    """
    words = {"epochs": options.epochs, "seed": options.seed}
    stored, beginning = None, "with random weights"

    def log(history: list[dict[str, Any]]) -> None:
        if joined.first:
            lines = [json.dumps(row) + "\n" for row in history]
            replace_file(options.out / "log.jsonl", "".join(lines).encode())
            sys.stderr.write(lines[-1])

    with seeded(options.seed):
        model = TimeSformer(replace(CONFIG, classes=len(LABELS) + BESIDE))
    if (options.out / checkpoint.NAME).exists():
        stored = checkpoint.read_training_state(options.out)
        if stored["words"] != words:
            raise SystemExit(f"{options.out} holds a training of {stored['words']}, not of {words}")
        beginning = stored["beginning"]
    elif options.init is not None:
        before = earlier(options.init)
        model.load_state_dict(before["training"]["average"])
        beginning = (
            f"with the weights of an earlier run, which had seen {seen_in(before['words']['epochs']):,} "
            f"clips in {before['training']['position']['seconds'] / 60:.0f} minutes"
        )
    settings = Settings(
        recipe=recipe(options.epochs),
        classes=len(LABELS),
        batch_size=BATCH // joined.count,
        seed=options.seed,
        dtype=torch.bfloat16,
    )
    hooks = TrainingCallbacks(
        epoch=log,
        save=lambda state: checkpoint.save_training_state(
            {"words": words, "beginning": beginning, "training": state}, options.out
        ),
    )
    training = Training(model, settings, joined, hooks)
    if stored is not None:
        training.load(stored["training"])
    return training, beginning


def earlier(folder: Path) -> dict[str, Any]:
    """Where another run ended."""
    stored = checkpoint.read_training_state(folder)
    if stored["training"]["position"]["epoch"] < stored["words"]["epochs"]:
        raise SystemExit(f"the training in {folder} has not ended")
    return stored


def seen_in(epochs: int) -> int:
    """How many clips so many epochs show."""
    return epochs * CLIPS * USES


def finished(trained: nn.Module) -> TimeSformer:
    """The trained model without the outputs beside its classes."""
    assert isinstance(trained, TimeSformer)
    weights = trained.state_dict()
    for name in ("head.weight", "head.bias"):
        weights[name] = weights[name][: len(LABELS)]
    model = TimeSformer(
        replace(trained.config, classes=len(LABELS)),
        labels=LABELS,
        preprocessing=PREPROCESSING,
        sampling=Sampling(frames=FRAMES, stride=8),
    )
    model.load_state_dict(weights)
    return model


def pictures_of(folder: Path, joined: Processes) -> dict[str, list[Picture]]:
    """The pictures by split; the first process prepares them for all processes."""
    pictures = load_pictures(folder) if joined.first else {}
    joined.gather(None)  # the others wait here for the first
    return pictures or load_pictures(folder)


def train(options: argparse.Namespace, joined: Processes) -> None:
    """Train, write the averaged weights in float16, and measure the model as it was written."""
    pictures = pictures_of(options.pictures, joined)
    maker = Maker(options.seed, pictures["train"], textures(options.seed, 300), teaches=True)
    unseen = Maker(HELD_OUT_SEED, pictures["held-out"], textures(HELD_OUT_SEED, 40))
    training, beginning = begin(options, joined)
    made = MadeClips(maker, CLIPS, options.seed)
    # For so few tokens its plain form is faster to go back through than the fused one.
    with sdpa_kernel(SDPBackend.MATH):
        training.run(made, HeldOut(cache(unseen), WATCHED))
    model = finished(training.result)
    by, less = calibration(model, unseen, options.calibration_clips, joined)
    if joined.first:
        with torch.no_grad():
            model.head.weight /= by
            model.head.bias /= by
            model.head.bias[UNCLEAR] -= less
        save_model(model, options.out, torch.float16)
    joined.gather(None)
    model = load_path(options.out)[0]
    report = evaluate(model, unseen, options.test_clips, joined)
    if not joined.first:
        return
    facts = {
        "parameters": sum(p.numel() for p in model.parameters()) / 1e6,
        "depth": model.config.depth,
        "packages": ", ".join(PACKAGES),
        "train_pictures": len(pictures["train"]),
        "held_out_pictures": len(pictures["held-out"]),
        "beginning": beginning,
        "seen": seen_in(options.epochs),
        "fresh": options.epochs * CLIPS,
        "minutes": training.position.seconds / 60,
        "processes": joined.count,
        "rate": RATE,
        "temperature": by,
        "less_unclear": less,
        "calibration_clips": options.calibration_clips,
        "beside": BESIDE,
        "batch": BATCH,
    }
    replace_file(options.out / "report.json", json.dumps(report, indent=2).encode())
    replace_file(options.out / "README.md", write_card(report, facts).encode())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/camera-motion"), help="model, checkpoint and log"
    )
    parser.add_argument(
        "--pictures", type=Path, default=Path("build/pictures"), help="cache of pictures"
    )
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"of {CLIPS} clips, used twice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--init", type=Path, help="the --out of a run that has ended, whose weights to begin with"
    )
    parser.add_argument("--test-clips", type=int, default=10_000, help="held-out clips at the end")
    parser.add_argument(
        "--calibration-clips", type=int, default=2_000, help="held-out clips for the scores"
    )
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    cv2.setNumThreads(1)  # clips are too small to be shared among threads
    with processes("cpu") as joined:
        train(options, joined)


if __name__ == "__main__":
    main()
