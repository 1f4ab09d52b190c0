"""What several test files need: small models, folders made by transformers, real clips."""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a processor of its own; before torch is imported, here and in what it starts.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from tests.support.models import randomised, tiny
from timesformer_cli.config import Sampling
from timesformer_cli.weights.load import save_model

REAL_CLIPS = Path(__file__).parents[2] / "shared" / "clips"


def pytest_configure() -> None:
    # What a shell runs in the background was told to ignore Ctrl-C, and passes that on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):  # and nohup to ignore that
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # An exporter makes objects by the million: to look for garbage after every 700 of them, as
    # Python does unasked, takes it a tenth of its time.
    gc.set_threshold(50_000, 20, 100)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for marker, variable in (("network", "TSF_NETWORK"), ("slow", "TSF_SLOW")):
        skip = pytest.mark.skip(reason=f"set {variable}=1 to run it")
        for item in items:
            if item.get_closest_marker(marker) and os.environ.get(variable) != "1":
                item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's cache folder is no test's to write to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSF_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


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
    save_model(model, path)
    return path
