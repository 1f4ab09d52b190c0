"""A model that is no regular file, or whose name is too long: one line, at once, little memory."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import clips
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.load import load_model

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs FIFOs and devices")
ZERO = Path("/dev/zero")  # only ever read, and never more of it than a bounded read takes
MEMORY = 6 * 2**30  # bytes of address space that torch and a small model fit into
INSIDE = ("config.json", "preprocessor_config.json", "model.safetensors")
SUFFIXES = (".safetensors", ".pth", ".bin", ".onnx", ".pt2", "")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    if not ZERO.exists():
        pytest.skip("needs a device without an end")
    path.symlink_to(ZERO)


def sock(path: Path) -> None:
    import socket

    before = Path.cwd()
    os.chdir(path.parent)  # a socket's whole path may have 108 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(before)


KINDS = pytest.mark.parametrize("make", [fifo, device, sock])


def classify(model: Path, folder: Path) -> subprocess.CompletedProcess:
    """In a process that can neither hang nor eat the machine."""
    clips.write(folder / "clip.mp4", 24)
    command = [sys.executable, "-m", "timesformer_cli", "classify", "clip.mp4", "-m", str(model)]

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, preexec_fn=bounded
    )


@KINDS
@pytest.mark.parametrize("inside", INSIDE)
def test_a_special_file_in_a_model_folder_is_refused(make, inside, model_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    (folder / inside).unlink()
    make(folder / inside)
    ran = classify(folder, tmp_path)
    assert ran.returncode == 3
    assert (
        ran.stderr
        == f"error: {folder / inside}: is not a regular file (a pipe, socket or device)\n"
    )


OPEN = """
import resource, sys
from timesformer_cli.errors import WeightsError
from timesformer_cli.inference.open import open_model
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sys.argv[2:]:
    try:
        open_model(path, "cpu", "float32")
    except WeightsError as error:
        print(error)
"""


@KINDS
def test_a_special_file_as_a_model_is_refused(make, tmp_path):
    """All in one process, which is ended where it waits."""
    paths = [tmp_path / f"model{suffix}" for suffix in SUFFIXES]
    for path in paths:
        make(path)
    command = [sys.executable, "-c", OPEN, str(MEMORY), *map(str, paths)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.stdout.splitlines() == [
        f"{path}: is not a regular file (a pipe, socket or device)" for path in paths
    ], ran.stderr


def test_a_configuration_longer_than_is_sane_is_read_no_further(model_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    with (folder / "config.json").open("a") as file:
        file.write(" " * 16 * 2**20)
    with pytest.raises(WeightsError, match="too many"):
        load_model(str(folder))


@pytest.mark.parametrize(
    "name", ["x" * 300, f"{'x' * 300}.safetensors", f"org/{'x' * 300}", "~nobody-here/model"]
)
def test_a_name_that_can_be_no_file_is_one_line(name, tmp_path):
    ran = classify(Path(name), tmp_path)
    assert (ran.returncode, ran.stderr.count("\n")) == (3, 1), ran.stderr
    assert "no model '" in ran.stderr
