"""Camera-motion clips as tensors: made, turned about, normalised."""

from __future__ import annotations

import numpy as np
import torch
from camera_motion_data import Maker
from camera_motion_paths import FRAMES, MIRROR, REVERSE, SIDE, TRANSPOSE, UPEND
from torch import Tensor

MEAN, STD = 0.45, 0.225


def make(maker: Maker, numbers: range, hardness: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Make clips: frames as bytes `(b t h w c)`, labels, sizes of the moves within their ranges."""
    clips = torch.empty((len(numbers), FRAMES, SIDE, SIDE, 3), dtype=torch.uint8)
    facts = []
    for slot, number in enumerate(numbers):
        clip, label, size = maker(number, hardness=hardness)
        clips[slot] = torch.from_numpy(clip)
        facts.append((label, size))
    labels, sizes = zip(*facts, strict=True)
    return clips, torch.tensor(labels), torch.tensor(sizes)


def normalise(clips: Tensor) -> Tensor:
    """Bytes `(b t h w c)` to model input `(b t c h w)`."""
    return ((clips.float() / 255 - MEAN) / STD).permute(0, 1, 4, 2, 3)


def augment(clips: Tensor, labels: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Turn every quarter of a batch by one of the sixteen exact symmetries, and change its colours.

    One clip in fifty becomes a single frame repeated, which is static whatever it was before.
    """
    parts = []
    for clip, label in zip(clips.chunk(4), labels.chunk(4), strict=True):
        mirror, upend, transpose, reverse, invert = random.random(5) < (0.5, 0.5, 0.5, 0.5, 0.1)
        if mirror:
            clip, label = clip.flip(3), torch.from_numpy(MIRROR)[label]
        if upend:
            clip, label = clip.flip(2), torch.from_numpy(UPEND)[label]
        if transpose:
            clip, label = clip.transpose(2, 3), torch.from_numpy(TRANSPOSE)[label]
        if reverse:
            clip, label = clip.flip(1), torch.from_numpy(REVERSE)[label]
        if invert:
            clip = 255 - clip
        parts.append((clip[..., random.permutation(3)], label))
    clips, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    frozen = torch.from_numpy(random.random(len(clips)) < 0.02)
    clips[frozen] = clips[frozen, int(random.integers(FRAMES))].unsqueeze(1)
    return clips, labels.masked_fill(frozen, 0)
