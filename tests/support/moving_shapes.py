"""Clips of coloured shapes that move, their captions, and a model trained to bring the two together."""

from collections.abc import Iterable
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from tests.support.words import plant_text, word_tokenizer, words_config
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.model import TimeSformer
from timesformer_cli.weights.load import save_model
from timesformer_cli.weights.tokenizer import TextTokenizer

COLOURS = {"red": (220, 40, 40), "green": (40, 190, 60), "blue": (50, 70, 230)}
SHAPES = ("disc", "bar", "pole")
MOTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
COMBINATIONS = tuple(product(COLOURS, SHAPES, MOTIONS))
# A quarter, in which every colour, shape and motion occurs as often as in the rest.
HELD_OUT = tuple(
    each
    for each in COMBINATIONS
    if ([*COLOURS].index(each[0]) + SHAPES.index(each[1]) + [*MOTIONS].index(each[2])) % 4 == 0
)
SIZE, FRAMES, RADIUS = 32, 4, 6
TEMPERATURE = 0.05
STEPS, BATCH, RATE = 240, 54, 3e-3
EACH = 24  # clips of each combination

Combination = tuple[str, str, str]


def caption(combination: Combination) -> str:
    """What a clip of it shows."""
    colour, shape, motion = combination
    return f"a {colour} {shape} that moves {motion}"


def pictures(combination: Combination, pick: np.random.Generator, size: int = SIZE) -> np.ndarray:
    """The frames of a clip, uint8 `(t h w c)`: place, speed, size and background differ each time."""
    colour, shape, motion = combination
    scale = size / SIZE
    radius = RADIUS * scale * pick.uniform(0.9, 1.2)
    step = np.array(MOTIONS[motion]) * scale * pick.uniform(3.0, 5.0)
    middle = size / 2 + pick.uniform(-2, 2, 2) * scale
    rows, columns = np.mgrid[:size, :size]
    frames = np.empty((FRAMES, size, size, 3), np.uint8)
    background = pick.uniform(0, 70)
    for number, frame in enumerate(frames):
        y, x = middle + step * (number - (FRAMES - 1) / 2)
        down, across = np.abs(rows - y), np.abs(columns - x)
        inside = {
            "disc": np.hypot(down, across) < radius,
            "bar": (down < radius * 0.4) & (across < radius * 1.6),
            "pole": (across < radius * 0.4) & (down < radius * 1.6),
        }[shape]
        noise = pick.normal(0, 6, (size, size, 3))
        frame[:] = np.clip(np.where(inside[..., None], COLOURS[colour], background) + noise, 0, 255)
    return frames


def clips_of(combinations: Iterable[Combination], pick: np.random.Generator) -> torch.Tensor:
    """One clip of each, as the model takes them."""
    stacked = np.stack([pictures(each, pick) for each in combinations])
    return torch.from_numpy(stacked).permute(0, 1, 4, 2, 3).float() / 255 - 0.5


def untrained(folder: Path) -> tuple[TimeSformer, torch.Tensor]:
    """A model whose text tower was written by hand, and the vectors of all captions."""
    words = sorted({word for each in COMBINATIONS for word in caption(each).split()})
    meaning = [words.index(word) for word in (*COLOURS, *SHAPES, *MOTIONS)]
    config = words_config(
        len(words), TEMPERATURE, dim=48, mlp_dim=96, heads=2, depth=2, time_blocks=1, patch=8
    )
    model = TimeSformer(
        config,
        preprocessing=Preprocessing(resize=SIZE, crop=(SIZE, SIZE), mean=(0.5,) * 3, std=(1,) * 3),
        sampling=Sampling(frames=FRAMES, stride=1),
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:  # wide enough that few steps train it
                parameter.normal_(0, 0.3 if "table" in name else parameter.shape[-1] ** -0.5)
    plant_text(model, meaning)
    assert model.text is not None and config.text is not None
    model.tokenizer = word_tokenizer(folder, words)
    batch = TextTokenizer(model.tokenizer, config.text)([caption(each) for each in COMBINATIONS])
    with torch.no_grad():
        return model, model.text(batch.tokens, batch.mask)


def train_shapes(
    folder: Path,
    steps: int = STEPS,
    seed: int = 0,
) -> TimeSformer:
    """A model trained on clips and captions of what is not held out, in a folder."""
    torch.manual_seed(seed)
    pick = np.random.default_rng(seed)
    model, vectors = untrained(folder)
    known = [number for number, each in enumerate(COMBINATIONS) if each not in HELD_OUT]
    clips = clips_of((COMBINATIONS[number] for _ in range(EACH) for number in known), pick)
    video = [weight for name, weight in model.named_parameters() if not name.startswith("text.")]
    optimiser = torch.optim.AdamW(video, lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(steps):
        rows = torch.from_numpy(pick.permutation(len(clips))[:BATCH])
        likeness = model.features(clips[rows]) @ vectors[known].T
        loss = F.cross_entropy(likeness / TEMPERATURE, rows % len(known))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    model.eval()
    save_model(model, folder)
    return model
