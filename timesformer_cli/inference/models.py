"""Checkpoints become models and models become folders."""

from pathlib import Path

import torch

from timesformer_cli.errors import UsageError, WeightsError
from timesformer_cli.model import TimeSformer
from timesformer_cli.weights import Description, read_checkpoint, resolve, write_folder


def load(name: str) -> tuple[TimeSformer, tuple[str, ...]]:
    """A model in evaluation mode on the CPU in float32, and notes on what had to be assumed.

    `name` is what `--model` takes: a catalogue name, a folder, a checkpoint file, a hub id.
    Raises WeightsError.
    """
    path, row = resolve(name)
    checkpoint = read_checkpoint(path, row)
    described = checkpoint.description
    try:
        with torch.device("meta"):  # no memory is spent before every shape is known to be right
            model = TimeSformer(
                described.config,
                labels=described.labels,
                preprocessing=described.preprocessing,
                sampling=described.sampling,
            )
    except UsageError as error:
        raise WeightsError(f"{path}: {error}") from error
    model.load_state_dict(checkpoint.state(model.state_dict()), strict=True, assign=True)
    return model.eval(), checkpoint.notes


def save(model: TimeSformer, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a model as a hub-style folder that `load`, and for most models transformers, reads."""
    description = Description(
        config=model.config,
        labels=model.labels,
        sampling=model.sampling,
        preprocessing=model.preprocessing,
    )
    write_folder(folder, model.state_dict(), description, dtype)
