"""What several test files need: small models, folders made by transformers, real clips."""

import os
import signal
from pathlib import Path

import pytest
import torch

from timesformer_cli.config import ModelConfig, Sampling
from timesformer_cli.model import TimeSformer
from timesformer_cli.weights.load import save

REAL_CLIPS = Path(__file__).parents[2] / "shared" / "clips"


def pytest_configure() -> None:
    # What a shell runs in the background was told to ignore Ctrl-C, and passes that on.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for marker, variable in (("network", "TSF_NETWORK"), ("slow", "TSF_SLOW")):
        skip = pytest.mark.skip(reason=f"set {variable}=1 to run it")
        for item in items:
            if item.get_closest_marker(marker) and os.environ.get(variable) != "1":
                item.add_marker(skip)


@pytest.fixture
def real_clips() -> Path:
    """The folder of real clips beside the checkout."""
    if not REAL_CLIPS.is_dir():
        pytest.skip(f"no real clips at {REAL_CLIPS}")
    return REAL_CLIPS


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of five classes, a to e, for 8 frames two apart."""
    model = randomised(tiny())
    model.labels, model.sampling = tuple("abcde"), Sampling(frames=8, stride=2)
    path = tmp_path_factory.mktemp("model")
    save(model, path)
    return path


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
