"""Clips made for the tests with PyAV: every frame carries its index as a barcode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

BITS = 8
LEFT, RIGHT = (200, 40, 40), (40, 40, 200)  # the colours of the lower corners: which way is up


def barcode(index: int, width: int = 160, height: int = 120) -> np.ndarray:
    """Frame number `index`: bits as black and white bars, a red corner and a blue one below."""
    frame = np.zeros((height, width, 3), np.uint8)
    edges = np.linspace(0, width, BITS + 1).round().astype(int)
    for bit in range(BITS):
        level = 224 if index >> (BITS - 1 - bit) & 1 else 32
        frame[: height * 3 // 4, edges[bit] : edges[bit + 1]] = level
    frame[height * 3 // 4 :, : width // 2] = LEFT
    frame[height * 3 // 4 :, width // 2 :] = RIGHT
    return frame


def read_barcode(frame: np.ndarray) -> int | None:
    """The index that `frame` carries; None when it is blurred, turned or mirrored."""
    height, width, _ = frame.shape
    corners = frame[-height // 8 :, [width // 4, width * 3 // 4]].astype(int).mean(0)
    if corners[0][0] < corners[0][2] + 60 or corners[1][2] < corners[1][0] + 60:
        return None
    index = 0
    for bit in range(BITS):
        column = int((bit + 0.5) * width / BITS)
        patch = frame[height // 4 : height // 2, column - 1 : column + 2].mean()
        if 80 < patch < 176:
            return None
        index = index << 1 | int(patch > 128)
    return index


def write(
    path: Path | str,
    frames: int | Iterable[np.ndarray] = 30,
    *,
    codec: str = "libx264",
    fps: int | Fraction = 30,
    size: tuple[int, int] = (160, 120),
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    pts: Callable[[int], int] | None = None,
    time_base: Fraction | None = None,
    rotation: int = 0,
    hflip: bool = False,
    sample_aspect_ratio: Fraction | None = None,
    container_options: dict[str, str] | None = None,
    format: str | None = None,
    audio: bool = False,
    configure: Callable[[Any], None] | None = None,
) -> Path:
    """Write a clip; `rotation` (counter-clockwise degrees) and `hflip` go into the display matrix."""
    width, height = size
    pictures = (
        (barcode(i, width, height) for i in range(frames)) if isinstance(frames, int) else frames
    )
    with av.open(str(path), "w", format=format, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.thread_count = 1
        if time_base is not None:
            stream.codec_context.time_base = time_base
        if sample_aspect_ratio is not None:
            stream.codec_context.sample_aspect_ratio = sample_aspect_ratio
        if rotation or hflip:
            stream.set_display_rotation(rotation, hflip=hflip)
        if configure is not None:
            configure(stream)
        sound = container.add_stream("aac", rate=16000) if audio else None
        if sound is not None:
            sound.layout = "mono"
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if pts is not None:
                frame.pts = pts(index)
                frame.time_base = time_base or Fraction(1, 1) / Fraction(fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            for start in range(0, 16000, 1024):
                noise = np.zeros((1, 1024), np.float32)
                block = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
                block.sample_rate, block.pts = 16000, start
                container.mux(sound.encode(block))
            container.mux(sound.encode())
    return Path(path)


def write_sound(path: Path | str, seconds: float = 1.0) -> Path:
    """Write a file that holds silence and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        for start in range(0, int(16000 * seconds), 1024):
            block = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            block.sample_rate, block.pts = 16000, start
            container.mux(stream.encode(block))
        container.mux(stream.encode())
    return Path(path)


def turned(pictures: Sequence[np.ndarray], quarter_turns: int) -> list[np.ndarray]:
    """Pictures turned counter-clockwise, as a camera held sideways stores them."""
    return [np.rot90(picture, quarter_turns) for picture in pictures]
