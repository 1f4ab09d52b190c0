"""Train a model like the bundled camera-motion one from nothing, on clips that are made meanwhile.

Two runs of two processes of one thread each, the second one deeper and on from the first:
torchrun --nproc-per-node 2 -m scripts.camera_motion.train --out build/shallow
torchrun --nproc-per-node 2 -m scripts.camera_motion.train --after build/shallow
A run with the same --out goes on from its last checkpoint.
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
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from scripts.camera_motion.data import Maker
from scripts.camera_motion.paths import FRAMES, LABELS, SIDE
from scripts.camera_motion.pictures import PACKAGES, Picture, load_pictures, textures
from scripts.camera_motion.report import evaluate, temperature, write_card
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
    embedding="conv-stem",
    dim=128,
    depth=4,
    heads=2,
    mlp_dim=512,
    frames=FRAMES,
    height=SIDE,
    width=SIDE,
    patch=16,
    classes=len(LABELS),
)
EPOCHS = 40  # which see 245,760 clips
DEEPER = 6  # blocks of a run that goes on from a finished one
EPOCHS_DEEPER = 24  # of such a run, which see 147,456 clips
CLIPS = 3072  # made in an epoch, by all processes together
BATCH = 32  # clips a step, by all processes together
RATE = 8e-4
RATE_DEEPER = 4e-4
# Share of such a run's weights in the end, the rest is of the run before: weights between the two
# are right more often on footage unlike the clips (arXiv 2109.01903).
MIXED = 0.7
SEED_DEEPER = 1  # added to the seed: such a run sees other clips than the one before
BESIDE = 4 * (FRAMES - 1)  # outputs that learn the camera's path, and are cut off at the end
WATCHED = 500  # held-out clips, after each epoch
HELD_OUT_SEED = 1_000_003


def recipe(epochs: int, rate: float) -> Recipe:
    """The recipe of this training."""
    return Recipe(
        optimizer="adamw",
        # A recipe's rate is for REFERENCE clips and grows with the square root of their number.
        learning_rate=rate * (REFERENCE / BATCH) ** 0.5,
        schedule="cosine",
        epochs=epochs,
        weight_decay=0.05,
        warmup=0.03,
        clip_gradient=1.0,
        beta2=0.99,
        average=0.998,
        label_smoothing=0.05,
    )


def deepened(shallow: dict[str, Tensor], config: ModelConfig) -> TimeSformer:
    """A network that computes what a shallower one with these weights does.

    The last matrix of every branch of the blocks that are new is zero, so they do nothing yet, as
    in Net2Net (Chen et al. 2016, section 2.3).
    """
    model = TimeSformer(config)
    new = [
        block for n, block in enumerate(model.blocks) if f"blocks.{n}.norm.weight" not in shallow
    ]
    for block in new:
        nn.init.zeros_(block.mlp.fc2.weight)
        for branch in block.passes:
            nn.init.zeros_((branch.attention.proj if branch.fc is None else branch.fc).weight)
    model.load_state_dict(model.state_dict() | shallow)
    return model


def begin(options: argparse.Namespace, joined: Processes) -> Training:
    """A training at its start, or where the checkpoint in `--out` left it."""
    deeper = options.after is not None
    epochs = options.epochs or (EPOCHS_DEEPER if deeper else EPOCHS)
    words = {"epochs": epochs, "seed": options.seed, "deeper": deeper}
    config = replace(CONFIG, classes=len(LABELS) + BESIDE)

    def log(history: list[dict[str, Any]]) -> None:
        if joined.first:
            lines = [json.dumps(row) + "\n" for row in history]
            replace_file(options.out / "log.jsonl", "".join(lines).encode())
            sys.stderr.write(lines[-1])

    with seeded(options.seed):
        if deeper:
            shallow = checkpoint.read_training_state(options.after)["training"]["average"]
            model = deepened(shallow, replace(config, depth=DEEPER))
        else:
            model = TimeSformer(config)
    settings = Settings(
        recipe=recipe(epochs, RATE_DEEPER if deeper else RATE),
        classes=len(LABELS),
        batch_size=BATCH // joined.count,
        seed=options.seed,
        dtype=torch.bfloat16,
    )
    hooks = TrainingCallbacks(
        epoch=log,
        save=lambda state: checkpoint.save_training_state(
            {"words": words, "training": state}, options.out
        ),
    )
    training = Training(model, settings, joined, hooks)
    if (options.out / checkpoint.NAME).exists():
        stored = checkpoint.read_training_state(options.out)
        if stored["words"] != words:
            raise SystemExit(f"{options.out} holds a training of {stored['words']}, not of {words}")
        training.load(stored["training"])
    return training


def mixed(trained: TimeSformer, shallow: dict[str, Tensor]) -> TimeSformer:
    """The weights between a shallower network's and those that training on from it made of them."""
    before = deepened(shallow, trained.config).state_dict()
    between = {
        name: torch.lerp(before[name], tensor, MIXED) if tensor.is_floating_point() else tensor
        for name, tensor in trained.state_dict().items()
    }
    model = TimeSformer(trained.config)
    model.load_state_dict(between)
    return model


def before(folder: Path) -> str:
    """A sentence about the finished run in a folder."""
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    return (
        f"A network of {CONFIG.depth} blocks came first: {last['epoch'] * CLIPS * USES:,} clips, "
        f"{last['seconds'] / 60:.0f} minutes, at {RATE}, easy clips at the beginning. The blocks "
        f"above them did nothing at first. These weights are {1 - MIXED:.0%} that network's and "
        f"{MIXED:.0%} those of a second run, on from it: "
    )


def finished(trained: TimeSformer) -> TimeSformer:
    """The trained model without the outputs beside its classes."""
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
    first = options.after is None
    seed = options.seed + (0 if first else SEED_DEEPER)
    maker = Maker(seed, pictures["train"], textures(options.seed, 300))
    unseen = Maker(HELD_OUT_SEED, pictures["held-out"], textures(HELD_OUT_SEED, 40))
    training = begin(options, joined)
    epochs = training.settings.recipe.epochs
    made = MadeClips(maker, CLIPS, epochs, seed, easy=first)
    # For so few tokens its plain form is faster to go back through than the fused one.
    with sdpa_kernel(SDPBackend.MATH):
        training.run(made, HeldOut(cache(unseen), WATCHED))
    trained = training.result
    assert isinstance(trained, TimeSformer)
    if not first:
        shallow = checkpoint.read_training_state(options.after)["training"]["average"]
        trained = mixed(trained, shallow)
    model = finished(trained)
    by = temperature(model, unseen, options.calibration_clips, joined)
    if joined.first:
        with torch.no_grad():
            model.head.weight /= by
            model.head.bias /= by
        save_model(model, options.out, torch.float16)
    joined.gather(None)
    model = load_path(options.out)[0]
    report = evaluate(model, unseen, options.test_clips, joined)
    if not joined.first:
        return
    facts = {
        "parameters": sum(p.numel() for p in model.parameters()) / 1e6,
        "depth": model.config.depth,
        "before": "" if first else before(options.after),
        "of_first": "" if first else " of the first run",
        "packages": ", ".join(PACKAGES),
        "train_pictures": len(pictures["train"]),
        "held_out_pictures": len(pictures["held-out"]),
        "seen": epochs * CLIPS * USES,
        "fresh": epochs * CLIPS,
        "minutes": training.position.seconds / 60,
        "processes": joined.count,
        "rate": RATE if first else RATE_DEEPER,
        "temperature": by,
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
    parser.add_argument(
        "--after", type=Path, help=f"go on from a finished run's folder with {DEEPER} blocks"
    )
    parser.add_argument("--epochs", type=int, help=f"of {CLIPS} clips, used twice")
    parser.add_argument("--seed", type=int, default=0)
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
