"""Measure what following a long video costs, beside only decoding it.

Both run in processes of their own, in turns. Following takes a window every second and tells cuts
apart, on two processes: one decodes, the other runs the model. Decoding alone is PyAV in one
thread, as following does it, every frame decoded and none converted. The last line of each length
says how many times as long the whole run takes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import av

from scripts.camera_motion.pictures import textures
from scripts.camera_motion.train import HELD_OUT_SEED
from scripts.peers.turns import alternate
from scripts.timeline.footage import TEXTURES, film
from scripts.timeline.score import MODEL
from timesformer_cli.benchmark.machine import device_name
from timesformer_cli.inference.device import find_device
from timesformer_cli.inference.process_tuning import let_threads_sleep
from timesformer_cli.timelines.options import TimelineOptions
from timesformer_cli.timelines.run import Step, TimelineRun, ended
from timesformer_cli.video import VideoPath

PIECE = 60.0  # seconds that are filmed, and repeated
SIZE = (640, 360)
BITS = 800_000  # a second
EVERY = 1.0
HEAD = """\
| minutes | MB | what | seconds | x real time | CPU seconds | peak MB, model | peak MB, decoder | bytes read | windows | load |
|---|---|---|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What one run took."""

    seconds: float  # without the start of Python and the loading of the model
    cpu_seconds: float  # of all processes, over the same time
    parent_peak: int  # bytes
    decoder_peak: int = 0
    bytes_read: int = 0  # by the process that decodes
    windows: int = 0


def make_long(folder: Path, minutes: int) -> Path:
    """A video of so many minutes: one minute of made footage, repeated packet for packet."""
    path = folder / f"{minutes}min.mp4"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    piece = folder / "piece.mp4"
    if not piece.exists():
        options = {"preset": "veryfast", "b": str(BITS), "g": "60"}
        film(piece, 0, PIECE, SIZE, [], textures(HELD_OUT_SEED, TEXTURES), options)
    part = folder / f"part-{path.name}"
    with av.open(str(piece)) as source, av.open(str(part), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.dts is not None]
        assert stream.duration is not None
        times = [(packet.pts, packet.dts) for packet in packets]
        for again in range(round(minutes * 60 / PIECE)):
            for packet, (shown, decoded) in zip(packets, times, strict=True):
                assert shown is not None
                assert decoded is not None
                packet.pts = shown + again * stream.duration
                packet.dts = decoded + again * stream.duration
                packet.time_base, packet.stream = stream.time_base, copy
                out.mux(packet)
    part.rename(path)
    return path


def follow_here(path: Path) -> Cost:
    """Follow a video from this process."""
    options = TimelineOptions(model=MODEL, every=EVERY)
    counted = 0

    def count(step: Step) -> None:
        nonlocal counted
        counted = step.windows

    with TimelineRun(options) as run:
        (child,) = _children()
        # The first request waits until the child has loaded its libraries.
        ended(run.timeline(VideoPath(str(path.with_name("piece.mp4")))))
        read = _counter(child, "io", "rchar")
        before, began = _cpu(child), time.perf_counter()
        result = ended(run.timeline(VideoPath(str(path))), count)
        seconds = time.perf_counter() - began
        assert result.status == "ok", result
        return Cost(
            seconds=seconds,
            cpu_seconds=_cpu(child) - before,
            parent_peak=_counter(os.getpid(), "status", "VmHWM") * 1024,
            decoder_peak=_counter(child, "status", "VmHWM") * 1024,
            bytes_read=_counter(child, "io", "rchar") - read,
            windows=counted,
        )


def decode_here(path: Path) -> Cost:
    """Decode every frame of a video in this process, in one thread."""
    before, began = time.process_time(), time.perf_counter()
    frames = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for _ in container.decode(stream):
            frames += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Cost(
        seconds=time.perf_counter() - began,
        cpu_seconds=time.process_time() - before,
        parent_peak=peak,
    )


def in_a_process(what: str, path: Path) -> Cost:
    """Measure one run in a new process."""
    let_threads_sleep()  # as the commands do; the new process inherits it
    done = subprocess.run(
        [sys.executable, "-m", "scripts.timeline.cost", "--run", what, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Cost(**json.loads(done.stdout))


def _children() -> list[int]:
    """The numbers of this process's children."""
    tasks = Path("/proc/self/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def _counter(pid: int, file: str, name: str) -> int:
    """A number that the kernel keeps of a process."""
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _cpu(child: int) -> float:
    """Seconds of processor time that this process and a child have taken."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def rows(folder: Path, minutes: Sequence[int], runs: int) -> Iterator[str]:
    """One line of the table per length and way: medians of the runs."""
    for length in minutes:
        middle: dict[str, float] = {}
        path = make_long(folder, length)
        size = path.stat().st_size
        turns = {what: partial(in_a_process, what, path) for what in ("follow", "decode")}
        done = alternate(turns, runs=runs, warmup=0, doing=f"{length} min")
        load = os.getloadavg()[0]
        for what, costs in done.items():
            seconds = middle[what] = median(cost.seconds for cost in costs)
            read = median(cost.bytes_read for cost in costs) / size
            yield (
                f"| {length} | {size / 1e6:.0f} | {what} | {seconds:.1f} | "
                f"{length * 60 / seconds:.1f} | {median(cost.cpu_seconds for cost in costs):.1f} | "
                f"{max(cost.parent_peak for cost in costs) / 1e6:.0f} | "
                f"{max(cost.decoder_peak for cost in costs) / 1e6:.0f} | "
                f"{read:.3f} of the file | {costs[0].windows} | {load:.1f} |"
            )
        yield (
            f"| {length} | | follow / decode | {middle['follow'] / middle['decode']:.2f} | | | | "
            f"| | | {load:.1f} |"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/timeline"), help="of the videos")
    parser.add_argument("--minutes", type=int, nargs="+", default=[6, 60])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--run", nargs=2, metavar=("WHAT", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        what, file = options.run
        cost = {"follow": follow_here, "decode": decode_here}[what](Path(file))
        print(json.dumps(asdict(cost)))
        return
    print(f"{device_name(find_device('cpu'))}, {os.cpu_count()} processors; {SIZE[0]}x{SIZE[1]}\n")
    print(HEAD, end="")
    for line in rows(options.folder, options.minutes, options.runs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
