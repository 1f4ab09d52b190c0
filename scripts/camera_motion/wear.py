"""Disturb a clip as cameras and editors do: lens, light, sensor, captions, compression."""

from __future__ import annotations

import io

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.camera_motion.paths import SIDE, log_uniform

Clip = NDArray[np.uint8]  # (frame, height, width, rgb)


def through_codec(clip: Clip, codec: str, quality: int, *, preset: str = "ultrafast") -> Clip:
    """Send a clip through a real video encoder and back, as one group of pictures."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="matroska") as out:
        # x264's mbtree gives other bits now and then on processors with AVX-512.
        own = {"crf": str(quality), "preset": preset, "x264-params": "mbtree=0"}
        options = own if codec == "libx264" else {}
        stream = out.add_stream(codec, rate=8, options={"g": "100", **options})
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        if codec == "mpeg4":
            stream.bit_rate = int(2e6 / quality)
        for frame in clip:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode(None))
    memory.seek(0)
    with av.open(memory) as file:
        file.streams.video[0].thread_type = "NONE"
        decoded = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    # An encoder may drop a frame; the clip then stays as it was.
    return np.stack(decoded) if len(decoded) == len(clip) else clip


def through_low_rate(rng: np.random.Generator, clip: Clip) -> Clip:
    """Send a clip through an encoder that has few bits, as in surveillance and old web video."""
    if rng.random() < 0.5:
        return through_codec(clip, "mpeg4", int(rng.integers(10, 30)))
    return through_codec(clip, "libx264", int(rng.integers(30, 42)), preset="veryfast")


def through_jpeg(clip: Clip, quality: int) -> Clip:
    """Send every frame through JPEG and back."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return np.stack(
        [cv2.imdecode(cv2.imencode(".jpg", f, settings)[1], cv2.IMREAD_COLOR) for f in clip]
    )


def degrade(rng: np.random.Generator, clip: Clip) -> Clip:
    """Give a clip blur, a lower resolution, bars, captions and compression artefacts."""
    side = clip.shape[1]
    if rng.random() < 0.15:
        sigma = rng.uniform(0.3, 1.2) * side / SIDE
        clip = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in clip])
    if rng.random() < 0.12:
        coarse = int(side * rng.uniform(0.35, 0.7))
        clip = np.stack(
            [
                cv2.resize(
                    cv2.resize(f, (coarse, coarse), interpolation=cv2.INTER_AREA), (side, side)
                )
                for f in clip
            ]
        )
    if rng.random() < 0.12:
        bar, colour = (
            int(side * rng.uniform(0.04, 0.17)),
            int(rng.choice([0, rng.integers(0, 256)])),
        )
        rows = clip if rng.random() < 0.7 else clip.transpose(0, 2, 1, 3)
        rows[:, :bar] = colour
        rows[:, side - bar :] = colour
    if rng.random() < 0.1:
        words = "".join(chr(c) for c in rng.integers(33, 126, int(rng.integers(3, 14))))
        place = tuple(rng.integers(0, side, 2).tolist())
        ink, size = rng.integers(0, 256, 3).tolist(), rng.uniform(0.4, 1.0) * side / SIDE
        for frame in clip:
            cv2.putText(frame, words, place, 0, size, ink, 1 + side // 128, cv2.LINE_AA)
    if rng.random() < 0.08:
        place = tuple((rng.choice([0.04, 0.5], 2) * side + rng.integers(0, side // 8, 2)).tolist())
        place = int(place[0]), int(place[1] + 0.1 * side)
        ink, size, second = rng.integers(0, 256, 3).tolist(), 0.35 * side / SIDE, rng.integers(58)
        for number, frame in enumerate(clip):
            words = f"{second + number // 4:02}:{25 * number % 100:02}"
            cv2.putText(frame, words, place, 0, size, ink, 1 + side // 128, cv2.LINE_AA)
    chance = rng.random()
    if chance < 0.12:
        clip = through_codec(clip, "libx264", int(rng.integers(20, 38)))
    elif chance < 0.2:
        clip = through_codec(clip, "mpeg4", int(rng.integers(1, 20)))
    elif chance < 0.55:
        clip = through_jpeg(clip, int(rng.integers(25, 95)))
    return clip


def expose(rng: np.random.Generator, clip: Clip, noise: NDArray[np.float32]) -> Clip:
    """Give a clip another tone, drifting exposure and white balance, a vignette and noise."""
    light = clip.astype(np.float32)
    t = np.linspace(0, 1, len(clip), dtype=np.float32)
    if rng.random() < 0.15:
        light[:] = light.mean(-1, keepdims=True)
    if rng.random() < 0.6:
        light = (light - 128) * rng.uniform(0.5, 1.3) + rng.uniform(90, 166)
    if rng.random() < 0.5:
        swing = rng.normal(0, 0.1 if rng.random() < 0.85 else 0.25)
        wave = np.sin(rng.uniform(0.5, 4) * t * np.pi + rng.uniform(0, 6)) * swing
        tint = np.outer(t, rng.normal(0, 0.06, 3)) * (rng.random() < 0.5)
        light *= np.maximum(1 + wave[:, None] + tint, 0.4).astype(np.float32)[:, None, None]
    if rng.random() < 0.15:
        grid = np.linspace(-1, 1, SIDE, dtype=np.float32) ** 2
        light *= (1 - rng.uniform(0, 0.3) * (grid[:, None] + grid[None]))[..., None]
    gain = log_uniform(rng, 0.5, 12)
    if rng.random() < 0.06:  # night: little light, grey, and the noise of a sensor turned up
        light[:] = light.mean(-1, keepdims=True) * rng.uniform(0.25, 0.7) + rng.uniform(0, 50)
        gain = rng.uniform(8, 20)
    if rng.random() < 0.6 or gain > 12:
        start = int(rng.integers(noise.size - light.size))
        light += noise[start : start + light.size].reshape(light.shape) * gain
    return np.clip(light, 0, 255).astype(np.uint8)
