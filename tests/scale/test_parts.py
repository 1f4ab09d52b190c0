"""What a run on a cluster writes, with rows that are made up: each video once, whatever ends a run."""

import pytest

from tests.support.storage import FlakyStorage, storage
from timesformer_cli.callbacks import ignore_note
from timesformer_cli.cli.show.classify import PARQUET_COLUMNS, parquet_rows_of
from timesformer_cli.errors import TsfError, UsageError
from timesformer_cli.inference.classify import ClassifyOptions
from timesformer_cli.library.fill import Filling
from timesformer_cli.library.store import Library, Making
from timesformer_cli.library.write import COLUMNS, rows_of
from timesformer_cli.parquet import LOOK, parquet_schema
from timesformer_cli.scale import parts
from timesformer_cli.scale.inputs import name_inputs, to_table
from timesformer_cli.scale.parts import ScaleSummary, fill_library, write_parts
from timesformer_cli.scale.stages import ClusterJob
from timesformer_cli.scale.storage import place_of

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

__all__ = ["storage"]
NAMES = [f"{number}.mp4" for number in range(10)]


@pytest.fixture
def asked_for(monkeypatch) -> list[list[str]]:
    """The videos that each run asks a cluster for; the first run's ends after four answers."""
    runs: list[list[str]] = []

    def rows_of_videos(videos, job, workers):
        runs.append(videos["video"].to_pylist())
        for number, name in enumerate(runs[-1]):
            if len(runs) == 1 and number == 4:
                raise TsfError("the cluster is gone")
            row = {"video": name, "status": "ok"}
            if name in NAMES[3:6]:
                row |= {"status": "error", "error_kind": "timeout"}
            yield pyarrow.Table.from_pylist([row], parquet_schema(PARQUET_COLUMNS))

    monkeypatch.setattr(parts, "rows_of_videos", rows_of_videos)
    monkeypatch.setattr(parts, "resources", lambda name: 0.0)
    return runs


def inputs() -> "pyarrow.Table":
    return to_table(found._replace(kind="") for found in name_inputs(NAMES, (), ignore_note))


def written(output: str, frames: int = 8) -> ScaleSummary:
    job = ClusterJob(
        options=ClassifyOptions(frames=frames),
        located="",
        revision="r",
        rows_of=parquet_rows_of,
        columns=PARQUET_COLUMNS,
    )
    return write_parts(inputs(), job, output, None, lambda done, total, doing: None)


@pytest.mark.parametrize("place", ["folder", "s3"])
def test_what_came_is_in_a_part_and_nobody_is_asked_again(
    asked_for, place, tmp_path, storage: FlakyStorage
):
    output = str(tmp_path / "parts") if place == "folder" else f"s3://{storage.bucket}/parts"
    storage.failing = 0.1
    with pytest.raises(TsfError, match="the cluster is gone"):
        written(output)
    summary = written(output)
    assert asked_for == [NAMES, NAMES[4:]]
    assert (summary.videos, summary.known, summary.failures) == (10, 4, {"timeout": 3})
    assert written(output).known == 10 and len(asked_for) == 2
    filesystem, folder = place_of(output)
    table = parquet.read_table(folder, filesystem=filesystem)
    assert sorted(table["video"].to_pylist()) == NAMES
    with pytest.raises(UsageError, match="was begun with another frames"):
        written(output, frames=16)


def test_parts_are_written_as_rows_come(asked_for, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART", 2)
    with pytest.raises(TsfError):
        written(str(tmp_path / "parts"))
    found = list((tmp_path / "parts").glob("*.parquet"))
    assert [parquet.read_metadata(path).num_rows for path in found] == [2, 2]


def test_a_folder_with_files_of_others_is_left_alone(asked_for, tmp_path):
    parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(UsageError, match="has Parquet files of others"):
        written(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["other.parquet"] and not asked_for


def test_a_library_is_filled_with_what_it_does_not_know(asked_for, tmp_path, monkeypatch):
    pytest.importorskip("lance")
    columns = {**COLUMNS, LOOK: LOOK}
    told = dict.fromkeys(("model", "revision", "device", "dtype", "decoder"), "r")
    told |= {"start": 0.0, "end": 1.0, "predictions": [], "vector": [1.0, 0.0], "look": [0.5] * 70}

    def rows_of_videos(videos, job, workers):
        asked_for.append(videos["video"].to_pylist())
        for name in asked_for[-1]:
            row = {"video": name, "status": "ok", "content": name, **told}
            if name == NAMES[3]:
                row = {"video": name, "status": "error", "error_kind": "timeout"}
                row["error_message"] = "made no progress"
            yield pyarrow.Table.from_pylist([row], parquet_schema(columns))

    monkeypatch.setattr(parts, "rows_of_videos", rows_of_videos)
    job = ClusterJob(
        options=ClassifyOptions(),
        located="",
        revision="r",
        rows_of=rows_of,
        columns=columns,
        vectors=True,
    )
    for known in (0, 9):
        filling = Filling(Library.create(tmp_path / "l.lance", Making(model="m", revision="r")))
        summary = fill_library(inputs(), job, filling, None, lambda done, total, doing: None)
        assert (summary.known, summary.failures) == (known, {"timeout": 1})
    assert asked_for == [NAMES, NAMES[3:4]]
    assert Library.open(tmp_path / "l.lance").dataset().count_rows() == 9
