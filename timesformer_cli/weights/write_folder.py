"""Write a model as a hub-style folder: its tensors, and the JSON files that say what it is."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from timesformer_cli.files import replacing
from timesformer_cli.weights.description import WEIGHT_FILES, Description, description_files
from timesformer_cli.weights.model_folder import CONFIG_KEY
from timesformer_cli.weights.write_layout import layout_for, their_tensors


def write_folder(
    folder: Path,
    state: Mapping[str, Tensor],
    description: Description,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a hub-style folder; where transformers has the model, it can load the folder too.

    Each file appears whole or not at all. The configuration comes last: without it, a folder whose
    writing was stopped is not taken for a model.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = description.config
    typed = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    tensors = their_tensors(typed, layout_for(config), config)
    metadata = {"format": "pt", CONFIG_KEY: json.dumps(config.to_dict())}
    with replacing(folder / WEIGHT_FILES[0]) as part:
        save_file(tensors, part, metadata)
    write_description(folder, description)


def write_description(folder: Path, description: Description) -> None:
    """Write the JSON files of a folder, `config.json` last."""
    for name, values in reversed(description_files(description).items()):
        with replacing(folder / name) as part:
            text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
            part.write_text(text, encoding="utf-8", newline="")
