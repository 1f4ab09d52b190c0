"""How a model is trained: every rate in one row a recipe."""

import math
from dataclasses import dataclass, replace
from typing import Literal

REFERENCE = 8  # clips in a step, which learning rates are given for
STEPS = (11 / 15, 14 / 15)  # shares of the training after which the published rate falls


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that training needs beside the model and its clips.

    `learning_rate` belongs to steps of 8 clips; SGD's grows with their number, AdamW's with its
    square root. `warmup` is a share of the training, `layer_decay` the factor of the learning rate
    from each block down to the next, `pace` the most by which a clip is slowed down or sped up.
    `enlarged` is how much larger than the model's a picture may be that it gets a crop of.
    `mixup` and `cutmix` are the alphas of their Beta distributions, `mixed` the share of batches
    that either is done to. A `clip_gradient` is a norm, `beta2` is AdamW's.
    """

    optimizer: Literal["sgd", "adamw"]
    learning_rate: float
    schedule: Literal["steps", "cosine"]
    epochs: int
    weight_decay: float
    warmup: float = 0.0
    layer_decay: float = 1.0
    clip_gradient: float | None = None
    beta2: float = 0.999
    average: float | None = None
    drop_path: float = 0.0
    label_smoothing: float = 0.0
    pace: float = 1.0
    enlarged: float = 8 / 7
    crop_area: tuple[float, float] | None = None
    flip: float = 0.5
    colour: float = 0.0
    operations: int = 0
    magnitude: int = 9
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mixed: float = 0.0

    def rate(self, step: int, steps: int, clips: int) -> float:
        """The learning rate of a step, of so many, each of so many clips."""
        share = clips / REFERENCE
        peak = self.learning_rate * (share if self.optimizer == "sgd" else math.sqrt(share))
        done = step / steps
        if done < self.warmup:
            return peak * (step + 1) / max(1, math.ceil(self.warmup * steps))
        if self.schedule == "steps":
            return peak * 0.1 ** sum(done >= fall for fall in STEPS)
        return peak * (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup))) / 2


# What fine-tuning of video transformers has come to since (BEiT, VideoMAE), milder in mixing.
_MODERN = Recipe(
    optimizer="adamw",
    learning_rate=3e-4,
    schedule="cosine",
    epochs=30,
    weight_decay=0.05,
    warmup=0.1,
    layer_decay=0.75,
    clip_gradient=1.0,
    average=0.9998,
    drop_path=0.1,
    label_smoothing=0.1,
    pace=1.25,
    crop_area=(0.4, 1.0),
    colour=0.3,
    operations=1,
    magnitude=7,
    erasing=0.1,
    mixup=0.8,
    cutmix=1.0,
    mixed=0.2,
)

PRESETS = {
    # The authors' configuration for Kinetics (arXiv 2102.05095, section 4, and their YAML).
    "paper": Recipe(
        optimizer="sgd",
        learning_rate=0.005,
        schedule="steps",
        epochs=15,
        weight_decay=1e-4,
        drop_path=0.1,
        enlarged=320 / 224,
    ),
    "modern": _MODERN,
    # For random weights and few clips: without what slows the fit.
    "light": replace(
        _MODERN,
        learning_rate=5e-4,
        epochs=120,
        layer_decay=1.0,
        drop_path=0.0,
        operations=0,
        erasing=0.0,
        mixed=0.0,
    ),
}
