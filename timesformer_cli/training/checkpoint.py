"""Checkpoints: written whole or not at all, read without running what is in them."""

import io
from pathlib import Path
from typing import Any

import torch

from timesformer_cli.errors import WeightsError
from timesformer_cli.files import replace_file
from timesformer_cli.training.options import CHECKPOINT

NAME = CHECKPOINT


def save_training_state(state: dict[str, Any], folder: Path) -> None:
    """Write the checkpoint of a training; where that fails, the one before stays in place."""
    content = io.BytesIO()  # torch writes it in pieces, and the file has to appear whole
    torch.save(state, content)
    replace_file(folder / NAME, content.getbuffer())


def read_training_state(folder: Path) -> dict[str, Any]:
    """The checkpoint of a training, on the CPU; raises WeightsError where none can be read."""
    path = folder / NAME
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can make torch raise anything
        raise WeightsError(f"{path}: not a checkpoint of a training ({error})") from error
    return state
