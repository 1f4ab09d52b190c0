"""Mutated clips: the tool goes on, and what it hands on has the shape that was asked for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.clips import write
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import VideoError
from timesformer_cli.video import Decoded, DecodePool

SEEDS = [
    ("a.mp4", "libx264", {"g": "12"}),
    ("b.mp4", "libx265", {"x265-params": "log-level=none"}),
    ("c.avi", "mpeg4", {}),
    ("d.webm", "libvpx", {"cpu-used": "8", "deadline": "realtime"}),
    ("e.ts", "libx264", {"g": "12"}),
    ("f.mkv", "ffv1", {}),
    ("g.mov", "mjpeg", {}),
    ("h.mpg", "mpeg2video", {}),
    ("i.flv", "flv1", {}),
    ("j.mp4", "libvpx-vp9", {"cpu-used": "8", "deadline": "realtime"}),
]
WHOLE = Preprocessing(resize=64, crop=(48, 48))
UNIFORM = Sampling(frames=4, stride=None)
INTERNAL = ("decoder_failed", "timeout", "decoder_crashed")
NEAR = 20.0  # mean difference of a damaged picture from the same one of another decoder


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """Flip bits, overwrite, cut, repeat or leave out stretches; often near the headers."""
    data = bytearray(content)
    for _ in range(int(random.integers(1, 6))):
        size = len(data)
        # Half of the wounds in the first or last thousandth part, where the index lies.
        near = random.random() < 0.5
        place = int(random.integers(0, min(size, 2000) if near else size))
        place = size - 1 - place if random.random() < 0.3 else place
        length = int(random.integers(1, 200))
        kind = random.integers(0, 5)
        if kind == 0:
            data[place] ^= 1 << int(random.integers(0, 8))
        elif kind == 1:
            noise = random.integers(0, 256, min(length, size - place), np.uint8)
            data[place : place + length] = noise.tobytes()
        elif kind == 2:
            del data[place : place + length]
        elif kind == 3:
            data[place:place] = data[place : place + length]
        else:
            del data[max(64, place) :]
        if not data:
            return content
    return bytes(data)


def make(folder: Path, count: int) -> list[Path]:
    """Mutations of every seed in turn."""
    seeds = []
    for name, codec, options in SEEDS:
        pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        path = write(folder / name, 30, codec=codec, size=(80, 64), pix_fmt=pixels, options=options)
        seeds.append((path.suffix, path.read_bytes()))
        path.unlink()
    made = []
    for number in range(count):
        suffix, content = seeds[number % len(seeds)]
        made.append(folder / f"{number:04}{suffix}")
        made[-1].write_bytes(mutated(content, np.random.default_rng(number)))
    return made


def test_a_few_mutated_clips_are_read_or_refused(tmp_path):
    check(make(tmp_path, 60))


@pytest.mark.slow
def test_many_mutated_clips_are_read_or_refused(tmp_path):
    check(make(tmp_path, 2000))


def check(paths: list[Path]) -> None:
    """No file ends the pool, hangs, or ends in an error of ours; every picture has its shape."""
    with DecodePool(workers=os.cpu_count() or 1, timeout=20) as pool:
        results = list(pool.decode([str(path) for path in paths], UNIFORM, WHOLE))
    kinds = {
        path.name: result.kind
        for path, result in zip(paths, results, strict=True)
        if isinstance(result, VideoError)
    }
    internal = {name: kind for name, kind in kinds.items() if kind in INTERNAL}
    assert not internal, internal
    read = [result for result in results if isinstance(result, Decoded)]
    assert len(read) > len(paths) / 3
    for result in read:
        assert result.frames.shape == (1, 4, 48, 48, 3)
        assert all(0 <= moment < 1000 for view in result.views for moment in view.times)


@pytest.mark.slow
def test_the_tool_survives_mutated_clips(tmp_path):
    """2,000 of them through the command, in one run."""
    make(tmp_path, 2000)
    command = [sys.executable, "-m", "timesformer_cli", "classify", str(tmp_path)]
    ran = subprocess.run(
        [*command, "--model", "camera-motion", "--format", "jsonl", "--timeout", "20"],
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert ran.returncode in (0, 1), ran.stderr[-2000:]
    assert "Traceback" not in ran.stderr
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(rows) == 2000
    assert not [row for row in rows if row.get("error", {}).get("kind") in INTERNAL]


@pytest.mark.slow
def test_pictures_of_mutated_clips_are_those_of_a_plain_decode(tmp_path):
    """Where decord claims a file that PyAV reads too, both show the same at the same moments.

    PyAV leaves out pictures whose references are lost, where decord makes them up: such a file is
    shorter to PyAV, and says so.
    """
    paths = make(tmp_path, 400)
    shown = {}
    for decoder in ("av", "decord"):
        with DecodePool(workers=os.cpu_count() or 1, timeout=20, decoder=decoder) as pool:
            shown[decoder] = list(pool.decode([str(path) for path in paths], UNIFORM, WHOLE))
    both = [
        (path, one, other)
        for path, one, other in zip(paths, shown["av"], shown["decord"], strict=True)
        if isinstance(one, Decoded) and isinstance(other, Decoded) and one.views == other.views
    ]
    assert len(both) > 20
    apart = {
        path.name: float(np.abs(one.frames.astype(int) - other.frames).mean())
        for path, one, other in both
        if not any("damaged" in warning for warning in one.warnings)
    }
    assert max(apart.values()) < NEAR, {k: v for k, v in apart.items() if v >= NEAR}


def test_the_mutations_are_made_of_the_seeds(tmp_path):
    """Or all of the above would be about nothing: most can still be opened."""
    opened = 0
    for path in make(tmp_path, 30):
        try:
            with av.open(str(path), metadata_errors="ignore") as container:
                opened += bool(container.streams.video)
        except (av.error.FFmpegError, IndexError):
            continue
    assert opened > 10
