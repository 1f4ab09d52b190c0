"""Standard streams that are closed, full or in another encoding, readers that leave, and signals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import clips
from tests.support.models import randomised, tiny
from timesformer_cli.config import Sampling
from timesformer_cli.weights.load import save_model

FULL = Path("/dev/full")
TSF = f"{sys.executable} -m timesformer_cli"
posix_only = pytest.mark.skipif(os.name != "posix", reason="needs a shell and its signals")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs a device that is full")
pytestmark = posix_only
# Each prints its answer in another way.
ANSWERS = {
    "table": "classify VIDEO -m MODEL",
    "json": "classify VIDEO -m MODEL --format json",
    "jsonl": "classify VIDEO -m MODEL --format jsonl",
    "csv": "classify VIDEO -m MODEL --format csv",
    "evaluate": "evaluate TABLE -m MODEL",
    "benchmark": "benchmark --no-measure",
}
LATE = {  # what is printed where no work is lost
    "help": "--help",
    "version": "--version",
    "models": "models",
    "info": "info MODEL",
    "labels": "info MODEL --labels",
    "help command": "help classify",
    "list": "download-weights --list",
    "list as json": "download-weights --list --format json",
    "dry run": "train DATA --init MODEL --dry-run --out RUN",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model whose labels Latin-1 lacks, beside one that it has."""
    network = randomised(tiny())
    network.labels, network.sampling = (
        ("走る", "café", "a😀", "b", "c"),
        Sampling(frames=8, stride=2),
    )
    path = tmp_path_factory.mktemp("models") / "tiny"
    save_model(network, path)
    return path


@pytest.fixture
def shell(model, tmp_path):
    """Run a line of shell in which some words stand for files."""
    video = clips.write(tmp_path / "clip.mp4", 24)
    (tmp_path / "table.csv").write_text("path,label\nclip.mp4,b\n")
    for label in "bc":
        for number in range(2):
            (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
            os.link(video, tmp_path / "data" / label / f"{number}.mp4")
    places = {
        "VIDEO": str(video),
        "MODEL": str(model),
        "TABLE": f"{tmp_path}/table.csv",
        "DATA": f"{tmp_path}/data",
        "RUN": f"{tmp_path}/run",
    }

    def ran(command: str, rest: str = "", **environment: str) -> subprocess.CompletedProcess:
        words = [places.get(word, word) for word in command.split()]
        line = f"{TSF} {' '.join(words)} {rest}"
        return subprocess.run(
            ["bash", "-c", line],
            capture_output=True,
            timeout=120,
            env=os.environ | environment,
            cwd=tmp_path,
        )

    return ran


def one_line(ran: subprocess.CompletedProcess) -> str:
    """What a failed run said, which must be one line."""
    said = ran.stderr.decode()
    assert said.count("\n") == 1 and said.startswith("error: "), said
    return said


@needs_full
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_full_device_is_one_line_and_no_work(answer, shell):
    ran = shell(ANSWERS[answer], "> /dev/full")
    assert ran.returncode == 1
    assert "stdout: the answer cannot be written (No space left on device)" in one_line(ran)


@needs_full
@pytest.mark.parametrize("answer", LATE)
def test_a_full_device_loses_nothing_in_silence(answer, shell):
    ran = shell(LATE[answer], "> /dev/full")
    assert ran.returncode == 1
    assert b"stdout: the answer cannot be written (No space left on device)" in ran.stderr
    assert ran.stderr.count(b"No space") == 1
    assert b"Traceback" not in ran.stderr


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_closed_stdout_is_one_line_and_no_work(answer, shell):
    ran = shell(ANSWERS[answer], ">&-")
    assert ran.returncode == 1
    assert "stdout: the answer cannot be written (Bad file descriptor)" in one_line(ran)


def test_a_file_needs_no_stdout_stdin_or_stderr(shell, tmp_path):
    ran = shell("classify VIDEO -m MODEL -o out.json", "<&- >&- 2>&-")
    assert ran.returncode == 0
    assert json.loads((tmp_path / "out.json").read_text())[0]["status"] == "ok"


def test_a_list_on_a_closed_stdin_is_empty(shell):
    ran = shell("classify - -m MODEL", "<&-")
    assert ran.returncode == 2
    assert "no videos given" in one_line(ran)


@needs_full
@pytest.mark.parametrize("stderr", ["/dev/full", "&-"])
def test_stderr_that_takes_nothing_changes_no_answer(stderr, shell):
    """There is much to say: notes on the video, and how many failed."""
    redirected = f"2>{stderr}"
    ran = shell("classify VIDEO VIDEO data -m MODEL --stride 64", redirected)
    assert ran.returncode == 0
    assert ran.stdout.count(b" %") == 5 * 5
    assert shell("classify nothing.mp4 -m MODEL", redirected).returncode == 1
    assert shell("classify VIDEO -m nothing", redirected).returncode == 3


@pytest.mark.parametrize("answer", [*ANSWERS, *LATE])
def test_a_reader_that_leaves_is_no_failure(answer, shell):
    """`true` has gone before the answer comes."""
    command = (ANSWERS | LATE)[answer]
    ran = shell(command, "| true; exit ${PIPESTATUS[0]}")
    assert ran.returncode in (0, 141)
    assert b"Broken" not in ran.stderr and b"error" not in ran.stderr


def test_a_reader_that_leaves_after_a_line_is_no_failure(shell):
    ran = shell("classify data -m MODEL --format jsonl", "| head -1; exit ${PIPESTATUS[0]}")
    assert ran.stdout.count(b"\n") == 1
    assert ran.returncode in (0, 141)


@pytest.mark.parametrize("format", ["table", "json", "jsonl", "csv"])
def test_a_reader_that_leaves_is_no_failed_video(format, shell):
    """Some videos fail, which is exit code 1 for whoever hears the whole answer."""
    command = f"classify gone.mp4 missing.mp4 --format {format}"
    for reader in ("head -1", "head -c 1", "sed -n 1q"):
        ran = shell(command, f"| {reader}; exit ${{PIPESTATUS[0]}}")
        assert ran.returncode in (0, 141), reader
    assert shell(command, "| cat; exit ${PIPESTATUS[0]}").returncode == 1


def test_a_reader_that_leaves_between_two_videos_is_no_failed_video(shell):
    command = "classify VIDEO gone.mp4 data -m MODEL --format jsonl"
    ran = shell(command, "| head -1; exit ${PIPESTATUS[0]}")
    assert ran.stdout.count(b"\n") == 1
    assert ran.returncode in (0, 141)


ENCODINGS = ["ascii", "latin-1", "cp1252", "utf-8"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("answer", ["table", "json", "jsonl", "csv"])
def test_an_encoding_that_lacks_letters_gets_them_escaped(answer, encoding, shell):
    ran = shell(ANSWERS[answer], PYTHONIOENCODING=encoding)
    assert ran.returncode == 0, ran.stderr
    text = ran.stdout.decode(encoding)
    if answer in ("json", "jsonl"):
        told = json.loads(text)
        (result,) = told if answer == "json" else [told]
        labels = {found["label"] for found in result["predictions"]}
        assert labels == {"走る", "café", "a😀", "b", "c"}
        return
    lacking = encoding != "utf-8"
    assert ("\\u8d70\\u308b" in text) == lacking and ("走る" in text) != lacking
    assert ("caf\\xe9" if encoding == "ascii" else "café") in text


def test_another_way_to_treat_lacking_letters_is_kept(shell):
    ran = shell(ANSWERS["csv"], PYTHONIOENCODING="ascii:replace")
    assert b",caf?," in ran.stdout


# Sends Ctrl-C at the first moment that a module is imported, then runs the command.
INTERRUPTED = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["tsf", *{arguments!r}]
signal.signal(signal.SIGINT, signal.default_int_handler)
from timesformer_cli.__main__ import main
main()
"""


@pytest.mark.parametrize(
    "module",
    [
        "typer",
        "timesformer_cli.cli.app",
        "timesformer_cli.cli.evaluate",
        "timesformer_cli.cli.progress",
        "timesformer_cli.inference.classify",
        "timesformer_cli.weights.hub.locate",
        "torch",
        "timesformer_cli.inference.batching",
    ],
)
def test_ctrl_c_during_imports_is_one_line(module, model, tmp_path):
    clips.write(tmp_path / "clip.mp4", 24)
    arguments = ["classify", str(tmp_path / "clip.mp4"), "-m", str(model)]
    code = INTERRUPTED.format(module=module, arguments=arguments)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "interrupted\n")


def test_ctrl_c_that_is_ignored_stays_so(model, tmp_path):
    """As a shell asks of what it runs in the background."""
    clips.write(tmp_path / "clip.mp4", 24)
    arguments = ["classify", str(tmp_path / "clip.mp4"), "-m", str(model), "--format", "json"]
    code = INTERRUPTED.format(module="torch", arguments=arguments)
    code = code.replace("signal.default_int_handler", "signal.SIG_IGN")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)


def ended_while_writing(number: int, model: Path, folder: Path, ignored: bool = False):
    """A run over many videos, sent the signal once its hidden file is there, and what it said."""
    video = clips.write(folder / "clip.mp4", 24)
    names = [folder / f"{index}.mp4" for index in range(60 if ignored else 400)]
    for name in names:
        os.link(video, name)
    command = [*TSF.split(), "classify", str(folder), "-m", str(model), "-o", f"{folder}/out.jsonl"]

    def ignore() -> None:
        signal.signal(number, signal.SIG_IGN)

    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, preexec_fn=ignore if ignored else None
    ) as running:
        deadline = time.monotonic() + 60
        while not list(folder.glob(".out*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        running.send_signal(number)
        _, said = running.communicate(timeout=60)
    left = [path.name for path in folder.iterdir() if path.suffix != ".mp4"]
    return running.returncode, said, left


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP")
def test_a_closed_terminal_leaves_nothing_half_written(model, tmp_path):
    assert ended_while_writing(signal.SIGHUP, model, tmp_path) == (129, "hung up\n", [])


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP")
def test_nohup_is_obeyed(model, tmp_path):
    code, _, left = ended_while_writing(signal.SIGHUP, model, tmp_path, ignored=True)
    assert (code, left) == (0, ["out.jsonl"])


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP")
def test_a_training_whose_terminal_closes_keeps_a_checkpoint(model, shell, tmp_path):
    shell("--version")  # makes the clips
    command = [*TSF.split(), "train", f"{tmp_path}/data", "--init", str(model), "--epochs", "500"]
    command += ["--out", f"{tmp_path}/run", "--device", "cpu"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 90
        while not (tmp_path / "run" / "last.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGHUP)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 129, said
    assert "to go on: tsf train --resume" in said
    assert not list((tmp_path / "run").glob(".*.part"))
