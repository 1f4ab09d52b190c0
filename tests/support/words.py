"""A model that takes words, small enough to run in milliseconds, which knows three colours."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.support import clips
from tests.support.models import tiny
from timesformer_cli.config import ModelConfig, Preprocessing, Sampling
from timesformer_cli.model import TimeSformer
from timesformer_cli.text_config import TextConfig
from timesformer_cli.weights.description import TOKENIZER
from timesformer_cli.weights.load import save_model

COLOURS = {"red": (230, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 230)}
UNKNOWN = "[UNK]"
DIM = 32


def word_tokenizer(folder: Path, words: list[str]) -> Path:
    """A tokenizer that knows whole words, in any case; its file in the folder."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    vocabulary = {word: number for number, word in enumerate(["[PAD]", UNKNOWN, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / TOKENIZER))
    return folder / TOKENIZER


def words_config(words: int, temperature: float = 0.01, **changes: object) -> ModelConfig:
    """The configuration of a model that takes words."""
    own = {"dim": DIM, "mlp_dim": DIM, "heads": 1, **changes}
    width = {name: own[name] for name in ("dim", "mlp_dim", "heads")}
    text = TextConfig(**width, depth=1, vocabulary=words + 2, length=16, temperature=temperature)  # type: ignore[arg-type]
    size = {"frames": 4, "height": 32, "width": 32, "depth": 1, "time_blocks": 1}
    family = {"attention": "videoprism", "pooler_blocks": 1, "classes": 0, "text": text}
    return tiny(**{**size, **family, **own})


def plant_text(model: TimeSformer, meaning: list[int]) -> None:
    """Write the text tower's weights by hand: a text is the mean of its words, of so many `meaning`.

    The words stand behind the two first tokens of the vocabulary; each has a channel of its own.
    """
    tower = model.text
    assert tower is not None
    with torch.no_grad():
        for module in tower.modules():
            for name, parameter in module.named_parameters(recurse=False):
                parameter.fill_(isinstance(module, nn.LayerNorm) and name == "weight")
        block = tower.blocks[0]
        dim = tower.config.dim
        block.qkv.weight[2 * dim :] = torch.eye(dim)
        block.proj.weight.copy_(torch.eye(dim))
        for channel, number in enumerate(meaning):
            tower.tokens.weight[2 + number, channel] = 100


def colour_model(folder: Path, length: int = 16) -> Path:
    """A model whose weights were written by hand, in a folder: clips of one colour, and its word.

    A patch is its mean colour, a clip the mean of its patches, a text the mean of its words; all other
    words are one.
    """
    tokenizer = word_tokenizer(folder, [*COLOURS])
    config = words_config(len(COLOURS))
    model = TimeSformer(
        config,
        preprocessing=Preprocessing(resize=32, crop=(32, 32), mean=(0, 0, 0), std=(1, 1, 1)),
        sampling=Sampling(frames=config.frames, stride=4),
    )
    assert model.text is not None and model.pooler is not None
    model.tokenizer = tokenizer
    identity = torch.eye(DIM)
    with torch.no_grad():
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                parameter.fill_(isinstance(module, nn.LayerNorm) and name == "weight")
        area = config.patch**2
        for channel in range(3):
            model.patches.proj.weight[channel, channel * area : (channel + 1) * area] = 1 / area
        model.pooler.v.weight.copy_(identity)
        model.pooler.proj.weight.copy_(identity)
    plant_text(model, [*range(len(COLOURS))])
    with torch.no_grad():
        model.text.tokens.weight[:2, -1] = 100  # words that it does not know are one
    save_model(model, folder)
    return folder


def colour_clip(path: Path, *colours: str, frames: int = 24) -> Path:
    """A clip that shows these colours, one after another."""
    shown = [COLOURS.get(colour, (0, 0, 0)) for colour in colours for _ in range(frames)]
    pictures = (np.full((48, 64, 3), colour, np.uint8) for colour in shown)
    return clips.write(path, pictures, size=(64, 48))
