"""An embed that is killed at any moment is gone on with: every video once, and the same rows."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support import clips

pytest.importorskip("lance")
MOMENTS, VIDEOS, SEED = 30, 12, 20
# As `tsf embed`, but writing often, so that the kills hit before, between and in the middle of writes.
RUN = """
import sys
from timesformer_cli.library import fill
fill.ROWS = 6
from timesformer_cli.cli.app import app
app(sys.argv[1:])
"""


def command(videos: Path, output: Path) -> list[str]:
    words = ["embed", str(videos), "-m", "camera-motion", "--every", "0.5", "-o", str(output)]
    words += ["--dtype", "float32", "--device", "cpu", "--batch-size", "2", "--resume"]
    return [sys.executable, "-c", RUN, *words]


def start(videos: Path, output: Path) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(command(videos, output), cwd=root, stderr=subprocess.DEVNULL)


def content(output: Path) -> object:
    """What an output says, in an order that does not depend on the run."""
    if output.suffix != ".lance":
        return output.read_bytes()
    import lance

    rows = lance.dataset(str(output)).to_table().to_pylist()
    return sorted(rows, key=lambda row: (row["video"], row["start"]))


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(VIDEOS):
        frames = (clips.barcode((7 * number + 3 * n) % 256) for n in range(100))
        clips.write(folder / f"{number:02}.mp4", frames)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
@pytest.mark.parametrize("suffix", [".lance", ".jsonl"])
def test_after_kills_at_random_moments_all_is_there_once(videos, tmp_path, suffix):
    undisturbed = tmp_path / f"whole{suffix}"
    began = time.monotonic()
    assert start(videos, undisturbed).wait() == 0
    seconds = time.monotonic() - began
    wanted, draw = content(undisturbed), random.Random(SEED)
    killed = whole = 0
    output = tmp_path / f"killed{suffix}"
    while killed < MOMENTS:
        run = start(videos, output)
        try:
            # Most of a run is its start: half of the kills come behind it.
            part = (0.0, 1.0) if killed % 2 else (0.5, 1.0)
            code = run.wait(timeout=draw.uniform(*part) * seconds)
        except subprocess.TimeoutExpired:
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
            killed += 1
            if suffix == ".lance" and (output / "_versions").is_dir():
                by_video = Counter(row["video"] for row in content(output))
                full = Counter(row["video"] for row in wanted)
                assert all(full[video] == count for video, count in by_video.items())
            if killed % 3:
                continue
            code = start(videos, output).wait()  # the second run
        assert code == 0
        assert content(output) == wanted
        assert not list(tmp_path.glob(".*.journal"))
        whole += 1
        shutil.rmtree(output) if output.is_dir() else output.unlink()
    assert whole >= MOMENTS // 3
