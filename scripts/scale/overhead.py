"""`--engine ray` beside the plain command, on the same clips, in turns: rate, processor time, memory.

Each is run on all videos and on a fifth of them: what both runs have in common is start and end,
and what the larger one takes more is the price of a clip.

python -m scripts.scale.overhead VIDEOS --model camera-motion --runs 3
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

MARK = "TSF_OVERHEAD_RUN"  # in the environment of all processes of a run, by which they are found
TICK = os.sysconf("SC_CLK_TCK")
NAMES = ("wall", "processor", "gigabytes")


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
    videos = sorted(map(str, asked.videos.iterdir()))
    counts = (len(videos) // 5, len(videos))
    results: dict[tuple[str, int], list[dict[str, float]]] = {}
    for number in range(asked.runs):
        for count, engine in product(counts, ("local", "ray")):
            with tempfile.TemporaryDirectory() as folder:
                output = Path(folder, "parts" if engine == "ray" else "a.parquet")
                words = ["classify", *videos[:count], "-m", asked.model, "-o", str(output)]
                found = run([*words, "--engine", engine], number)
            results.setdefault((engine, count), []).append(found)
            print(
                engine, count, {name: round(value, 2) for name, value in found.items()}, flush=True
            )
    prices: dict[str, dict[str, float]] = {}
    for engine in ("local", "ray"):
        few, many = (
            {name: statistics.median(run[name] for run in results[engine, count]) for name in NAMES}
            for count in counts
        )
        wall, processor = ((many[name] - few[name]) / (counts[1] - counts[0]) for name in NAMES[:2])
        ends = many["wall"] - wall * counts[1], many["processor"] - processor * counts[1]
        prices[engine] = {"whole": counts[1] / many["wall"], "under way": 1 / wall}
        print(
            f"{engine}: {counts[1]} videos in {many['wall']:.1f} s, {prices[engine]['whole']:.1f} a "
            f"second; start and end {ends[0]:.1f} s, {ends[1]:.1f} s of a processor; a clip "
            f"{wall * 1000:.1f} ms, {processor * 1000:.1f} ms of a processor; "
            f"{many['gigabytes']:.2f} GB"
        )
    for name in ("whole", "under way"):
        print(f"ray's rate, {name}: {prices['ray'][name] / prices['local'][name]:.2f} of local's")


if __name__ == "__main__":
    main()
