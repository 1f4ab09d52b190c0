"""Measure the camera-motion model on held-out clips and write its card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.camera_motion.data import KINDS, SHAKES, Maker
from scripts.camera_motion.paths import (
    BOTH,
    DRIFT,
    HAND_SHARE,
    HANDHELD,
    LABELS,
    MOTION,
    ROLL,
    SHAKE,
    SHIFT,
    SIDE,
    STATIC_DRIFT,
    STATIC_JITTER,
    UNCLEAR,
    ZOOM,
)
from scripts.camera_motion.samples import seen
from scripts.camera_motion.wear import Clip
from timesformer_cli.dataset.metrics import calibration_error
from timesformer_cli.model import TimeSformer
from timesformer_cli.training.processes import Processes

BATCH = 32
CALIBRATION = 10_000_000  # the number of the first clip that the scores are calibrated on
CONFIDENT = 0.8  # a score from which on an answer is relied upon

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
{depth} blocks, width 128, 4 heads. Its tokens, of 16x16 pixels, know how each place moves into the next frame (measured
flow, Lucas and Kanade), which shift, zoom and roll most places share and how far they have led by then, how well the
place fits them, how alike the frames are, and the mean colour of each place. Trained by
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
| unclear | makes two moves at once, or is cut to another scene, or sees nothing to tell by | |

Of two moves the clip has a name where the others are at most {drift:.0%} of the largest, and is unclear from {both:.0%}
on; a zoom by 12 % counts as much as a shift by 12 % of the frame's width or a roll by 8 degrees.

## Clips

8 frames over 2.1 seconds (every eighth of 30 a second), or over the whole video where that is shorter. Short side
to 96 pixels (bilinear, antialiased), centre 96x96, mean 0.45, standard deviation 0.225.

## Scores

Divided by {temperature:.2f} before the softmax, and that of "unclear", which was seen three times as often in training, made
smaller by {less_unclear:.2f}: the best on {calibration_clips:,} held-out clips of their own. Both are part of the weights.
On the {clips:,} clips the expected calibration error (10 bins) is {calibration_error:.3f}; {confident:.1%} of the
answers have a score of 0.8 or more, and {confident_right:.1%} of these are right.

## Data

Still pictures, filmed by a virtual camera: scikit-image's and scikit-learn's sample photographs, the Debian
packages {packages}
(free licences, each named in its package), and textures drawn from a seed.
{train_pictures} pictures to train on, {held_out_pictures} held out; near duplicates were removed before the
split, and the pictures of the example clips are in neither. A moving camera looks only where there is texture to see
its motion by, in 15 of 36 tiles, at the path's beginning, middle and end; a still one where there are some edges. A
third of the scenes have a quarter to two thirds of their pictures' contrast, as plain floors and walls have. Of twelve
clips two are static; of fourteen in training two are static and three unclear. No picture is part of this model.

What the camera does over the 2.1 seconds, drawn evenly on a logarithmic scale:

| | least | most |
|---|---|---|
| pan, tilt: shift, in frame widths | {shift[0]} | {shift[1]} |
| zoom: magnification | {zoom[0]} | {zoom[1]} |
| roll: degrees | {roll[0]:g} | {roll[1]:g} |
| shake: root mean square, in frame widths, at 1.5 to 9 Hz | {shake[0]} | {shake[1]} |
| hand-held jitter of a moving camera, one over f from 0.3 to 8 Hz: peak, in frame widths | 0 | {handheld}, and {steady} of the move |
| jitter of a static camera: peak, in frame widths | 0 | {jitter} |
| drift of a static camera, in frame widths | 0 | {still_drift} |

Half of the moves fill the clip, the others at least 40 % of it, even or eased. Besides: slow drift in the other
directions; perspective; scenes in depth, through which the camera walks; parts of the scene that sway or run by
themselves, as leaves, water and screens do; up to four people and things in front that walk, gesture, come closer and
leave, as near as a third of the scene's distance, together over at most about 60 % of the frame; motion blur, defocus,
lost resolution, bars, captions, running clocks, drifting exposure and white balance, vignettes, noise, night, grey
pictures, rows read one after another, interlaced rows, low, late and repeated frames, JPEG, MPEG-4 and H.264, also with
few bits and all frames between.

## Training

{seen:,} clips ({fresh:,} made, each used twice under one of the sixteen symmetries: mirrored, upside down,
transposed, backwards, with the label changed accordingly), {minutes:.0f} minutes, making them included; processes
of `torchrun`: {processes}. AdamW at {rate} with warm-up and cosine, weight decay 0.05, label smoothing 0.05, batches
of {batch}, bfloat16 matrix products, averaged weights. {beside} more outputs learned where the camera is
at each frame; they are not part of this model. It began {beginning}.

## Accuracy

By size of the move, from the smallest quarter of its range to the largest: {by_size}.

Per cent of the clips of each class (rows) given each answer (columns):

{confusion}

What is hard, on the same clips:

{scenes}

Of the answers "unclear" {unclear_precision:.1%} are right, and {unclear_recall:.1%} of the unclear clips are found.

## Limits

- One answer a clip, and the scene is still made of pictures: nothing here is real footage. How to measure on your own:
  `python -m scripts.camera_motion.real VIDEOS`; what was measured so stands in `docs/training.md`.
- Of clips with two moves at once {two_moves:.1%} are called unclear, most others by one of the two.
- Below the smallest moves above, expect static; a hand-held camera that means to stand still is between static and
  shake.
- Things that fill most of the frame are taken for the scene: their motion will be read as the camera's.
- A dissolve from one still scene to another is static; any other dissolve it has never seen.
"""


@torch.inference_mode()
def logits_of(model: TimeSformer, clips: Sequence[Clip]) -> Tensor:
    """The model's logits for these clips, `(clip class)`."""
    with torch.autocast("cpu", torch.bfloat16):
        logits: Tensor = model(torch.stack([seen(clip) for clip in clips])).float()
    return logits


def batches(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """The numbers, as many at once as the model is given clips."""
    for first in range(0, len(numbers), BATCH):
        yield numbers[first : first + BATCH]


def calibration(
    model: TimeSformer, maker: Maker, count: int, joined: Processes
) -> tuple[float, float]:
    """By what logits are to be divided, and what is to be taken from that of UNCLEAR then.

    So that scores are what share of answers is right: temperature scaling (Guo et al. 2017, section
    4.2), and a bias for the one class that training shows more often, on clips that nothing else
    sees.
    """
    logits, labels = [], []
    for numbers in batches(range(CALIBRATION + joined.rank, CALIBRATION + count, joined.count)):
        made = [maker(number) for number in numbers]
        logits.append(logits_of(model, [each.clip for each in made]))
        labels += [each.label for each in made]
    gathered = joined.gather((torch.cat(logits), labels))
    known = torch.cat([theirs for theirs, _ in gathered])
    targets = torch.tensor([label for _, theirs in gathered for label in theirs])
    unclear = F.one_hot(torch.tensor(UNCLEAR), len(LABELS))
    best = min(
        (float(F.cross_entropy(known / by - less * unclear, targets)), by, less)
        for by in np.linspace(0.3, 2, 86).tolist()
        for less in np.linspace(-0.5, 2, 51).tolist()
    )
    return best[1], best[2]


def evaluate(model: TimeSformer, maker: Maker, count: int, processes: Processes) -> dict[str, Any]:
    """Held-out accuracy: overall, by size of the move, as a confusion (rows are labels).

    Single frames, repeated, are classified too: a model that reads motion calls them static.
    """
    answers: list[tuple[int, int, int, float]] = []  # label, quarter of the range, guess, score
    scenes: list[frozenset[str]] = []
    single = Counter[int]()
    for numbers in batches(range(processes.rank, count, processes.count)):
        made = [maker(number) for number in numbers]
        clips = [each.clip for each in made]
        scores, guesses = logits_of(model, clips).softmax(1).max(1)
        for each, guess, score in zip(made, guesses.tolist(), scores.tolist(), strict=True):
            answers.append((each.label, int(4 * each.size), guess, score))
            scenes.append(each.scene)
        frozen = [np.broadcast_to(clip[:1], clip.shape) for clip in clips[::4]]
        single.update(logits_of(model, frozen).argmax(1).tolist())
    gathered = processes.gather((answers, scenes, single))
    answers = [answer for theirs, _, _ in gathered for answer in theirs]
    scenes = [scene for _, theirs, _ in gathered for scene in theirs]
    single = sum((theirs for _, _, theirs in gathered), Counter())
    confusion = np.zeros((len(LABELS), len(LABELS)), dtype=int)
    by_size = np.zeros((4, 2), dtype=int)
    for label, quarter, guess, _ in answers:
        confusion[label, guess] += 1
        if label in MOTION or label == SHAKES:
            by_size[quarter, int(guess == label)] += 1
    right = [label == guess for label, _, guess, _ in answers]
    sure = [hit for hit, (*_, score) in zip(right, answers, strict=True) if score >= CONFIDENT]
    hard = {
        name: [hit for hit, scene in zip(right, scenes, strict=True) if name in scene]
        for name in sorted(frozenset[str]().union(*scenes))
    }
    return {
        "clips": count,
        "accuracy": float(confusion.trace() / count),
        "by_size": (by_size[:, 1] / by_size.sum(1)).tolist(),
        "single_frames_static": single[0] / single.total(),
        "confusion": confusion.tolist(),
        "scenes": {name: (len(hits), sum(hits) / len(hits)) for name, hits in hard.items()},
        "unclear_recall": float(confusion[UNCLEAR, UNCLEAR] / confusion[UNCLEAR].sum()),
        "unclear_precision": float(
            confusion[UNCLEAR, UNCLEAR] / max(1, confusion[:, UNCLEAR].sum())
        ),
        "calibration_error": calibration_error([score for *_, score in answers], right, bins=10),
        "confident": len(sure) / count,
        "confident_right": sum(sure) / max(1, len(sure)),
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


def scenes_table(scenes: dict[str, tuple[int, float]]) -> str:
    """What makes clips hard, as Markdown: how many, and how many of them are right."""
    lines = ["| clips with | held out | right |", "|---|--:|--:|"]
    lines += [f"| {name} | {count:,} | {right:.1%} |" for name, (count, right) in scenes.items()]
    return "\n".join(lines)


def write_card(report: dict[str, Any], facts: dict[str, Any]) -> str:
    """Fill in the card from the final evaluation and from facts about the training."""
    assert SIDE == 96  # the card says so in words
    own = ("confusion", "by_size", "scenes", "single_frames_static")
    return CARD.format(
        listed=", ".join(LABELS[:-1]) + " or " + LABELS[-1],
        single=report["single_frames_static"],
        by_size=", ".join(f"{share:.1%}" for share in report["by_size"]),
        confusion=confusion_table(report["confusion"]),
        scenes=scenes_table(report["scenes"]),
        two_moves=report["scenes"].get(KINDS["two moves"], (0, 0.0))[1],
        shift=SHIFT,
        zoom=ZOOM,
        roll=ROLL,
        shake=SHAKE,
        handheld=HANDHELD,
        steady=HAND_SHARE,
        jitter=STATIC_JITTER,
        still_drift=STATIC_DRIFT,
        drift=DRIFT,
        both=BOTH[0],
        **{name: value for name, value in report.items() if name not in own},
        **facts,
    )
