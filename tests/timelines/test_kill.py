"""`tsf timeline` that is killed again and again ends with the file of a run that was left alone."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.video.test_windows import shots
from timesformer_cli.timelines.journal import journal_path

KILLS = 20
COMMAND = "from timesformer_cli.__main__ import main; main()"


def lines(path: Path) -> int:
    """How many there are so far; none where there is no file."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow  # each run is a process that loads torch
@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_a_run_that_is_killed_at_twenty_random_moments_ends_with_the_same_file(
    name, model_folder, tmp_path
):
    films = [
        str(shots(tmp_path / f"{number}.mp4", parts))
        for number, parts in enumerate([[90, 20, 60, 50], [40, 120]])
    ]
    words = [sys.executable, "-c", COMMAND, "timeline", *films, "-m", str(model_folder)]
    words += ["--device", "cpu", "--every", "0.02", "--batch-size", "1", "--resume"]
    alone, out = tmp_path / "alone" / name, tmp_path / name
    alone.parent.mkdir()
    whole = subprocess.Popen([*words, "-o", str(alone)], stderr=subprocess.DEVNULL)
    total = 0
    while whole.poll() is None:
        total = max(total, lines(journal_path(alone)))
        time.sleep(0.001)
    assert whole.returncode == 0 and total > 2 * KILLS
    generator, killed = random.Random(name), 0
    for target in sorted(generator.sample(range(1, total), KILLS)):
        process = subprocess.Popen([*words, "-o", str(out)], stderr=subprocess.DEVNULL)
        while process.poll() is None and lines(journal_path(out)) < target:
            time.sleep(0.0005)
        time.sleep(generator.uniform(0, 0.01))
        killed += process.poll() is None
        process.kill()
        process.wait()
        if out.exists():
            break
    assert killed > KILLS // 2
    assert (
        subprocess.run([*words, "-o", str(out)], capture_output=True, check=False).returncode == 0
    )
    assert out.read_bytes() == alone.read_bytes()
    assert not journal_path(out).exists()
