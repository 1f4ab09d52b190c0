"""Live streams on loopback and in pipes, and a model whose speed is known."""

import io
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import torch

from tests.support.models import tiny
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.dataset.own_labels import as_own_labels
from timesformer_cli.inference.label_choice import choose_classes
from timesformer_cli.inference.predictor import ModelOutputs

COLOURS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220)}
DATAGRAM = 1316  # bytes: seven packets of a transport stream
FPS = 20


def stream(
    colours: str,
    seconds: float = 1.0,
    *,
    first: float = 0.0,
    format: str = "mpegts",
    size: tuple[int, int] = (96, 64),
) -> bytes:
    """A stream that shows each of the colours for so long; times begin at `first`."""
    file = io.BytesIO()
    # A picture is written when it is there, not with the next one.
    options = {"flush_packets": "1", "pes_payload_size": "0"} if format == "mpegts" else {}
    codec = "mjpeg" if format == "mjpeg" else "libx264"
    with av.open(file, "w", format=format, options=options) as container:
        out = container.add_stream(codec, rate=FPS)
        out.width, out.height = size
        out.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec == "libx264":
            out.options = {"preset": "ultrafast", "g": "10", "tune": "zerolatency"}
        number = round(first * FPS)
        for colour in colours.split():
            picture = np.full((*size[::-1], 3), COLOURS[colour], np.uint8)
            picture[::8] = 128  # something to encode
            for _ in range(round(seconds * FPS)):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, FPS)
                number += 1
                container.mux(out.encode(frame))
        container.mux(out.encode())
    return file.getvalue()


def in_background(work: Any, *arguments: Any) -> None:
    """Run it in a thread that ends with its own work, or with this process."""
    threading.Thread(target=work, args=arguments, daemon=True).start()


@contextmanager
def piped(data: bytes, seconds: float = 0.0) -> Iterator[None]:
    """This process has the bytes on stdin, written over so many seconds."""
    before = os.dup(0)
    ours, theirs = os.pipe()
    os.dup2(ours, 0)
    os.close(ours)
    in_background(write_paced, theirs, data, seconds)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


def paced(parts: list[bytes], seconds: float) -> Iterator[bytes]:
    """The parts, at even steps over so many seconds."""
    began = time.monotonic()
    for number, part in enumerate(parts):
        time.sleep(max(0.0, began + seconds * number / len(parts) - time.monotonic()))
        yield part


def datagrams(data: bytes) -> list[bytes]:
    """A transport stream as it goes over UDP."""
    return [data[i : i + DATAGRAM] for i in range(0, len(data), DATAGRAM)]


def send_udp(port: int, data: bytes, seconds: float) -> None:
    """Send a transport stream to a port of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for part in paced(datagrams(data), seconds):
            with suppress(OSError):  # nobody listens yet
                sender.sendto(part, ("127.0.0.1", port))


def write_paced(descriptor: int, data: bytes, seconds: float) -> None:
    """Write into a pipe or a file, then close it."""
    with suppress(BrokenPipeError):
        for part in paced(datagrams(data), seconds):
            os.write(descriptor, part)
    os.close(descriptor)


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """A port of this machine that nobody uses."""
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class ColourScorer:
    """Says which of red, green and blue a clip shows at its end, in a known time."""

    device, dtype, ahead = "cpu", "float32", 0

    def __init__(self, seconds: float = 0.0, labels: tuple[str, ...] = ()) -> None:
        self.seconds = seconds
        self.frames = 0  # that it was given
        self.description = SimpleNamespace(
            labels=tuple(COLOURS),
            config=tiny(classes=3),
            sampling=Sampling(frames=4, stride=4),
            preprocessing=Preprocessing(resize=64, crop=(64, 64)),
        )
        self.choice = choose_classes(self.description, as_own_labels(labels or None), "it")

    def start(self, frames: np.ndarray, *, features: bool = False) -> Any:
        """Take `seconds` for each clip."""
        time.sleep(self.seconds * len(frames))
        self.frames += frames.shape[0] * frames.shape[1]
        shown = torch.from_numpy(frames[:, -1].astype(np.float32)).mean(dim=(1, 2))
        return lambda: ModelOutputs(torch.softmax(shown / 10, dim=1), self.seconds)
