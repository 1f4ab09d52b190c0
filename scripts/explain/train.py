"""Train tiny models on clips of which is known what decides: see `scripts.explain.clips`.

    python -m scripts.explain.train build/explain --schemes divided space --seeds 0 1

In the first lesson all nine bars turn the same way; whenever the model is right in nine of ten clips,
more of them become decoys. A model that is there is passed over, and one whose clips are of the same
kind starts with the stem of the first.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.explain.clips import CLASSES, DECOYS, FRAMES, PATCH, SIDE, make_clips
from timesformer_cli.config import ModelConfig, Preprocessing, Sampling
from timesformer_cli.inference.exported.model import normalise
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.patches import ConvStem
from timesformer_cli.schemes import SCHEMES
from timesformer_cli.video.facts import Pixels
from timesformer_cli.weights.load import load_model, save_model

TESTED = ("divided", "joint", "sparse", "windowed", "space")
DIM, DEPTH, HEADS = 32, 2, 2
TURNING = (1 + DECOYS, 4, 2, 1)  # bars that turn, from lesson to lesson
BATCH, RATE, WARMUP = 16, 3e-3, 30
JUDGED = 12  # batches that a lesson is judged by
LEARNED = (0.9, 0.9, 0.9, 0.97)  # share of right clips that ends each lesson
COOLING = 40  # steps with a falling rate, until ENOUGH of fresh clips are right
ENOUGH, CHECKED = 0.95, 400
MOST_STEPS = 2000
FRESH = 1000  # seed of clips that no model is trained on


def new_model(attention: str, seed: int) -> TimeSformer:
    """A tiny network with random weights, wide enough that few steps train it."""
    torch.manual_seed(seed)
    config = ModelConfig(
        attention=attention,
        embedding="conv-stem",
        dim=DIM,
        depth=DEPTH,
        heads=HEADS,
        mlp_dim=2 * DIM,
        frames=FRAMES,
        height=SIDE,
        width=SIDE,
        patch=PATCH,
        classes=len(CLASSES),
    )
    model = TimeSformer(
        config,
        labels=CLASSES,
        preprocessing=Preprocessing(resize=SIDE, crop=(SIDE, SIDE)),
        sampling=Sampling(frames=FRAMES, stride=1),
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("positions"):
                parameter.normal_(0, 0.3)
            elif parameter.ndim == 2:
                parameter.normal_(0, parameter.shape[1] ** -0.5)
    narrow(model)
    return model.eval()


def narrow(model: TimeSformer) -> None:
    """Let the stem see one frame before and one after, and no farther.

    What decides a clip is then known to no other patch than `MadeClips.decisive` has, until attention
    tells it.
    """
    assert isinstance(model.patches, ConvStem)
    convolutions = [each for each in model.patches.stages if isinstance(each, torch.nn.Conv3d)]
    with torch.no_grad():
        for convolution in convolutions[1:]:
            convolution.weight[:, :, [0, 2]] = 0


def as_input(model: TimeSformer, frames: Pixels) -> Tensor:
    """Clips `(n t height width 3)` as the network takes them."""
    wanted = model.preprocessing
    return torch.from_numpy(normalise(frames, wanted.mean, wanted.std))


def answers(model: TimeSformer, frames: Pixels) -> Tensor:
    """The class of each clip."""
    with torch.inference_mode():
        return torch.cat([model(as_input(model, part)) for part in batches(frames)]).argmax(1)


def batches(frames: Pixels) -> Iterator[Pixels]:
    """The clips in parts of BATCH."""
    yield from (frames[first : first + BATCH] for first in range(0, len(frames), BATCH))


class Pupil:
    """A model in training."""

    def __init__(self, model: TimeSformer, seed: int) -> None:
        self.model, self.random = model, np.random.default_rng(seed)
        self.in_time = model.config.scheme.sees_time
        matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
        )
        self.steps = 0

    def step(self, turning: int, rate: float) -> float:
        """Learn from a batch; the share of its clips that were right."""
        made = make_clips(self.random, BATCH, in_time=self.in_time, turning=turning)
        classes = torch.from_numpy(made.classes)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        logits = self.model(as_input(self.model, made.frames))
        self.optimizer.zero_grad()
        F.cross_entropy(logits, classes).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        narrow(self.model)
        self.model.eval()
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise SystemExit(f"not learned in {MOST_STEPS} steps")
        return float((logits.argmax(1) == classes).float().mean())

    def learn(self) -> float:
        """All lessons; the share of fresh clips that are right then."""
        for turning, wanted in zip(TURNING, LEARNED, strict=True):
            right = deque[float](maxlen=JUDGED)
            while len(right) < JUDGED or np.mean(right) < wanted:
                right.append(self.step(turning, RATE * min(1, (1 + self.steps) / WARMUP)))
            print(f"  {self.steps} steps: {turning} of {1 + DECOYS} bars", flush=True)
        while True:
            for step in range(COOLING):
                self.step(TURNING[-1], RATE * (1 - step / COOLING))
            fresh = make_clips(np.random.default_rng(FRESH), CHECKED, in_time=self.in_time)
            share = float((answers(self.model, fresh.frames).numpy() == fresh.classes).mean())
            if share >= ENOUGH:
                return share


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=TESTED)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    options = parser.parse_args()
    torch.set_num_threads(1)  # more would wait for one another
    for seed, scheme in product(options.seeds, options.schemes):
        folder, first = (options.folder / f"{name}-{seed}" for name in (scheme, TESTED[0]))
        if folder.exists():
            continue
        began = time.process_time()
        pupil = Pupil(new_model(scheme, seed), seed)
        if pupil.in_time and first.exists():
            stem = load_model(str(first))[0].patches
            pupil.model.patches.load_state_dict(stem.state_dict())
        share = pupil.learn()
        print(
            f"{folder.name}: {share:.1%} of {CHECKED} fresh clips after {pupil.steps} steps, "
            f"{time.process_time() - began:.0f} s of processor time",
            flush=True,
        )
        save_model(pupil.model, folder)


if __name__ == "__main__":
    main()
