"""What is wrong is said before a model is looked for, loaded or fetched, and before torch is."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tests.support import clips
from timesformer_cli.cli.app import app
from timesformer_cli.weights.hub import locate as module

# Runs a command in a process where no socket can be made, and says whether torch was loaded.
OFFLINE = """
import socket, sys
def refuse(*arguments, **options):
    raise AssertionError("a socket was made")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
from timesformer_cli.cli.app import app
code = 0
try:
    app({arguments!r}, prog_name="tsf")
except SystemExit as end:
    code = end.code
print("torch" in sys.modules, code)
"""
# Arguments, the exit code, and words of the message. VIDEO, TABLE and DATA are there, MISSING not.
WRONG = {
    "classify a missing file": (["classify", "MISSING"], 1, "not_found"),
    "classify a glob without a match": (["classify", "MISSING*"], 1, "matches no file"),
    "classify views": (["classify", "VIDEO", "--views", "2"], 2, "CLIPSxCROPS"),
    "classify a device": (["classify", "VIDEO", "--device", "gpu"], 2, "no device 'gpu'"),
    "classify a device's number": (["classify", "VIDEO", "--device", "cuda:x"], 2, "'cuda:x'"),
    "classify one device of two": (["classify", "VIDEO", "--device", "cpu,xpu"], 2, "'xpu'"),
    "classify a dtype": (["classify", "VIDEO", "--dtype", "double"], 2, "double"),
    "classify top-k": (["classify", "VIDEO", "--top-k", "0"], 2, "--top-k"),
    "classify an output": (["classify", "VIDEO", "-o", "NOWHERE/x.csv"], 2, "NOWHERE"),
    "classify an unknown suffix": (["classify", "VIDEO", "-o", "x.xlsx"], 2, ".xlsx"),
    "classify two formats": (["classify", "VIDEO", "-o", "x.csv", "--format", "json"], 2, ".csv"),
    "classify into a folder": (["classify", "VIDEO", "-o", "DATA"], 2, "it is a folder"),
    "timeline a missing file": (["timeline", "MISSING"], 1, "not_found"),
    "timeline a stretch": (["timeline", "VIDEO", "--to", "0"], 2, "--to 0 is not after"),
    "timeline an output": (["timeline", "VIDEO", "-o", "NOWHERE/x.srt"], 2, "NOWHERE"),
    "timeline a plot": (["timeline", "VIDEO", "--plot", "NOWHERE/x.png"], 2, "NOWHERE"),
    "evaluate an unknown suffix": (["evaluate", "TABLE", "-o", "x.csv"], 2, "by .csv here"),
    "benchmark an unknown suffix": (["benchmark", "--no-measure", "-o", "x.html"], 2, ".html"),
    "benchmark a drawing": (["benchmark", "--explain", "all", "-o", "x.json"], 2, "a .txt"),
    "evaluate a missing table": (["evaluate", "MISSING"], 2, "cannot be read"),
    "evaluate a device": (["evaluate", "TABLE", "--device", "cuda:"], 2, "no device 'cuda:'"),
    "evaluate views": (["evaluate", "TABLE", "--views", "1x2"], 2, "CLIPSxCROPS"),
    "evaluate an output": (["evaluate", "TABLE", "-o", "NOWHERE/x.json"], 2, "NOWHERE"),
    "train on nothing": (["train", "MISSING"], 2, "cannot be read"),
    "train on missing clips": (["train", "GONE"], 2, "none of its clips"),
    "train on a device": (["train", "DATA", "--device", "gpu"], 2, "no device 'gpu'"),
    "train on two devices": (["train", "DATA", "--device", "cpu,cpu"], 2, "'cpu,cpu'"),
    "train into a file": (["train", "DATA", "--out", "VIDEO"], 2, "is a file"),
    "resume nothing": (["train", "--resume", "MISSING"], 3, "no training to resume"),
    "export into a missing folder": (["export", "-o", "NOWHERE/x.onnx"], 2, "NOWHERE"),
    "export a batch": (["export", "--batch", "many"], 2, "--batch"),
    "benchmark a device": (["benchmark", "-m", "base-k400", "--device", "gpu"], 2, "'gpu'"),
    "benchmark an output": (["benchmark", "-m", "base-k400", "-o", "NOWHERE/x.csv"], 2, "NOWHERE"),
}


@pytest.fixture
def filled(tmp_path):
    """Arguments with the words in capitals replaced by paths."""
    video = clips.write(tmp_path / "clip.mp4", 24)
    (tmp_path / "table.csv").write_text("path,label\nclip.mp4,b\n")
    (tmp_path / "gone.csv").write_text("path,label\na.mp4,a\nb.mp4,b\nc.mp4,a\nd.mp4,b\n")
    for label in "ab":
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(2):
            clips.write(tmp_path / "data" / label / f"{number}.mp4", 8)
    names = {"VIDEO": video.name, "TABLE": "table.csv", "GONE": "gone.csv", "DATA": "data"}

    def fill(arguments: list[str]) -> list[str]:
        return [
            word
            if word not in names and not word.startswith(("MISSING", "NOWHERE"))
            else str(tmp_path / names.get(word, word))
            for word in arguments
        ]

    return fill


@pytest.mark.parametrize(("arguments", "code", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_before_a_model_is_looked_for(
    arguments, code, words, filled, monkeypatch
):
    def refuse(*arguments, **options):
        raise AssertionError("a model was looked for")

    monkeypatch.setattr(module, "locate", refuse)
    ran = CliRunner().invoke(app, filled(arguments), env={"COLUMNS": "300"})
    assert ran.exit_code == code, ran.output
    assert words in ran.output
    assert "Traceback" not in ran.output


# Processes of their own are dear, so each command is tried once or twice.
@pytest.mark.parametrize(
    "name",
    [
        "classify a missing file",
        "classify a device",
        "timeline a missing file",
        "evaluate a missing table",
        "train on missing clips",
        "train into a file",
        "resume nothing",
        "export into a missing folder",
        "benchmark a device",
    ],
)
def test_it_takes_no_socket_and_no_torch(name, filled):
    arguments, code, _ = WRONG[name]
    script = OFFLINE.format(arguments=filled(arguments))
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == f"False {code}", ran.stdout + ran.stderr


def test_of_videos_that_are_there_in_part_the_rest_is_classified(filled, model_folder):
    arguments = ["classify", "VIDEO", "MISSING", "-m", str(model_folder), "--format", "json"]
    ran = CliRunner().invoke(app, filled(arguments))
    assert ran.exit_code == 1
    assert [found["status"] for found in json.loads(ran.stdout)] == ["ok", "error"]
