"""Camera-motion clips as the training loop takes them: made, changed by a symmetry, normalised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scripts.camera_motion.data import Made
from scripts.camera_motion.paths import FRAMES, SIDE, UNIT, Floats, transform
from scripts.camera_motion.wear import Clip
from timesformer_cli.config import Preprocessing
from timesformer_cli.training.augment import normalisation
from timesformer_cli.training.randomness import LOOK, generator
from timesformer_cli.training.samples import Sample

Make = Callable[..., Made]  # such as a Maker

PREPROCESSING = Preprocessing(
    resize=SIDE, crop=(SIDE, SIDE), mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225)
)
NORMALISE = normalisation(PREPROCESSING)
REACH = 3.0  # what a shift by one frame width counts, where the camera's path is learned
USES = 2  # how often each clip is taken, each time under a symmetry drawn anew


def seen(clip: Clip) -> Tensor:
    """A clip `(t h w c)` as model input `(t c h w)`."""
    return NORMALISE(torch.from_numpy(np.ascontiguousarray(clip.transpose(0, 3, 1, 2))))


def travelled(path: Floats) -> Tensor:
    """What the camera has done up to each frame after the first, flat and of about unit size."""
    return torch.from_numpy((path[1:] - path[:1]) / UNIT * REACH).float().flatten()


def turn(
    clip: Clip, label: int, path: Floats, random: np.random.Generator
) -> tuple[Clip, int, Floats]:
    """Change a clip by one of the sixteen exact symmetries, and change its colours.

    One clip in fifty becomes a single repeated frame, which is static whatever it was before.
    """
    clip, label, path = transform(clip, label, path, int(random.integers(16)))
    if random.random() < 0.1:
        clip = 255 - clip
    clip = clip[..., random.permutation(3)]
    if random.random() < 0.02:
        clip, label = np.broadcast_to(clip[random.integers(FRAMES)], clip.shape), 0
        path = np.zeros_like(path)
    return clip, label, path


@dataclass(frozen=True)
class MadeClips:
    """Clips to train on: every epoch makes new ones and takes each USES times.

    Clip n of epoch e is made from the number e * count + n, so a resumed training has nothing to
    remember.
    """

    make: Make
    count: int  # new clips per epoch
    seed: int

    def __len__(self) -> int:
        return self.count * USES

    def order(self, epoch: int) -> list[int]:
        """All clips once, then again: whole batches come back to the process that made them."""
        return list(range(len(self)))

    def stream(self, indices: Sequence[int], epoch: int) -> Iterator[Sample]:
        """Yield the samples of these numbers; a clip is held in memory until its second use."""
        held: dict[int, Made] = {}
        for index in indices:
            number = epoch * self.count + index % self.count
            made = held.pop(number, None)
            if made is None:
                made = held[number] = self.make(number)
            random = generator(self.seed, LOOK, epoch, index)
            clip, label, path = turn(made.clip, made.label, made.path, random)
            yield seen(clip), label, travelled(path)


@dataclass(frozen=True)
class HeldOut:
    """The first `count` held-out clips, unchanged."""

    make: Make
    count: int

    def __len__(self) -> int:
        return self.count

    def order(self, epoch: int) -> list[int]:
        """The clips by number."""
        return list(range(self.count))

    def stream(self, indices: Sequence[int], epoch: int) -> Iterator[Sample]:
        """Yield the clips of these numbers; they are the same in every epoch."""
        for index in indices:
            made = self.make(index)
            yield seen(made.clip), made.label
