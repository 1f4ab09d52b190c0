"""A picture of the first batch as the model will see it: one row per clip, one column per frame."""

import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from timesformer_cli.dataset.multi_label import join_labels
from timesformer_cli.files import replace_file
from timesformer_cli.training.augment import Targets
from timesformer_cli.training.randomness import STEP, seeded
from timesformer_cli.training.session import TrainingSession
from timesformer_cli.training.state import Settings

if TYPE_CHECKING:
    from torch import Tensor

CLIPS = 8  # rows at most
WIDTH, LINE = 1600, 18  # pixels: of the picture at most, and of a line of text
WORTH_NAMING = 0.05  # share of a mixed target from which its second label is named


def draw_batch(session: TrainingSession, path: Path) -> None:
    """Draw clips of the first step, augmented and mixed, with the labels that they then have.

    Draws nothing where none of them can be read.
    """
    import torch

    settings, clips = session.settings, session.training_clips()
    order = clips.order(0)[: min(settings.batch_size, len(clips))]
    known = [sample for sample in clips.stream(order, 0) if isinstance(sample, tuple)]
    if not known:
        return
    # The seed of the loop's first step, so that the picture shows the mix of that very step.
    with seeded(settings.seed, STEP, 0, 0):
        read, numbers, *_ = zip(*known, strict=True)
        inputs, targets = Targets(settings.recipe, settings.classes)(
            torch.stack(read), torch.tensor(numbers, device=settings.device)
        )
    rows = [_frames(clip, session) for clip in inputs[:CLIPS]]
    say = _names if settings.multi_label else partial(_name, settings=settings)
    names = [say(target, session.plan.labels) for target in targets[:CLIPS]]
    high, wide = rows[0].shape[0], rows[0].shape[1]
    sheet = Image.new("RGB", (wide, (high + LINE) * len(rows)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(LINE - 5)
    for place, (row, name) in enumerate(zip(rows, names, strict=True)):
        pen.text((4, place * (high + LINE) + 1), name, "black", font)
        sheet.paste(Image.fromarray(row), (0, place * (high + LINE) + LINE))
    content = io.BytesIO()
    sheet.save(content, "PNG")
    replace_file(path, content.getvalue())


def _frames(
    clip: "Tensor", session: TrainingSession
) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """A clip `(t c h w)` as pixels again, its frames side by side, `(h, t w, 3)`."""
    look = session.plan.preprocessing
    pixels = clip.cpu().permute(2, 0, 3, 1).numpy() * np.array(look.std) + np.array(look.mean)
    strip = (pixels.clip(0, 1) * 255).round().astype(np.uint8)
    strip = strip.reshape(strip.shape[0], -1, 3)
    scale = min(1.0, WIDTH / strip.shape[1])
    size = round(strip.shape[1] * scale), max(1, round(strip.shape[0] * scale))
    return np.asarray(Image.fromarray(strip).resize(size, Image.Resampling.BILINEAR))


def _name(target: "Tensor", labels: tuple[str, ...], settings: Settings) -> str:
    """The label, or the two that were mixed, with their shares."""
    # Smoothing gives every class a share; without it only what was mixed is left to name.
    best = (target - settings.recipe.label_smoothing / settings.classes).topk(2)
    first, second = (labels[number] for number in best.indices.tolist())
    more, less = (best.values / best.values.sum()).tolist()
    return first if less < WORTH_NAMING else f"{more:.0%} {first}, {less:.0%} {second}"


def _names(target: "Tensor", labels: tuple[str, ...]) -> str:
    """All labels that a clip has, be it only in part since it was mixed; `-` for none."""
    named = zip(target.tolist(), labels, strict=True)
    # Smoothing leads halfway to a half at most, and a mixed label may have any share.
    return join_labels(label for share, label in named if share > WORTH_NAMING) or "-"
