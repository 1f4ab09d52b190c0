"""`--engine ray` beside the plain command, on the same clips, in turns: rate, processor time, memory.

python -m scripts.scale.overhead VIDEOS --model camera-motion --runs 3
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MARK = "TSF_OVERHEAD_RUN"  # in the environment of all processes of a run, by which they are found
TICK = os.sysconf("SC_CLK_TCK")


def processes(mark: str) -> dict[int, tuple[float, int]]:
    """The seconds of processor time and the bytes of each process of a run; shared pages count once."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            if (
                not folder.name.isdecimal()
                or mark.encode() not in (folder / "environ").read_bytes()
            ):
                continue
            times = (folder / "stat").read_text().rpartition(")")[2].split()
            lines = (folder / "smaps_rollup").read_text().splitlines()
            share = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            found[int(folder.name)] = (int(times[11]) + int(times[12])) / TICK, share * 1024
        except (OSError, StopIteration):  # it has ended
            continue
    return found


def run(words: list[str], number: int) -> dict[str, float]:
    """One run: wall and processor seconds, the most bytes at once, and what it says of its rate."""
    mark, spent, most = f"{MARK}={os.getpid()}-{number}", {}, 0
    name, _, value = mark.partition("=")
    began = time.monotonic()
    command = [sys.executable, "-m", "timesformer_cli", *words]
    child = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {name: value}
    )
    while child.poll() is None:
        now = processes(mark)
        spent |= {pid: seconds for pid, (seconds, _) in now.items()}
        most = max(most, sum(size for _, size in now.values()))
        time.sleep(0.5)
    assert child.stderr is not None
    print(child.stderr.read().strip().splitlines()[-1:], flush=True)
    return {
        "wall": time.monotonic() - began,
        "processor": sum(spent.values()),
        "gigabytes": most / 1e9,
    }


def main() -> None:
    """Print the medians of both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("videos", type=Path)
    parser.add_argument("--model", default="camera-motion")
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    count = sum(1 for _ in asked.videos.iterdir())
    both: dict[str, list[dict[str, float]]] = {"local": [], "ray": []}
    for number in range(asked.runs):
        for engine, results in both.items():
            with tempfile.TemporaryDirectory() as folder:
                output = Path(folder, "parts" if engine == "ray" else "a.parquet")
                words = ["classify", str(asked.videos), "-m", asked.model, "-o", str(output)]
                results.append(run([*words, "--engine", engine], number))
            print(
                engine, {name: round(value, 2) for name, value in results[-1].items()}, flush=True
            )
    for engine, results in both.items():
        medians = {name: statistics.median(r[name] for r in results) for name in results[0]}
        rate = count / medians["wall"]
        print(engine, f"{rate:.1f} videos/s", {n: round(v, 2) for n, v in medians.items()})


if __name__ == "__main__":
    main()
