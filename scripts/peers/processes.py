"""Compare whole processes: `tsf`, and what a user would write with transformers."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import cycle
from pathlib import Path
from shutil import copyfile

import av

from scripts.peers.turns import Spread, alternate, spread
from timesformer_cli.errors import TsfError
from timesformer_cli.video.find import find_videos

EXAMPLES = Path(__file__).parents[2] / "examples"
WIDTH, HEIGHT, RATE, SECONDS = 340, 256, 30, 10
FOLDER_CLIPS = 18
POLL = 0.01  # seconds between two looks at a process's memory
TSF = Path(sys.executable).with_name("tsf")
PIPELINE = """import sys
from transformers import pipeline
model, device, *clips = sys.argv[1:]
classify = pipeline("video-classification", model=model, device=device)
for clip, labels in zip(clips, classify(clips)):
    print(clip, labels[0]["label"], labels[0]["score"])"""


class CommandFailed(TsfError):
    """A command ended with an error, or without an answer."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What one run of a command took."""

    seconds: float  # from start to end
    # Most bytes resident at once, in the process and all below it; a page that several share counts
    # for each of them. None where the platform does not say.
    peak_bytes: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessRow:
    """One command of one contender."""

    what: str  # cold, folder or help
    contender: str
    clips: int
    seconds: Spread
    times_default: float | None  # how many times as fast as transformers' pipeline
    peak_bytes: int | None


def compare_processes(
    folder: Path,
    parts: Sequence[str],
    *,
    device: str,
    clip: Path | None,
    clips: Path | None,
    runs: int,
    warmup: int,
) -> list[ProcessRow]:
    """Rows for the parts `cold` (one clip), `folder` and `help`; the model is in `folder/model`."""
    rows: list[ProcessRow] = []
    for part in parts:
        videos: list[str] = []
        contenders = {"tsf": [str(TSF), "--help"]}
        if part != "help":
            if part == "cold":
                source = clip or make_clip(folder / "clip.mp4")
            else:
                source = clips or make_clips(folder / "clips")
            videos = [video.path for video in find_videos([str(source)])]
            contenders = commands(folder / "model", device, source, videos)
        turns = {name: partial(run, command) for name, command in contenders.items()}
        done = alternate(turns, runs=runs, warmup=warmup, doing=part)
        rows += _rows(part, len(videos), done)
    return rows


def _rows(part: str, clips: int, done: dict[str, list[Ran]]) -> Iterator[ProcessRow]:
    seconds = {name: spread(turn.seconds for turn in ran) for name, ran in done.items()}
    default = seconds.get("transformers")
    for name, ran in done.items():
        peaks = [turn.peak_bytes for turn in ran if turn.peak_bytes]
        yield ProcessRow(
            what=part,
            contender=name,
            clips=clips,
            seconds=seconds[name],
            times_default=default.median / seconds[name].median if default else None,
            peak_bytes=max(peaks, default=None),
        )


def commands(model: Path, device: str, source: Path, videos: list[str]) -> dict[str, list[str]]:
    """The command of each contender; transformers' only where it can classify a first video."""
    ours = [str(TSF), "classify", str(source), "--model", str(model), "--device", device]
    theirs = [sys.executable, "-c", PIPELINE, str(model), device]
    try:
        run([*theirs, videos[0]])
    except CommandFailed as error:
        print(f"left out: transformers' pipeline: {error}", file=sys.stderr)
        return {"tsf": ours}
    return {"tsf": ours, "transformers": [*theirs, *videos]}


def run(command: list[str]) -> Ran:
    """Run a command to its end; raises CommandFailed with the last line of its stderr."""
    ended, peaks = threading.Event(), [0]

    def watch() -> None:
        while not ended.wait(POLL):
            peaks.append(_resident(process.pid))

    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watcher = threading.Thread(target=watch)
    watcher.start()
    answer, said = process.communicate()
    seconds = time.perf_counter() - began
    ended.set()
    watcher.join()
    if process.returncode or not answer:
        last = (said.strip().splitlines() or ["it said nothing"])[-1]
        raise CommandFailed(f"{Path(command[0]).name} ended with {process.returncode}: {last}")
    return Ran(seconds, max(peaks) or None)


def make_clip(path: Path) -> Path:
    """Write ten seconds of the examples, one after another, in the usual size of Kinetics."""
    with av.open(path, "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        written = 0
        for example in sorted(EXAMPLES.glob("*.mp4")):
            with av.open(example) as source:
                for frame in source.decode(video=0):
                    if written == RATE * SECONDS:
                        break
                    resized = frame.reformat(width=WIDTH, height=HEIGHT, format="yuv420p")
                    resized.pts, resized.time_base = written, Fraction(1, RATE)
                    out.mux(stream.encode(resized))
                    written += 1
        out.mux(stream.encode(None))
    return path


def make_clips(folder: Path) -> Path:
    """Fill a folder with FOLDER_CLIPS copies of the examples."""
    folder.mkdir()
    for number, example in zip(range(FOLDER_CLIPS), cycle(sorted(EXAMPLES.glob("*.mp4")))):
        copyfile(example, folder / f"{number:02}_{example.name}")
    return folder


def _resident(pid: int) -> int:
    """Bytes resident in a process and its descendants; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = " ".join((thread / "children").read_text() for thread in threads).split()
    except OSError:
        return 0
    own = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
    return own + sum(_resident(int(child)) for child in children)
