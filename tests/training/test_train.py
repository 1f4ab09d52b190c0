"""`tsf train` as a user meets it: from clips to a model that the other commands take."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.support import clips
from tests.support.models import TYPED, tiny
from timesformer_cli.cli.app import app
from timesformer_cli.config import Sampling
from timesformer_cli.model import TimeSformer
from timesformer_cli.training.checkpoint import NAME
from timesformer_cli.training.randomness import seeded
from timesformer_cli.weights.load import load_path, save_model

COLOURS = {"red, bright": (200, 40, 40), "grün": (40, 160, 60)}
FAST = ("--epochs", "2", "--batch-size", "4", "--workers", "1", "--device", "cpu")


def tsf(*arguments: str):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


@pytest.fixture(scope="session")
def init(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("init") / "model"
    with seeded(0):
        model = TimeSformer(tiny(frames=4, height=32, width=32))
    model.sampling = Sampling(frames=4, stride=None)
    save_model(model, folder)
    return str(folder)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Twelve clips of two colours in folders, each with a moving grey bar."""
    source = tmp_path_factory.mktemp("data")
    for label, colour in COLOURS.items():
        (source / label).mkdir()
        for number in range(6):
            frames = np.full((6, 48, 64, 3), colour, np.uint8)
            for index, frame in enumerate(frames):
                frame[:, 8 * index + number : 8 * index + 6 + number] = 128
            clips.write(source / label / f"{number}.mp4", list(frames), fps=6, size=(64, 48))
    return source


@pytest.fixture(scope="session")
def trained(data, init, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "colours"
    ran = tsf(data, "--init", init, "--learning-rate", "1e-3", *FAST, "-o", out)
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == str(out)
    return out


def table(folder: Path, data: Path, extra: str = "") -> Path:
    rows = [f'"{path}","{path.parent.name}"' for path in sorted(data.rglob("*.mp4"))]
    path = folder / "clips.csv"
    path.write_text("\ufeffpath,label\r\n" + "\r\n".join(rows) + "\r\n" + extra, encoding="utf-8")
    return path


def test_what_comes_out_is_a_model_with_all_that_belongs_to_it(trained, data):
    names = {path.name for path in trained.iterdir()}
    assert names >= {"model.safetensors", "config.json", "preprocessor_config.json", NAME}
    assert names >= {"README.md", "metrics.jsonl", "recipe.json", "batch.png", "curves.png"}
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[0].keys() >= {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
    card = (trained / "README.md").read_text(encoding="utf-8")
    assert "| red, bright | 5 | 1 |" in card
    assert "top-1" in card
    clip = next((data / "grün").iterdir())
    ran = CliRunner().invoke(
        app, ["classify", str(clip), "-m", str(trained), "--format", "json", "--device", "cpu"]
    )
    (result,) = json.loads(ran.stdout)
    assert {one["label"] for one in result["predictions"]} == set(COLOURS)


def test_a_training_is_not_overwritten(trained, data, init):
    ran = tsf(data, "--init", init, *FAST, "-o", trained)
    assert ran.exit_code == 2
    assert "--resume" in ran.stderr


def test_frames_of_a_cache_train_to_the_same_weights(trained, data, init, tmp_path):
    out, frames = tmp_path / "run", tmp_path / "frames"
    how = ("--init", init, "--learning-rate", "1e-3", *FAST, "--cache", frames)
    ran = tsf(data, *how, "--cache-size", "30MB", "-o", out)
    assert ran.exit_code == 0, ran.stderr
    one, other = (load_path(folder)[0].state_dict() for folder in (trained, out))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert len(list(frames.rglob("*.frames"))) > 12
    stored = json.loads((out / "recipe.json").read_text())["options"]
    assert (stored["cache"], stored["cache_size"]) == (str(frames), 30_000_000)
    for wrong, message in (
        (("--cache-size", "1GB"), "--cache-size is that of --cache"),
        (("--cache", frames, "--cache-size", "much"), "--cache-size is a size such as"),
        (("--cache", trained / "README.md"), "cannot be a folder"),
    ):
        ran = tsf(data, *how[:-2], *wrong, "-o", tmp_path / "other")
        assert (ran.exit_code, message in ran.stderr) == (2, True), ran.stderr
        assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ((), "holds a training: --resume"),
        (("-o", "elsewhere", "--val-fraction", "2"), "--val-fraction 2.0 must lie between"),
        (("-o", "elsewhere", "--group-by", "("), "--group-by"),
    ],
)
def test_what_needs_no_model_is_said_before_one_is_fetched(
    trained, data, monkeypatch, wrong, message
):
    monkeypatch.setattr(
        "timesformer_cli.weights.hub.locate.locate", lambda *_, **how: pytest.fail("fetched")
    )
    ran = tsf(data, "-o", trained, *wrong)
    assert (ran.exit_code, message in ran.stderr) == (2, True), ran.stderr


def test_a_finished_training_resumed_changes_nothing(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "copy")
    ran = tsf("--resume", tmp_path / "copy", "--workers", "1")
    assert ran.exit_code == 0, ran.stderr
    before, after = (folder / "model.safetensors" for folder in (trained, tmp_path / "copy"))
    assert before.read_bytes() == after.read_bytes()


def test_what_was_settled_cannot_change_under_way(trained, data):
    ran = tsf("--resume", trained, "--epochs", "9")
    assert (ran.exit_code, "--epochs" in ran.stderr) == (2, True)
    assert tsf("--resume", trained, data).exit_code == 2
    assert tsf().exit_code == 2
    assert tsf("--resume", trained / "nowhere").exit_code == 3


def test_a_dry_run_counts_and_draws_and_trains_nothing(data, init, tmp_path):
    first = next((data / "grün").iterdir())
    (tmp_path / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42 and no more than that")
    shutil.copy(first, tmp_path / "copy.mp4")
    extra = 'broken.mp4,grün\r\n"copy.mp4","red, bright"\r\n'
    out = tmp_path / "run"
    ran = tsf(table(tmp_path, data, extra), "--init", init, *FAST, "--dry-run", "-o", out)
    assert ran.exit_code == 0, ran.stderr
    assert f"unreadable: {tmp_path / 'broken.mp4'}" in ran.stdout
    assert "the same content" in ran.stdout
    assert "clips last 1.0 to 1.0 s" in ran.stdout
    assert [path.name for path in out.iterdir()] == ["batch.png"]


def test_broken_clips_are_listed_and_the_rest_is_trained_on(data, init, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42 and no more than that")
    source = table(tmp_path, data, "broken.mp4,grün\r\n")
    ran = tsf(source, "--init", init, *FAST, "--val-fraction", "0", "-o", tmp_path / "run")
    assert ran.exit_code == 0, ran.stderr
    assert "broken.mp4" in ran.stderr.replace("\n", "")
    assert "No clips were held out" in (tmp_path / "run" / "README.md").read_text()


def test_what_is_wrong_is_said_before_the_first_step(data, init, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42 and no more than that")
    for extra, message in (
        ("broken.mp4,alone\r\n", "class 'alone' has no readable clip"),
        ("x.mp4\r\n", "clips.csv:14: 1 cells"),
    ):
        ran = tsf(table(tmp_path, data, extra), "--init", init, *FAST, "-o", tmp_path / "run")
        assert ran.exit_code == 2
        assert message in ran.stderr.replace("\n", " ")
    ran = tsf(data / "grün", "--init", init, "-o", tmp_path / "run")
    assert (ran.exit_code, "in a folder of its own" in ran.stderr) == (2, True)


def test_a_direction_in_a_label_warns_of_mirroring(data, init, tmp_path):
    source = table(tmp_path, data)
    text = source.read_text(encoding="utf-8")
    source.write_text(text.replace(',"grün"', ',"turn left"'), encoding="utf-8")
    warned = [
        "--no-flip" in tsf(source, "--init", init, *FAST, "--dry-run", *more, "-o", tmp_path).stderr
        for more in ((), ("--no-flip",))
    ]
    assert warned == [True, False]


def test_a_frozen_backbone_stays_and_its_head_learns(data, init, tmp_path):
    out = tmp_path / "run"
    plain = ("--workers", "1", "--device", "cpu", "--freeze-backbone")
    ran = tsf(data, "--init", init, *plain, "-o", out)
    assert ran.exit_code == 0, ran.stderr
    assert "of clips left out in turn, 100.0% are right" in ran.stderr
    assert "validation: top-1 100.0%" in ran.stdout
    assert "ridge regression in closed form" in (out / "README.md").read_text()
    before, after = (load_path(Path(folder))[0].state_dict() for folder in (init, out))
    for name, tensor in after.items():
        assert name.startswith("head.") or torch.equal(tensor, before[name]), name
    ran = tsf("--resume", out, "--workers", "1")
    assert ran.exit_code == 0, ran.stderr
    again = load_path(out)[0].state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in after.items())
    ran = tsf(data, "--init", init, *plain, "--epochs", "3", "-o", tmp_path / "other")
    assert (ran.exit_code, "--epochs is for a training in steps" in ran.stderr) == (2, True)


def test_a_typed_scheme_is_trained_and_goes_on_where_it_stopped(data, init, tmp_path):
    out, scheme = tmp_path / "run", TYPED["late-time"]
    how = ("--attention", f"{scheme};", "--epochs", "1", "--batch-size", "6", "--workers", "1")
    ran = tsf(data, "--init", init, *how, "--device", "cpu", "-o", out)
    assert ran.exit_code == 0, ran.stderr
    assert json.loads((out / "config.json").read_text())["tsf"]["attention"] == scheme
    assert f"TimeSformer, late-time attention (`{scheme}`), " in (out / "README.md").read_text()
    assert load_path(out)[0].config.attention == scheme
    ran = tsf("--resume", out, "--workers", "1")
    assert ran.exit_code == 0, ran.stderr


def test_a_head_of_the_same_labels_is_kept(data, init, trained, tmp_path):
    from timesformer_cli.training.initial_model import initial_model
    from timesformer_cli.training.options import TrainOptions

    source = load_path(trained)[0]
    options = TrainOptions(data="", out="", init=str(trained), attention="joint", frames=2)
    notes: list[str] = []
    model = initial_model(options, tuple(reversed(source.labels)), notes.append)
    assert model.labels == source.labels
    assert torch.equal(model.head.weight, source.head.weight)
    assert (model.config.attention, model.sampling.frames, notes) == ("joint", 2, [])
    other = initial_model(options, ("a", "b"), notes.append)
    assert other.labels == ("a", "b")
    assert not torch.equal(other.head.weight, source.head.weight)
    assert len(notes) == 1


def test_it_uploads_what_a_model_is(trained, data, monkeypatch):
    import huggingface_hub

    from timesformer_cli.weights.hub import upload

    sent: dict[str, object] = {}

    class Api:
        def whoami(self):
            return {"name": "someone"}

        def create_repo(self, repo, exist_ok):
            return f"https://hub/{repo}"

        def upload_folder(self, **options):
            sent.update(options)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    upload.require_upload_rights("org/name")
    assert upload.upload(trained, "org/name") == "https://hub/org/name"
    assert (sent["folder_path"], sent["repo_id"]) == (trained, "org/name")
    assert NAME not in sent["allow_patterns"]
    assert tsf(data, "--push-to-hub", "no name").exit_code == 2
    monkeypatch.setattr(Api, "whoami", lambda self: 1 / 0)
    assert tsf(data, "--push-to-hub", "org/name").exit_code == 3


def start_process(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "timesformer_cli", "train", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_interrupted_and_resumed_it_ends_with_the_same_weights(data, init, tmp_path, one_thread):
    options = (data, "--init", init, "--epochs", 30, *FAST[2:], "--val-fraction", 0.3)
    whole, out = tmp_path / "whole", tmp_path / "run"
    assert tsf(*options, "-o", whole).exit_code == 0
    arguments: tuple[object, ...] = (*options, "-o", out)
    for number, epochs in ((signal.SIGINT, 4), (signal.SIGKILL, 9), (signal.SIGTERM, 14)):
        process = start_process(*arguments)
        wait_for_epochs(out / "metrics.jsonl", epochs, process)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
        ending = -number if number == signal.SIGKILL else 128 + number
        assert process.returncode == ending, stderr
        arguments = ("--resume", out, "--workers", 1)
    ran = tsf(*arguments)
    assert ran.exit_code == 0, ran.stderr
    one, other = (load_path(folder)[0].state_dict() for folder in (whole, out))
    assert all(torch.equal(one[name], other[name]) for name in one)


def wait_for_epochs(path: Path, wanted: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 100
    while not path.exists() or len(path.read_bytes().splitlines()) < wanted:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
