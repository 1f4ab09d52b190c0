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
from typing import Any

import pytest

from tests.support import clips

pytest.importorskip("lance")
MOMENTS, VIDEOS, SEED = 30, 12, 20
# Each writes often, so that kills hit before, between and within writes.
COMMAND = """
import sys
from timesformer_cli.library import fill
fill.ROWS = 6
from timesformer_cli.cli.app import app
videos, output = sys.argv[1:]
app(["embed", videos, "-o", output, "-m", "camera-motion", "--every", "0.5", "--batch-size", "2",
     "--dtype", "float32", "--device", "cpu", "--resume"])
"""
# The same without a model: vectors are made from the file's content. A run takes a tenth of the time.
FILLING = """
import sys
from pathlib import Path
import numpy as np
from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.library import fill
from timesformer_cli.library.embed import Embedded, Embedding
from timesformer_cli.library.store import Library, Making
from timesformer_cli.video.find import VideoPath
from timesformer_cli.video.look import WIDTH
fill.ROWS = 6
videos, output = map(Path, sys.argv[1:])
filling = fill.Filling(Library.create(output, Making(model="m", revision="r", every=0.5)))
todo = list(filling.to_embed(VideoPath(str(path)) for path in sorted(videos.iterdir())))
def embedded(path):
    content = filling.contents[path]
    random = np.random.default_rng(int(content[:8], 16))
    windows = [
        Embedding(start=n / 2, end=n / 2 + 2, predictions=(Prediction("a", 0, 0.5),),
                  vector=random.normal(size=8).astype(np.float32),
                  look=random.normal(size=WIDTH).astype(np.float32))
        for n in range(int(content[8], 16) % 4 + 2)
    ]
    return Embedded(video=path, status="ok", content=content, model="m", revision="r",
                    device="cpu", dtype="float32", decoder="av", embeddings=tuple(windows))
for _ in filling.write(embedded(video.path) for video in todo):
    pass
"""


def start(run: str, videos: Path, output: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", run, str(videos), str(output)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)


def content(output: Path) -> Any:
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
        frames = (clips.barcode((7 * number + 3 * n) % 256) for n in range(70))
        clips.write(folder / f"{number:02}.mp4", frames)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
@pytest.mark.parametrize(
    ("run", "suffix"), [(FILLING, ".lance"), (COMMAND, ".lance"), (COMMAND, ".jsonl")]
)
def test_after_kills_at_random_moments_all_is_there_once(videos, tmp_path, run, suffix):
    undisturbed = tmp_path / f"whole{suffix}"
    began = time.monotonic()
    assert start(run, videos, undisturbed).wait() == 0
    seconds = time.monotonic() - began
    wanted, draw = content(undisturbed), random.Random(SEED)
    full = Counter(row["video"] for row in wanted) if suffix == ".lance" else Counter[str]()
    assert len(full) in (0, VIDEOS)
    killed = whole = 0
    output = tmp_path / f"killed{suffix}"
    while killed < MOMENTS:
        process = start(run, videos, output)
        try:
            # Much of a run is its start: half of the kills come behind it.
            part = (0.0, 1.0) if killed % 2 else (0.5, 1.0)
            code = process.wait(timeout=draw.uniform(*part) * seconds)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            if (output / "_versions").is_dir():
                there = Counter(row["video"] for row in content(output))
                assert all(full[video] == count for video, count in there.items())
            if killed % 3:
                continue
            code = start(run, videos, output).wait()  # the second run
        assert code == 0
        assert content(output) == wanted
        assert not list(tmp_path.glob(".*.journal"))
        whole += 1
        shutil.rmtree(output) if output.is_dir() else output.unlink()
    print(f"{killed} kills, {whole} times gone on with to the end")
    assert whole >= MOMENTS // 3
