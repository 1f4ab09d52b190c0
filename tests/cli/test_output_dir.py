"""A file for each video, silence, and the number of threads."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from typer.testing import CliRunner

from tests.support import clips
from tests.support.commands import COMMANDS, command_name, run_command
from timesformer_cli.cli.app import app


@pytest.fixture
def tsf(model_folder):
    """`tsf classify` on the small model."""

    def ran(*arguments: object):
        words = ["classify", *map(str, arguments), "-m", str(model_folder)]
        return CliRunner().invoke(app, words)

    return ran


@pytest.fixture
def folders(tmp_path):
    """Two videos of one name."""
    for name in "ab":
        (tmp_path / name).mkdir()
    video = clips.write(tmp_path / "a" / "x.mp4", 24)
    shutil.copy(video, tmp_path / "b" / "x.mp4")
    return tmp_path


def below(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_each_video_has_its_own_file_and_none_takes_anothers_place(tsf, folders):
    out = folders / "deep" / "out"
    ran = tsf(folders / "a" / "x.mp4", folders / "b", "--output-dir", out)
    assert (ran.exit_code, ran.stdout) == (0, ""), ran.stderr
    assert below(out) == ["a/x.mp4.json", "b/x.mp4.json"]
    for name in "ab":
        (result,) = json.loads((out / name / "x.mp4.json").read_text())
        assert result["video"] == str(folders / name / "x.mp4")


@pytest.mark.parametrize(
    ("format", "suffix", "start"),
    [
        ("table", "txt", "video"),
        ("jsonl", "jsonl", '{"schema": 1, "video"'),
        ("csv", "csv", "video,status"),
    ],
)
def test_a_file_is_what_output_would_write_for_the_video(format, suffix, start, tsf, folders):
    ran = tsf(folders / "a", "--output-dir", folders / "out", "--format", format)
    assert ran.exit_code == 0, ran.stderr
    assert below(folders / "out") == [f"x.mp4.{suffix}"]
    assert (folders / "out" / f"x.mp4.{suffix}").read_text().startswith(start)


def test_an_earlier_file_is_replaced_and_a_failed_video_is_only_named(tsf, folders):
    (folders / "a" / "cut.mp4").write_text("this is no video")
    out = folders / "out"
    out.mkdir()
    (out / "x.mp4.json").write_text("the one before")
    ran = tsf(folders / "a", "gone.mp4", "--output-dir", out, "-q")
    assert ran.exit_code == 1
    assert below(out) == ["x.mp4.json"] and json.loads((out / "x.mp4.json").read_text())
    first, second = ran.stderr.splitlines()
    assert first.startswith(f"error: {folders}/a/cut.mp4: cannot_decode: ")
    assert second == "error: gone.mp4: not_found: does not exist"


def test_a_folder_that_cannot_be_is_refused_before_work(tsf, folders):
    video = folders / "a" / "x.mp4"
    for wrong, said in (
        (["--output-dir", video], "is a file"),
        (["--output-dir", video / "deep"], "is a file"),
        (["--output-dir", folders / "out", "-o", "x.json"], "give --output, one file, or"),
    ):
        ran = tsf(video, *wrong)
        assert (ran.exit_code, ran.stderr.count("\n")) == (2, 1)
        assert said in ran.stderr
    shutil.copy(video, folders / "a" / "x.mp4.json")
    ran = tsf(video, folders / "a" / "x.mp4.json", "--output-dir", folders / "a")
    assert ran.exit_code == 2 and "is the same file as a video" in ran.stderr
    assert tsf(folders / "none.mp4", "--output-dir", folders / "out").exit_code == 1
    assert not (folders / "out").exists()


COMPUTING = [arguments for arguments in COMMANDS if arguments[0] != "info"]  # that one only reads


@pytest.mark.parametrize("arguments", COMPUTING, ids=command_name)
def test_quiet_leaves_stderr_empty(arguments, model_folder, tmp_path):
    ran = run_command([*arguments, "--quiet"], str(model_folder), tmp_path)
    assert ran.exit_code == 0, ran.stderr
    assert ran.stderr == ""


def test_quiet_keeps_errors_and_lasts_for_one_command(tsf, folders):
    ran = tsf(folders / "a", folders / "b", "-q", "--stride", "64")
    assert (ran.exit_code, ran.stderr) == (0, "")
    ran = tsf(folders / "a", "-q", "--device", "gpu")
    assert ran.exit_code == 2 and ran.stderr.startswith("error: ")
    assert "2 videos, 0 failed" in tsf(folders / "a", folders / "b").stderr


@pytest.fixture
def threads(monkeypatch):
    """What a command does to the number of threads is undone."""
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", str(before))
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("arguments", COMPUTING, ids=command_name)
def test_a_model_computes_on_as_many_threads_as_asked(arguments, model_folder, tmp_path, threads):
    for wanted in (3, 1):
        ran = run_command([*arguments, "--threads", str(wanted)], str(model_folder), tmp_path)
        assert ran.exit_code == 0, ran.stderr
        assert torch.get_num_threads() == wanted
        assert os.environ["OMP_NUM_THREADS"] == str(wanted)  # for what it starts
        for made in ("run", "converted"):
            shutil.rmtree(tmp_path / made, ignore_errors=True)
        (tmp_path / "model.pt2").unlink(missing_ok=True)


def test_threads_are_known_before_torch_is_imported():
    code = (
        "from timesformer_cli.inference.process_tuning import use_threads\n"
        "use_threads(1)\nimport torch\nprint(torch.get_num_threads())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout == "1\n", ran.stderr


def test_a_measuring_process_has_as_many(threads):
    words = ["benchmark", "--attention", "space", "--size", "tiny", "--image-size", "32"]
    words += ["--runs", "1", "--warmup", "0", "--device", "cpu", "--format", "json"]
    ran = CliRunner().invoke(app, [*words, "--threads", "1"])
    assert ran.exit_code == 0, ran.stderr
    assert json.loads(ran.stdout)["protocol"]["threads"] == 1


def test_onnxruntime_has_as_many(model_folder, threads, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    from timesformer_cli.inference.exported import onnx_file

    asked = []
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda path, options, **how: asked.append(options)
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    onnx_file.start_session(model_folder)
    monkeypatch.delenv("OMP_NUM_THREADS")
    onnx_file.start_session(model_folder)
    assert [options.intra_op_num_threads for options in asked] == [2, 0]
