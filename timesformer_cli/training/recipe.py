"""Training presets, one `Recipe` each."""

import math
from dataclasses import dataclass, replace
from typing import Literal

REFERENCE = 8  # clips per step for which a learning rate is given
STEPS = (11 / 15, 14 / 15)  # the published rate falls after epochs 11 and 14 of 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that training needs beside the model and its clips."""

    optimizer: Literal["sgd", "adamw"]
    learning_rate: float  # the highest, for a step of 8 clips
    schedule: Literal["steps", "cosine"]
    epochs: int
    weight_decay: float
    warmup: float = 0.0  # share of the training in which the rate rises
    layer_decay: float = 1.0  # factor of the learning rate from each block to the one below it
    clip_gradient: float | None = None  # largest norm of the gradient
    beta2: float = 0.999  # only for AdamW
    average: float | None = None  # decay of the averaged weights; None keeps the last weights
    drop_path: float = 0.0  # rate in the last block; earlier blocks have less
    label_smoothing: float = 0.0
    pace: float = 1.0  # a clip is slowed down or sped up by this factor at most
    enlarged: float = 8 / 7  # largest short side of a picture, times that of its crop
    crop_area: tuple[float, float] | None = None  # shares of the area; None varies the short side
    flip: float = 0.5  # share of clips that are mirrored
    colour: float = 0.0  # largest change of brightness, contrast and saturation
    operations: int = 0  # of RandAugment, per clip
    magnitude: int = 9  # of each of these operations
    erasing: float = 0.0  # share of clips that lose a rectangle
    mixup: float = 0.0  # alpha of its Beta distribution
    cutmix: float = 0.0  # alpha of its Beta distribution
    mixed: float = 0.0  # share of batches that are mixed, by either of the two

    def rate(self, step: int, steps: int, clips: int) -> float:
        """Learning rate at `step` of `steps`, with `clips` clips per step.

        SGD's rate grows with the number of clips, AdamW's with its square root.
        """
        share = clips / REFERENCE
        peak = self.learning_rate * (share if self.optimizer == "sgd" else math.sqrt(share))
        done = step / steps
        if done < self.warmup:
            return peak * (step + 1) / max(1, math.ceil(self.warmup * steps))
        if self.schedule == "steps":
            return peak * 0.1 ** sum(done >= fall for fall in STEPS)
        return peak * (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup))) / 2


# After the recipes that fine-tune BEiT and VideoMAE, milder in mixing.
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

# For a pooler and a head on tokens that were computed once: nothing else can be varied.
PROBE = Recipe(
    optimizer="adamw",
    learning_rate=1e-3,
    schedule="cosine",
    epochs=40,
    weight_decay=0.05,
    warmup=0.1,
    clip_gradient=1.0,
    label_smoothing=0.1,
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
    # For random weights and few clips: `modern` without what slows the fit. Chosen by folds of a
    # training set of 60 clips (docs/training.md, "What 60 clips teach").
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
