"""`tsf embed -o FILE --resume`: a run that was stopped is gone on with, into the same file."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support import clips
from timesformer_cli.cli.app import app
from timesformer_cli.library import embed as room

TAKEN = room.embed_videos


@pytest.fixture
def videos(tmp_path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for number, name in enumerate("abc"):
        clips.write(folder / f"{name}.mp4", (clips.barcode(40 * number + n) for n in range(40)))
    (folder / "d.mp4").write_text("no video\n" * 9)
    return folder


@pytest.fixture
def embed(model_folder, monkeypatch):
    """`tsf embed` with the small model, stopped after so many videos; it says what it embedded."""

    def ran(*words: object, stopped_after: int = 99) -> tuple[int, list[str]]:
        seen: list[str] = []

        def taken(files, *arguments, **named):
            for result in TAKEN(files, *arguments, **named):
                if len(seen) == stopped_after:
                    raise RuntimeError("stopped")
                seen.append(Path(result.video).name)
                yield result

        monkeypatch.setattr(room, "embed_videos", taken)
        fixed = ["-m", str(model_folder), "--device", "cpu", "--dtype", "float32"]
        # One video at a time, as in the run that goes on: batches of others round otherwise.
        words = ("embed", *map(str, words), *fixed, "--batch-size", "1")
        return CliRunner().invoke(app, words).exit_code, seen

    return ran


@pytest.mark.parametrize("name", ["v.jsonl", "v.parquet", "v.npy"])
def test_a_run_that_was_stopped_goes_on_and_writes_the_same_file(embed, videos, tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    whole, output = tmp_path / f"whole-{name}", tmp_path / name
    assert embed(videos, "-o", whole) == (1, ["a.mp4", "b.mp4", "c.mp4", "d.mp4"])
    assert not list(tmp_path.glob(".*"))
    embed(videos, "-o", output, stopped_after=2)
    assert not output.exists()
    (journal,) = tmp_path.glob(".*.journal")
    with journal.open("ab") as file:
        file.write(b'{"embedded": {"vid')  # the killed run's last line
    assert embed(videos, "-o", output, "--resume") == (1, ["c.mp4", "d.mp4"])
    for suffix in {output.suffix, ".csv"} if name == "v.npy" else {output.suffix}:
        assert output.with_suffix(suffix).read_bytes() == whole.with_suffix(suffix).read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_what_changed_is_done_again(embed, videos, tmp_path):
    output = tmp_path / "v.jsonl"
    embed(videos, "-o", output, stopped_after=2)
    shutil.copy(videos / "c.mp4", videos / "a.mp4")
    embed(videos, "-o", output, "--resume", stopped_after=1)  # a again
    _, seen = embed(videos, "-o", output, "--resume", "--normalise", stopped_after=2)
    assert seen == ["a.mp4", "b.mp4"]  # other options: from the beginning
    _, seen = embed(videos, "-o", output, stopped_after=2)
    assert seen == ["a.mp4", "b.mp4"]  # not asked to go on
    _, seen = embed(videos, "-o", output, "--resume")
    assert seen == ["c.mp4", "d.mp4"]


def test_stdout_cannot_be_gone_on_with(embed, videos):
    assert embed(videos, "--resume") == (2, [])
