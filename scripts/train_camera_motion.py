"""Train the bundled camera-motion model from nothing: two CPU cores, under two hours."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.distributed as dist
from camera_motion_batches import MEAN, STD, augment, make, normalise
from camera_motion_data import Maker
from camera_motion_paths import FRAMES, LABELS, SIDE
from camera_motion_pictures import PACKAGES, load_pictures, textures
from camera_motion_report import evaluate, write_card
from torch import Tensor, nn

from timesformer_cli.config import ModelConfig, Preprocessing, Sampling
from timesformer_cli.model import TimeSformer
from timesformer_cli.weights.description import Description
from timesformer_cli.weights.folder import write_folder

# Without these half of the time goes into the kernel's page faults for large, short-lived tensors.
ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "8589934592"}
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
DESCRIPTION = Description(
    config=CONFIG,
    labels=LABELS,
    sampling=Sampling(frames=FRAMES, stride=8),
    preprocessing=Preprocessing(
        short_side=SIDE, crop=(SIDE, SIDE), mean=(MEAN, MEAN, MEAN), std=(STD, STD, STD)
    ),
)
CHUNK = 1536  # clips that each process makes at a time
PASSES = 2  # times each is used, every time under another symmetry
BATCH = 16  # clips a process in one step
PEAK_RATE = 8e-4
WARM_UP = 200  # steps
EASY = 0.12  # share of the time in which clips go from undisturbed to fully disturbed
EMA = 0.998
HELD_OUT_SEED = 1_000_003
ASSETS = Path(__file__).parents[1] / "timesformer_cli" / "assets" / "camera-motion"


@dataclass
class Run:
    """A training under way: everything a checkpoint holds."""

    model: TimeSformer
    average: TimeSformer
    optimizer: torch.optim.AdamW
    chunk: int = 0
    steps: int = 0
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "counters": [self.chunk, self.steps, self.seconds],
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.chunk, self.steps, self.seconds = state["counters"]

    def update_average(self) -> None:
        """Move the averaged weights and statistics a little towards the current ones."""
        share = 1 - min(EMA, (1 + self.steps) / (10 + self.steps))
        new = self.model.state_dict()
        for name, old in self.average.state_dict().items():
            if old.is_floating_point():
                old.lerp_(new[name], share)
            else:
                old.copy_(new[name])


def start(seed: int) -> Run:
    """A fresh model, its average and its optimizer; biases, norms and positions do not decay."""
    torch.manual_seed(seed)
    model, average = TimeSformer(CONFIG), TimeSformer(CONFIG)
    average.load_state_dict(model.state_dict())
    average.eval()
    weights = [
        p for n, p in model.named_parameters() if p.ndim > 1 and "positions" not in n and n != "cls"
    ]
    chosen = {id(p) for p in weights}
    others = [p for p in model.parameters() if id(p) not in chosen]
    groups = [{"params": weights, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    return Run(model, average, torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.99)))


def batches(count: int, random: np.random.Generator) -> Iterator[Tensor]:
    """Shuffled whole batches of a chunk, PASSES times over."""
    for _ in range(PASSES):
        order = torch.from_numpy(random.permutation(count)[: count // BATCH * BATCH])
        yield from order.split(BATCH)


def share_gradients(model: nn.Module) -> None:
    """Average the gradients of all processes."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def train_chunk(
    run: Run, clips: Tensor, labels: Tensor, *, seed: int, budget: float
) -> dict[str, float]:
    """Train on one chunk, the learning rate falling with the elapsed share of the time budget."""
    random = np.random.default_rng([seed, 7, run.chunk, dist.get_rank()])
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    losses, right, seen = [], 0, 0
    run.model.train()
    elapsed = run.seconds
    began = time.perf_counter()
    for chosen in batches(len(clips), random):
        rate = PEAK_RATE * min(1, run.steps / WARM_UP)
        rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, run.seconds / budget)))
        for group in run.optimizer.param_groups:
            group["lr"] = max(rate, 1e-6)
        batch, target = augment(clips[chosen], labels[chosen], random)
        with torch.autocast("cpu", torch.bfloat16):
            logits = run.model(normalise(batch)).float()
        loss = loss_of(logits, target)
        run.optimizer.zero_grad()
        loss.backward()
        share_gradients(run.model)
        nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
        run.optimizer.step()
        run.steps += 1
        run.update_average()
        losses.append(float(loss.detach()))
        right += int((logits.argmax(1) == target).sum())
        seen += len(target)
        run.seconds = agreed(elapsed + time.perf_counter() - began)
        if run.seconds >= budget:
            break
    return {"loss": float(np.mean(losses)), "accuracy": right / seen, "rate": rate}


def agreed(seconds: float) -> float:
    """The first process's clock, so that all take the same steps."""
    clock = torch.tensor([seconds], dtype=torch.float64)
    dist.broadcast(clock, 0)
    return float(clock)


def finish(run: Run, makers: dict[str, Maker], options: argparse.Namespace) -> None:
    """Evaluate the averaged weights as they are stored, in float16, and write model and card."""
    run.average.half().float()
    report = evaluate(run.average, makers["held-out"], options.test_clips)
    if dist.get_rank() > 0:
        return
    (options.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    write_folder(options.assets, run.average.state_dict(), DESCRIPTION, torch.float16)
    world = dist.get_world_size()
    facts = {
        "parameters": sum(p.numel() for p in run.average.parameters()) / 1e6,
        "packages": ", ".join(PACKAGES),
        "train_pictures": len(makers["train"].pictures),
        "held_out_pictures": len(makers["held-out"].pictures),
        "seen": run.steps * BATCH * world,
        "fresh": run.chunk * CHUNK * world,
        "minutes": run.seconds / 60,
        "rate": PEAK_RATE,
        "batch": BATCH * world,
        "history": options.history,
    }
    (options.assets / "README.md").write_text(write_card(report, facts))


def work(
    rank: int, world: int, meeting: str, makers: dict[str, Maker], options: argparse.Namespace
) -> None:
    """One process of the training: its own clips, everyone's gradients.

    One thread a process: where other programs use the cores too, threads that meet at every
    operation wait for the one that lost its core; processes that meet once a step hardly do.
    """
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    run = start(options.seed)
    checkpoint = options.out / "checkpoint.pt"
    if checkpoint.exists():
        run.load(checkpoint)
    budget = options.minutes * 60

    def log(**facts: Any) -> None:
        if rank == 0:
            line = json.dumps({"seconds": round(run.seconds), **facts}) + "\n"
            sys.stderr.write(line)
            with (options.out / "log.jsonl").open("a") as file:
                file.write(line)

    while run.seconds < budget:
        began = time.perf_counter()
        first = (run.chunk * world + rank) * CHUNK
        hardness = min(1.0, run.seconds / (EASY * budget))
        clips, labels, _ = make(makers["train"], range(first, first + CHUNK), hardness)
        run.seconds = agreed(run.seconds + time.perf_counter() - began)
        facts = train_chunk(run, clips, labels, seed=options.seed, budget=budget)
        run.chunk += 1
        log(chunk=run.chunk, clips=run.steps * BATCH * world, hardness=hardness, **facts)
        if rank == 0:
            run.save(checkpoint)
        if run.chunk % 8 == 0:
            log(**evaluate(run.average, makers["held-out"], 1000))
    finish(run, makers, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("build/camera-motion"), help="checkpoints and log"
    )
    parser.add_argument("--assets", type=Path, default=ASSETS, help="where the model goes")
    parser.add_argument(
        "--pictures", type=Path, default=Path("build/pictures"), help="cache of pictures"
    )
    parser.add_argument("--minutes", type=float, default=86, help="time for making and training")
    parser.add_argument("--history", default="", help="a remark for the card's account of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--test-clips", type=int, default=10_000, help="held-out clips at the end")
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    options.out.mkdir(parents=True, exist_ok=True)

    cv2.setNumThreads(1)  # its threads would not survive the fork
    pictures = load_pictures(options.pictures)
    makers = {
        "train": Maker(options.seed, pictures["train"], textures(options.seed, 300)),
        "held-out": Maker(HELD_OUT_SEED, pictures["held-out"], textures(HELD_OUT_SEED, 40)),
    }
    with tempfile.TemporaryDirectory() as folder:
        context = get_context("fork")
        arguments = (options.processes, f"{folder}/meeting", makers, options)
        workers = [
            context.Process(target=work, args=(i, *arguments)) for i in range(options.processes)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    if any(worker.exitcode for worker in workers):
        raise SystemExit("the training failed; see above")


if __name__ == "__main__":
    main()
