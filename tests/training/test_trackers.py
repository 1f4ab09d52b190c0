"""What a tracker is told of a training, read back by its own reader."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.support import clips
from tests.support.models import tiny
from timesformer_cli.cli.app import app
from timesformer_cli.config import Sampling
from timesformer_cli.model import TimeSformer
from timesformer_cli.training.randomness import seeded
from timesformer_cli.training.trackers import confusion_picture, require_tracker, tracking
from timesformer_cli.weights.load import load_path, save_model

SMALL = ("--epochs", "2", "--batch-size", "4", "--workers", "1", "--device", "cpu")


def tsf(*arguments: object):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> tuple[Path, Path]:
    """A folder of clips and a model to start from."""
    folder = tmp_path_factory.mktemp("begun")
    for label, shade in (("dark", 40), ("light", 200)):
        (folder / "data" / label).mkdir(parents=True)
        for number in range(5):
            frames = [np.full((48, 64, 3), shade + number, np.uint8)] * 3
            clips.write(folder / "data" / label / f"{number}.mp4", frames, size=(64, 48))
    with seeded(0):
        model = TimeSformer(tiny(frames=2, height=32, width=32, dim=16, heads=1, depth=1))
    model.sampling = Sampling(frames=2, stride=None)
    save_model(model, folder / "init")
    return folder / "data", folder / "init"


def test_tensorboards_own_reader_has_the_right_numbers(begun, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    data, init = begun
    plain, out = tmp_path / "plain", tmp_path / "logged"
    assert tsf(data, "--init", init, *SMALL, "-o", plain).exit_code == 0
    ran = tsf(data, "--init", init, *SMALL, "--log", "tensorboard", "-o", out)
    assert ran.exit_code == 0, ran.stderr
    events = EventAccumulator(str(out))
    events.Reload()
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
        read = [(event.step, event.value) for event in events.Scalars(name)]
        assert read == [(row["epoch"], pytest.approx(row[name], rel=1e-6)) for row in rows]
    (batch,), (confusion,) = (events.Images(name) for name in ("batch", "confusion/val"))
    assert np.array_equal(
        pixels_of(io.BytesIO(batch.encoded_image_string)), pixels_of(out / "batch.png")
    )
    assert (confusion.width, confusion.height) == (218, 218)
    before, after = (load_path(path)[0].state_dict() for path in (plain, out))
    assert all(np.array_equal(tensor, after[name]) for name, tensor in before.items())


def pixels_of(path: Path | io.BytesIO) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def logged(begun, out: Path, tracker: str) -> list[dict]:
    """The rows of a training that a tracker was told of."""
    data, init = begun
    ran = tsf(data, "--init", init, *SMALL, "--log", tracker, "-o", out)
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == str(out)  # whatever the tracker says is no answer
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.filterwarnings("ignore")
def test_trackios_own_reader_has_the_right_numbers_and_pictures(begun, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage
    from trackio.utils import MEDIA_DIR

    rows = logged(begun, tmp_path / "run", "trackio")
    (name,) = SQLiteStorage.get_runs("tsf")
    logs = SQLiteStorage.get_logs("tsf", name)
    for key in ("loss", "val_loss", "learning_rate"):
        read = [(log["step"], log[key]) for log in logs if key in log]
        assert read == [(row["epoch"], pytest.approx(row[key])) for row in rows]
    pictures = {
        key: pixels_of(MEDIA_DIR / log[key]["file_path"])
        for log in logs
        for key in ("batch", "confusion/val")
        if key in log
    }
    assert np.array_equal(pictures["batch"], pixels_of(tmp_path / "run" / "batch.png"))
    assert pictures["confusion/val"].shape == (218, 218, 3)


def records_of(path: Path) -> list[bytes]:
    """The records of a file as LevelDB's logs are, in blocks of 32 KiB, after seven bytes of its own."""
    content, at, found = path.read_bytes(), 7, [b""]
    while at + 7 <= len(content):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        found[-1] += content[at + 7 : at + 7 + length]
        if kind in (1, 4):  # whole, or the last part of one
            found.append(b"")
        at += 7 + length
    return found[:-1]


@pytest.mark.filterwarnings("ignore")
def test_weights_and_biases_has_the_right_numbers_and_pictures_without_a_network(
    begun, tmp_path, monkeypatch
):
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    rows = logged(begun, tmp_path / "run", "wandb")
    (file,) = (tmp_path / "run").rglob("*.wandb")
    logs = []
    for content in records_of(file):
        record = Record.FromString(content)
        if record.HasField("history"):
            items = record.history.item
            logs.append({one.key or one.nested_key[0]: one.value_json for one in items})
    read = [(int(log["_step"]), json.loads(log["loss"])) for log in logs if "loss" in log]
    assert read == [(row["epoch"], pytest.approx(row["loss"])) for row in rows]
    media = file.parent / "files" / "media"
    (batch,) = media.rglob("batch_*.png")
    assert np.array_equal(pixels_of(batch), pixels_of(tmp_path / "run" / "batch.png"))
    (confusion,) = media.rglob("val_*.png")
    assert pixels_of(confusion).shape == (218, 218, 3)


def test_epochs_of_a_killed_run_are_read_once(tmp_path):
    """A resumed run says from which epoch on it writes again."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for over, values in ((0, (1.0, 2.0, 3.0)), (1, (2.5, 3.5, 4.5))):
        with tracking("tensorboard", tmp_path, {}, over) as tracker:
            for epoch, value in enumerate(values, start=over + 1):
                tracker.numbers({"loss": value}, epoch)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [
        (1, 1.0),
        (2, 2.5),
        (3, 3.5),
        (4, 4.5),
    ]


def test_a_tracker_that_is_not_installed_is_one_line(begun, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ran = tsf(*begun[:1], "--init", begun[1], *SMALL, "--log", "wandb", "-o", tmp_path / "run")
    assert (ran.exit_code, "--log wandb needs a package" in ran.stderr) == (2, True)
    require_tracker(None)


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_the_others_get_the_same_numbers_under_their_own_names(name, monkeypatch, tmp_path):
    """What they are called with, where the packages themselves are not installed."""
    told = []
    module = SimpleNamespace(
        init=lambda **how: told.append(("init", how["project"], how["name"], how["resume"])),
        log=lambda values, step: told.append((values, step)),
        Image=lambda pixels: pixels.shape,
        finish=lambda: told.append("finish"),
        __spec__=SimpleNamespace(name=name),
    )
    monkeypatch.setitem(sys.modules, name, module)
    with tracking(name, tmp_path / "run", {"run": "a1"}, 0) as tracker:
        tracker.numbers({"loss": 0.5}, 1)
        tracker.picture("batch", np.zeros((2, 3, 3), np.uint8), 1)
    assert told == [
        ("init", "tsf", "run-a1" if name == "trackio" else "run", "allow"),
        ({"loss": 0.5}, 1),
        ({"batch": (2, 3, 3)}, 1),
        "finish",
    ]


def test_a_confusion_is_drawn_by_shares_of_its_rows():
    picture = confusion_picture({(0, 0): 3, (0, 1): 1, (1, 1): 2}, ("run", "walk"))
    assert picture is not None and picture.shape == (218, 218, 3)
    assert [tuple(picture[180 - 28, 150 + 34 * column + 2]) for column in (0, 1)] == [
        (64, 64, 255),
        (191, 191, 255),
    ]
    assert confusion_picture({(0, 0): 1}, tuple(map(str, range(41)))) is None
