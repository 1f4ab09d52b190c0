# ruff: noqa: F811
"""Training and evaluation from tar files: the same as from the files that are in them."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.dataset.test_shards import shard
from tests.training.test_parts import same
from tests.training.test_train import FAST, data, init, one_thread, tsf  # noqa: F401
from timesformer_cli.cli.app import app


@pytest.fixture(scope="module")
def packed(data, tmp_path_factory) -> Path:
    """The clips of the folder in three tar files, in the folder's order."""
    folder = tmp_path_factory.mktemp("shards")
    videos = sorted(data.rglob("*.mp4"))
    for number in range(3):
        members = []
        for path in videos[number * 4 : number * 4 + 4]:
            key = f"{path.parent.name}/{path.stem}"
            members += [(f"{key}.txt", path.parent.name), (f"{key}.mp4", path.read_bytes())]
        shard(folder / f"clips-{number}.tar", *members)
    return folder


def test_tar_files_train_and_score_as_the_files_in_them(packed, data, init, tmp_path, one_thread):
    shards = sorted(packed.glob("*.tar"))
    for source, out in (([data], "files"), (shards, "tars")):
        ran = tsf(*source, "--init", init, *FAST, "-o", tmp_path / out)
        assert ran.exit_code == 0, ran.stderr
    assert same(tmp_path / "files", tmp_path / "tars")
    rows = []
    for source in ([data], [packed]):
        words = ("evaluate", *source, "-m", tmp_path / "files", "--format", "json")
        ran = CliRunner().invoke(app, [*map(str, words), "--device", "cpu"])
        assert ran.exit_code == 0, ran.stderr
        rows.append(json.loads(ran.stdout)["evaluations"])
    assert rows[0] == rows[1]


def test_what_is_wrong_in_a_tar_file_is_listed_with_the_member(data, init, tmp_path, packed):
    first = next((data / "grün").iterdir()).read_bytes()
    shutil.copy(packed / "clips-0.tar", tmp_path)
    shutil.copy(packed / "clips-2.tar", tmp_path)
    shard(
        tmp_path / "clips-9.tar",
        ("broken.txt", "grün"),
        ("broken.mp4", b"\0\0\0\x18ftypmp42 and no more than that"),
        ("again.txt", "red, bright"),
        ("again.mp4", first),
        ("alone.mp4", first),
    )
    ran = tsf(tmp_path, "--init", init, *FAST, "--dry-run", "-o", tmp_path / "run")
    assert ran.exit_code == 0, ran.stderr
    said = (ran.stdout + ran.stderr).replace("\n", "")
    assert f"unreadable: {tmp_path}/clips-9.tar/broken.mp4" in said
    assert "clips-9.tar/alone.mp4: a video without a label" in said
    assert "the same content" in said and "clips-9.tar/again.mp4" in said
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["batch.png"]
    ran = tsf(data, packed / "clips-0.tar", "-o", tmp_path / "other")
    assert (ran.exit_code, "is no tar file; several DATA" in ran.stderr) == (2, True), ran.stderr
    assert not (tmp_path / "other").exists()
