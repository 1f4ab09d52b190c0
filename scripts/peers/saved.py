"""Random weights in a folder, as every contender can read them."""

from __future__ import annotations

from pathlib import Path

import torch

from timesformer_cli.config import ModelConfig, Sampling
from timesformer_cli.model import TimeSformer
from timesformer_cli.weights.load import save_model

STRIDE = 32  # 30-fps frames between two of a clip, as in the published 8x32


def save_random(config: ModelConfig, folder: Path) -> None:
    """Save a random model, none of whose weights is zero, as both `tsf` and transformers read it."""
    torch.manual_seed(0)
    model = TimeSformer(config, sampling=Sampling(frames=config.frames, stride=STRIDE))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(float("norm" in name and name.endswith("weight")), 0.02)
    save_model(model, folder)
