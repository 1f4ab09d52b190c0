"""What shells complete: commands, models, schemes, devices, formats; fast, for it is done while typing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from timesformer_cli.cli.app import app
from timesformer_cli.schemes import SCHEMES
from timesformer_cli.weights.catalogue import WEIGHTS

HEAVY = ["torch", "numpy", "av", "cv2", "decord", "huggingface_hub", "timm"]


def completed(line: str) -> list[str]:
    """What bash would be offered for the last word of the line."""
    words = {"_TSF_COMPLETE": "complete_bash", "COMP_WORDS": line}
    words["COMP_CWORD"] = str(len(line.split(" ")) - 1)
    ran = CliRunner().invoke(app, [], prog_name="tsf", env=words)
    assert ran.exit_code == 0 and ran.stderr == ""
    return ran.stdout.split()


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """A folder with a model, a checkpoint, and things that are none."""
    monkeypatch.chdir(tmp_path)
    for name in ("runs/best/config.json", "runs/base.pth", "runs/notes.txt", "videos/a.mp4"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("{}")


@pytest.mark.parametrize(
    "line",
    [
        "tsf classify x --model ",
        "tsf timeline x --model ",
        "tsf x.mp4 --model ",
        "tsf info ",
        "tsf train data --init ",
        "tsf export -m ",
        "tsf download-weights ",
        "tsf evaluate data --model ",
        "tsf benchmark --model ",
    ],
)
def test_models_are_completed_wherever_one_is_named(line):
    assert completed(line) == list(WEIGHTS)
    assert completed(f"{line}hr-k") == ["hr-k400", "hr-k600"]


def test_model_folders_and_files_are_models_too():
    assert completed("tsf info runs/") == ["runs/base.pth", "runs/best"]
    assert completed("tsf info runs/be") == ["runs/best"]
    assert completed("tsf benchmark -m base-k400,runs/be") == ["base-k400,runs/best"]
    assert completed("tsf info vid") == [name for name in WEIGHTS if name.startswith("vid")]


def test_schemes_are_completed_also_behind_a_comma():
    assert completed("tsf benchmark --attention ") == list(SCHEMES)
    assert completed("tsf benchmark --attention joint,ax") == ["joint,axial"]
    assert completed("tsf train data --attention spa") == ["space", "sparse"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("tsf cl", ["classify"]),
        ("tsf classify x --device c", ["cpu", "cuda", "cuda:0"]),
        ("tsf export --model x --device ", []),
        ("tsf classify x --format j", ["json", "jsonl"]),
        ("tsf timeline x --format ", "table json jsonl csv parquet html srt vtt otio edl".split()),
        ("tsf models --format ", ["table", "json", "csv", "markdown"]),
        ("tsf classify x --dtype b", ["bfloat16"]),
        ("tsf classify x --top", ["--top-k"]),
        ("tsf help inf", ["info"]),
        ("tsf classify vid", []),  # the shell completes files by itself
    ],
)
def test_other_words(line, words):
    assert completed(line) == words


def test_nothing_heavy_is_loaded_for_it():
    code = (
        "import sys; from timesformer_cli.cli.app import app\n"
        "try: app([], prog_name='tsf')\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    words = {"_TSF_COMPLETE": "complete_bash", "COMP_WORDS": "tsf info b", "COMP_CWORD": "2"}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | words)
    assert ran.stdout.split()[:3] == ["base-k400", "base-k600", "base-ssv2"]
    assert ran.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_with_the_script_that_is_shown(tmp_path):
    """The script is the command's own; bash calls its function as it would for a key."""
    from typer.completion import get_completion_script

    script = get_completion_script(prog_name="tsf", complete_var="_TSF_COMPLETE", shell="bash")
    program = tmp_path / "bin" / "tsf"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m timesformer_cli "$@"\n')
    program.chmod(0o755)
    code = f"""{script}
COMP_WORDS=(tsf x.mp4 --model mmaction2-j); COMP_CWORD=3; _tsf_completion tsf
echo "${{COMPREPLY[@]}}"
"""
    root = Path(__file__).parents[2]
    found = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(root)}
    ran = subprocess.run(
        ["bash", "--norc", "-c", code], capture_output=True, text=True, env=os.environ | found
    )
    assert ran.stdout == "mmaction2-joint-k400\n", ran.stderr
