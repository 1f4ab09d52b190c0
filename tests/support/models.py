"""Models small enough to run in milliseconds."""

import torch

from timesformer_cli.config import ModelConfig
from timesformer_cli.model import TimeSformer


def tiny(**changes: object) -> ModelConfig:
    """A configuration small enough to run in milliseconds."""
    small = {"dim": 64, "depth": 2, "heads": 1, "mlp_dim": 96, "height": 64, "width": 64}
    if changes.get("attention") == "vivit-4":  # it shares its heads out
        small["heads"] = 2
    return ModelConfig(**{**small, "classes": 5, **changes})  # type: ignore[arg-type]


def randomised(config: ModelConfig, seed: int = 0) -> TimeSformer:
    """A model in evaluation mode whose every parameter matters (none is zero)."""
    model = TimeSformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1, generator=generator)
    return model.eval()
