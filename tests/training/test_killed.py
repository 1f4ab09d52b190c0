# ruff: noqa: F811
"""Killed at five moments and resumed, a training ends with the same weights, whatever its options."""

import os
import shutil
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.test_parts import footage, same  # noqa: F401
from tests.training.test_shards import packed  # noqa: F401
from tests.training.test_train import COLOURS, FAST, data, init  # noqa: F401

EPOCHS = 14
WAIT = 900.0  # seconds for an epoch on a busy machine
# For each set of options: where its clips are, the options, and how many trainings it makes. CACHE is
# a folder of its own.
SETS = {
    "parts": ("footage/long.csv", (), 1),
    "class weights": ("footage/long.csv", ("--class-weights", "balanced"), 1),
    "sampler": ("footage/long.csv", ("--sampler", "balanced"), 1),
    "folds": ("data", ("--folds", "2"), 2),
    "labels from": ("groups", ("--labels-from", "parent"), 1),
    "frame folders": ("pictures", ("--fps", "5"), 1),
    "tar files": ("shards", (), 1),
    "cache": ("footage/long.csv", ("--cache", "CACHE"), 1),
    "tar files, sampler, cache": ("shards", ("--sampler", "balanced", "--cache", "CACHE"), 1),
}


@pytest.fixture(scope="module")
def sources(footage, packed, data, tmp_path_factory) -> Path:
    """A folder with the clips of each set."""
    folder = tmp_path_factory.mktemp("sources")
    for name, source in (("footage", footage), ("shards", packed), ("data", data)):
        (folder / name).symlink_to(source)
    for number, path in enumerate(sorted(data.rglob("*.mp4"))):
        target = folder / "groups" / f"set{number % 3}" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for label, colour in COLOURS.items():
        for number in range(6):
            inside = folder / "pictures" / label / str(number)
            inside.mkdir(parents=True)
            for index in range(5):
                picture = np.full((48, 64, 3), colour, np.uint8)
                picture[:, 8 * index + number :][:, :6] = 128
                Image.fromarray(picture).save(inside / f"{index:06d}.png")
    return folder


def run(words: list[str], said: Path) -> None:
    """The command, in a process that was forked of one that has torch loaded and has done nothing."""
    import torch
    from typer.testing import CliRunner

    from timesformer_cli.cli.app import app

    torch.set_num_threads(1)
    ran = CliRunner().invoke(app, ["train", *words])
    said.write_text(ran.stderr)
    os._exit(ran.exit_code)


@pytest.fixture(scope="module")
def start():
    """A function that starts the command with these words and returns its process."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["timesformer_cli.training.session", "timm.data", __name__])

    def begun(words, said: Path):
        process = context.Process(target=run, args=(list(map(str, words)), said))
        process.start()
        return process

    return begun


def epochs_in(out: Path) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in out.rglob("metrics.jsonl"))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_killed_at_five_moments_it_ends_with_the_same_weights(name, sources, init, start, tmp_path):
    source, how, trainings = SETS[name]
    whole, out, said = tmp_path / "whole", tmp_path / "run", tmp_path / "said"

    def options(folder: Path) -> list[object]:
        own = [str(tmp_path / f"{folder.name}-cache") if each == "CACHE" else each for each in how]
        plain = (sources / source, "--init", init, "--epochs", EPOCHS, *FAST[2:])
        return [*plain, *own, "-o", folder]

    undisturbed = start(options(whole), said)
    undisturbed.join(WAIT)
    assert undisturbed.exitcode == 0, said.read_text()
    words = options(out)
    for share in (0.0, 0.15, 0.4, 0.6, 0.85):
        process = start(words, said)
        deadline = time.monotonic() + WAIT
        while not list(out.rglob("last.pt")) or epochs_in(out) < share * trainings * EPOCHS:
            assert process.is_alive(), said.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.join()
        assert process.exitcode == -9
        words = ["--resume", out, "--workers", 1]
    last = start(words, said)
    last.join(WAIT)
    assert last.exitcode == 0, said.read_text()
    models = sorted(path.parent.relative_to(whole) for path in whole.rglob("model.safetensors"))
    assert len(models) == trainings
    assert all(same(whole / folder, out / folder) for folder in models)
    assert epochs_in(out) == trainings * EPOCHS
