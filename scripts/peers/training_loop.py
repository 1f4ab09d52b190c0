"""The training loop beside a plain PyTorch loop over the same decoded clips: CPU seconds an epoch.

Both augment, mix nothing, step and average in the same way; ours also draws by purpose, counts,
reports and may be stopped. They take turns, and medians are compared:

    python -m scripts.peers.training_loop --rounds 7
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from timesformer_cli.config import ModelConfig, Preprocessing, Sampling
from timesformer_cli.model import TimeSformer
from timesformer_cli.training.augment import augmentation
from timesformer_cli.training.clips import TrainingClip, TrainingClips
from timesformer_cli.training.loop import Training
from timesformer_cli.training.processes import Processes
from timesformer_cli.training.recipe import PRESETS
from timesformer_cli.training.samples import ClipSamples
from timesformer_cli.training.state import Settings, TrainingCallbacks
from timesformer_cli.video import VideoPath

CLIPS, CLASSES, BATCH = 24, 6, 4
RECIPE = replace(PRESETS["light"], epochs=1000)


def clips_in_memory(config: ModelConfig) -> ClipSamples:
    """Clips whose frames are held already, as after the first epochs of a training of few clips."""
    random = np.random.default_rng(0)
    height, width = round(config.height * 8 / 7), round(config.width * 32 / 21)
    shape = (config.frames, height, width, 3)
    look = Preprocessing(resize=config.height, crop=(config.height, config.width))
    clips: Any = TrainingClips(
        pool=None,  # type: ignore[arg-type]
        examples=[TrainingClip(VideoPath(f"{n}.mp4"), n % CLASSES) for n in range(CLIPS)],
        sampling=Sampling(frames=config.frames, stride=None),
        preprocessing=look,
        draws=1,
    )
    clips._held.update(
        {(n, 0): random.integers(0, 256, shape, dtype=np.uint8) for n in range(CLIPS)}
    )
    clips.pool = _NoPool()
    return ClipSamples(clips, augmentation(RECIPE, look), torch.device("cpu"))


class _NoPool:
    def decode(self, *_: Any, **__: Any) -> Any:
        return iter(())


class Plain:
    """What anyone would write."""

    def __init__(self, model: TimeSformer, samples: ClipSamples) -> None:
        self.model, self.samples = model, samples
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=RECIPE.learning_rate)
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9998))

    def epoch(self) -> None:
        frames = [self.samples.clips._held[n, 0] for n in range(CLIPS)]
        self.model.train()
        order = torch.randperm(CLIPS).tolist()
        for start in range(0, CLIPS, BATCH):
            chosen = order[start : start + BATCH]
            inputs = torch.stack(
                [
                    self.samples.transform(torch.tensor(frames[n]).permute(0, 3, 1, 2))
                    for n in chosen
                ]
            )
            targets = torch.tensor([n % CLASSES for n in chosen])
            loss = F.cross_entropy(self.model(inputs), targets, label_smoothing=0.1)
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.average.update_parameters(self.model)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--image-size", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    side = options.image_size
    config = ModelConfig.of_size(options.size, height=side, width=side, classes=CLASSES)
    samples = clips_in_memory(config)
    torch.manual_seed(0)
    ours = Training(
        TimeSformer(config),
        Settings(recipe=RECIPE, classes=CLASSES, batch_size=BATCH),
        Processes(),
        TrainingCallbacks(),
    )
    plain = Plain(TimeSformer(config), samples)

    def our_epoch() -> None:
        ours._epoch(ours.learner, samples)
        ours._conclude(None)

    seconds: dict[str, list[float]] = {"tsf": [], "plain": []}
    for turn in range(options.rounds + 1):
        turns = [("tsf", our_epoch), ("plain", plain.epoch)]
        for name, run in turns if turn % 2 else reversed(turns):
            began = time.process_time()
            run()
            if turn:  # the first turn warms up
                seconds[name].append(time.process_time() - began)
    own, other = (median(seconds[name]) for name in ("tsf", "plain"))
    print(
        f"{CLIPS} clips, {CLIPS // BATCH} steps, {options.size}, 8 frames of {side} px, one thread"
    )
    print("| loop | CPU s an epoch | spread |\n| --- | --: | --- |")
    for name, taken in seconds.items():
        print(f"| {name} | {median(taken):.2f} | {min(taken):.2f} to {max(taken):.2f} |")
    print(f"tsf takes {own / other:.3f} of the plain loop's time")


if __name__ == "__main__":
    main()
