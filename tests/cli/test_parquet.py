"""Answers as Parquet: the rows of the other formats, with types, whole or not at all."""

import csv
import json
import sys

import pytest
from typer.testing import CliRunner

from tests.support import clips
from timesformer_cli.cli.app import app

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name in "ab":
        clips.write(folder / f"{name}.mp4", 60)
    (folder / "c.mp4").write_text("no video\n" * 9)
    return folder


@pytest.fixture
def tsf(model_folder):
    def ran(*arguments: object):
        words = [*map(str, arguments), "-m", str(model_folder), "--device", "cpu", "-q"]
        return CliRunner().invoke(app, words)

    return ran


def test_labels_are_those_of_the_lines(tsf, videos, tmp_path):
    for name in ("l.parquet", "l.jsonl"):
        assert tsf("classify", videos, "-o", tmp_path / name, "-k", "3").exit_code == 1
    table = parquet.read_table(tmp_path / "l.parquet")
    assert table.schema.metadata[b"tsf.schema"] == b"1"
    lines = map(json.loads, (tmp_path / "l.jsonl").read_text().splitlines())
    for row, line in zip(table.to_pylist(), lines, strict=True):
        assert (row["video"], row["status"]) == (line["video"], line["status"])
        if line["status"] == "error":
            assert row["error_kind"] == line["error"]["kind"] and row["predictions"] is None
        else:
            assert row["predictions"] == line["predictions"] and row["error_kind"] is None
            assert (row["label"], row["score"]) == tuple(
                line["predictions"][0][name] for name in ("label", "score")
            )
            assert row["end"] == line["views"][0]["end"]


def test_segments_are_those_of_the_table(tsf, videos, tmp_path):
    for name in ("s.parquet", "s.csv"):
        assert tsf("timeline", videos, "-o", tmp_path / name).exit_code == 1
    rows = parquet.read_table(tmp_path / "s.parquet").to_pylist()
    with (tmp_path / "s.csv").open() as file:
        for row, cells in zip(rows, csv.DictReader(file), strict=True):
            assert {name: "" if v is None else str(v) for name, v in row.items()} == cells
    assert isinstance(rows[0]["start"], float) and isinstance(rows[0]["windows"], int)


def test_each_video_may_have_its_own(tsf, videos, tmp_path):
    tsf("classify", videos, "--output-dir", tmp_path, "--format", "parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4.parquet", "b.mp4.parquet"]
    assert parquet.read_table(tmp_path / "a.mp4.parquet").num_rows == 1


@pytest.mark.parametrize("command", ["classify", "timeline", "embed"])
def test_it_needs_a_file_and_pyarrow(tsf, videos, tmp_path, monkeypatch, command):
    ran = tsf(command, videos, "--format", "parquet")
    assert ran.exit_code == 2 and "--format parquet needs a file; name it with -o" in ran.stderr
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    ran = tsf(command, videos, "-o", tmp_path / "x.parquet")
    assert ran.exit_code == 2
    assert "parquet needs pyarrow: " in ran.stderr and "parquet]" in ran.stderr
    assert not list(tmp_path.iterdir())
