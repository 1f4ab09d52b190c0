"""Measure the camera-motion model on held-out clips and write its card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from scripts.camera_motion.data import Maker
from scripts.camera_motion.paths import (
    HANDHELD,
    LABELS,
    ROLL,
    SHAKE,
    SHIFT,
    SIDE,
    STATIC_JITTER,
    ZOOM,
)
from scripts.camera_motion.samples import seen
from scripts.camera_motion.wear import Clip
from timesformer_cli.model import TimeSformer
from timesformer_cli.training.processes import Processes

BATCH = 32

CARD = """\
---
license: apache-2.0
library_name: timesformer-cli
pipeline_tag: video-classification
tags: [video-classification, camera-motion, timesformer]
---

# camera-motion

What the camera does in a clip: {listed}.

A TimeSformer with divided space-time attention and {parameters:.2f} million parameters: 8 frames of 96x96 pixels,
4 blocks, width 128, 2 heads, patches of 16 pixels from a convolutional stem. Trained from nothing by
`scripts/camera_motion/train.py` on clips whose motion is known because a virtual camera made it.

{accuracy:.1%} of {clips:,} held-out clips are right, with every disturbance on and pictures never seen in
training. Of single frames repeated eight times, {single:.1%} are called static, so the accuracy comes from motion
alone, not from what is in the picture.

## What the classes mean

All directions are the camera's, not the content's.

| class | the camera | the picture's content |
|---|---|---|
| static | stands still, whatever moves in front of it | stays |
| pan left, pan right | turns or moves left, right | moves right, left |
| tilt up, tilt down | turns or moves up, down | moves down, up |
| zoom in, zoom out | comes closer or lengthens its focus; the opposite | grows, shrinks |
| roll clockwise | turns clockwise about its own axis | turns counter-clockwise |
| roll counter-clockwise | turns counter-clockwise about its own axis | turns clockwise |
| shake | trembles fast, without going anywhere | trembles |

## Clips

8 frames over 2.1 seconds (every eighth of 30 a second), or over the whole video where that is shorter. Short side
to 96 pixels (bilinear, antialiased), centre 96x96, mean 0.45, standard deviation 0.225.

## Data

Still pictures, filmed by a virtual camera: scikit-image's and scikit-learn's sample photographs, the Debian
packages {packages}
(free licences, each named in its package), and textures drawn from a seed.
{train_pictures} pictures to train on, {held_out_pictures} held out; near duplicates were removed before the
split, and the pictures of the example clips are in neither. The camera looks only where there is texture to see
its motion by: in 15 of 36 tiles, at the path's beginning, middle and end. No picture is part of this model.

What the camera does over the 2.1 seconds, drawn evenly on a logarithmic scale:

| | least | most |
|---|---|---|
| pan, tilt: shift, in frame widths | {shift[0]} | {shift[1]} |
| zoom: magnification | {zoom[0]} | {zoom[1]} |
| roll: degrees | {roll[0]:g} | {roll[1]:g} |
| shake: root mean square, in frame widths, at 1.5 to 9 Hz | {shake[0]} | {shake[1]} |
| hand-held jitter of a moving camera: peak, in frame widths | 0 | {handheld} |
| jitter of a static camera: peak, in frame widths | 0 | {jitter} |

Half of the moves fill the clip, the others at least 40 % of it, even or eased. Besides: slow drift in the other
directions, up to a fifth of the move; perspective; up to three things in front that move by themselves (together
at most 35 % of the frame when at rest); motion blur, defocus, lost resolution, bars, captions, drifting exposure
and white balance, vignettes, noise, grey pictures, repeated frames, JPEG, MPEG-4 and H.264.

## Training

{seen:,} clips ({fresh:,} made, each used twice under one of the sixteen symmetries: mirrored, upside down,
transposed, backwards, with the label changed accordingly), {minutes:.0f} minutes, making them included; processes
of `torchrun`: {processes}. AdamW at {rate} with warm-up and cosine, weight decay 0.05, label smoothing 0.05, batches
of {batch}, bfloat16 matrix products, averaged weights; disturbances come in over the first eighth.

## Accuracy

By size of the move, from the smallest quarter of its range to the largest: {by_size}.

Per cent of the clips of each class (rows) given each answer (columns):

{confusion}

## Limits

- Made of flat pictures: no depth. A camera that walks through a scene shows zoom, pan and parallax together; the
  largest wins, if any.
- One answer a clip. Two moves at once (a pan with a zoom) are not a class.
- Below the smallest moves above, expect static; a hand-held camera that means to stand still is between static and
  shake.
- Things that fill most of the frame are taken for the scene: their motion will be read as the camera's.
- A cut within the clip is unknown to it, and any answer may come out.
- Not measured on labelled real footage, only on clips made as above.
- Where nothing has texture (sky, a blank wall, darkness) there is nothing to see.
"""


@torch.inference_mode()
def predict(model: TimeSformer, clips: Sequence[Clip]) -> list[int]:
    """The predicted class of every clip."""
    with torch.autocast("cpu", torch.bfloat16):
        guesses: list[int] = model(torch.stack([seen(clip) for clip in clips])).argmax(1).tolist()
    return guesses


def evaluate(model: TimeSformer, maker: Maker, count: int, processes: Processes) -> dict[str, Any]:
    """Held-out accuracy: overall, by size of the move, as a confusion (rows are labels).

    Single frames, repeated, are classified too: a model that reads motion calls them static.
    """
    answers = Counter[tuple[int, int, int]]()  # label, quarter of the move's range, guess
    single = Counter[int]()
    mine = range(processes.rank, count, processes.count)
    for first in range(0, len(mine), BATCH):
        clips, labels, sizes, _ = zip(
            *(maker(number) for number in mine[first : first + BATCH]), strict=True
        )
        quarters = [int(4 * size) for size in sizes]
        answers.update(zip(labels, quarters, predict(model, clips), strict=True))
        frozen = [np.broadcast_to(clip[:1], clip.shape) for clip in clips[::4]]
        single.update(predict(model, frozen))
    gathered = processes.gather((answers, single))
    answers = sum((theirs for theirs, _ in gathered), Counter())
    single = sum((theirs for _, theirs in gathered), Counter())
    confusion = np.zeros((len(LABELS), len(LABELS)), dtype=int)
    by_size = np.zeros((4, 2), dtype=int)
    for (label, quarter, guess), number in answers.items():
        confusion[label, guess] += number
        if label > 0:
            by_size[quarter, int(guess == label)] += number
    return {
        "clips": count,
        "accuracy": float(confusion.trace() / count),
        "by_size": (by_size[:, 1] / by_size.sum(1)).tolist(),
        "single_frames_static": single[0] / single.total(),
        "confusion": confusion.tolist(),
    }


def confusion_table(confusion: list[list[int]]) -> str:
    """The confusion as Markdown: rows are labels, cells per cent; zeros are left empty."""
    short = [
        label.replace("counter-clockwise", "ccw").replace("clockwise", "cw") for label in LABELS
    ]
    lines = ["| | " + " | ".join(short) + " |", "|---|" + "---|" * len(short)]
    for name, row in zip(short, confusion, strict=True):
        cells = [f"{100 * count / sum(row):.1f}" if count else "" for count in row]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_card(report: dict[str, Any], facts: dict[str, Any]) -> str:
    """Fill in the card from the final evaluation and from facts about the training."""
    assert SIDE == 96  # the card says so in words
    return CARD.format(
        listed=", ".join(LABELS[:-1]) + " or " + LABELS[-1],
        accuracy=report["accuracy"],
        clips=report["clips"],
        single=report["single_frames_static"],
        by_size=", ".join(f"{share:.1%}" for share in report["by_size"]),
        confusion=confusion_table(report["confusion"]),
        shift=SHIFT,
        zoom=ZOOM,
        roll=ROLL,
        shake=SHAKE,
        handheld=HANDHELD,
        jitter=STATIC_JITTER,
        **facts,
    )
