"""The decode worker: a process of its own, because a decoder that hangs can only be killed."""

import importlib
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from typing import IO, TYPE_CHECKING, Any

from timesformer_cli.children import die_with, receive, send, take_pipes
from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.video.facts import Pixels, Probe
from timesformer_cli.video.messages import DecodeRequest, FollowRequest

if TYPE_CHECKING:
    from timesformer_cli.video.windows import Shot, Window

MEMORY = 6 << 30  # bytes of address space: a hostile file must not take the machine's memory
BEAT = 0.5  # seconds between two signs of life
GRACE = 5  # seconds past the time limit, so that the parent's own kill comes first


def main(parent: int) -> None:
    """Answer requests until the parent closes the pipe."""
    requests, replies = take_pipes()
    confine_decoder(parent)
    _warm_up()
    send(replies, {"status": "ready"})
    while True:
        try:
            asked, _ = receive(requests)
        except EOFError:
            return
        heart = _Heart(replies, asked["timeout"])
        header, pixels = (_follow if asked.get("follow") else _answer)(asked, heart)
        _self_destruct(None)
        send(replies, header, pixels)


class _Heart:
    """Tells the parent, twice a second at most, that the file moves on, and puts the alarm off."""

    def __init__(self, replies: IO[bytes], timeout: float) -> None:
        self.replies, self.timeout = replies, timeout
        self.last = time.monotonic()
        _self_destruct(timeout)

    def beat(self, decoder: str | None = None) -> None:
        """Called with every picture; at once where a decoder begins, so that it can be blamed."""
        if decoder is not None or time.monotonic() - self.last >= BEAT:
            self.last = time.monotonic()
            _self_destruct(self.timeout)
            named = {} if decoder is None else {"decoder": decoder}
            send(self.replies, {"status": "working", **named})


def confine_decoder(parent: int) -> None:
    """Limit the memory and end with the parent; each only where the platform can do it."""
    _limit_memory(MEMORY)
    die_with(parent)


def _limit_memory(limit: int | None) -> None:
    """Limit the addresses that this process may take, or (None) leave all that it may have."""
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        unlimited = hard == resource.RLIM_INFINITY
        soft = hard if limit is None else limit if unlimited else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    except (ImportError, AttributeError, ValueError, OSError):
        pass


@cache
def _make_room(decoder: str) -> None:
    """Lift the limit where a card decodes: CUDA reserves many times the addresses that it uses.

    torch takes 3 of the 6 GB before it does anything, which leaves enough to the processor.
    """
    if decoder == "torchcodec":
        import torch

        _limit_memory(None)  # first: with the limit, torch may see no card
        if not torch.cuda.is_available():
            _limit_memory(MEMORY)


def _warm_up() -> None:
    """Load what most requests need, while the parent still loads its own libraries."""
    import timesformer_cli.video.decode  # noqa: F401

    for module in ("av", "decord"):
        try:
            importlib.import_module(module)
        except Exception:  # reported, with advice, when a request needs this decoder
            continue


def _self_destruct(timeout: float | None) -> None:
    """Set an alarm that ends this process, or clear it (None).

    The kernel delivers it even while decord spins in native code and holds the GIL, when no signal
    handler of Python can run.
    """
    if hasattr(signal, "alarm"):
        signal.alarm(int(timeout) + GRACE if timeout is not None else 0)


class _Messages:
    """Sends what is found while a video is followed; the alarm rests while the parent is busy."""

    def __init__(self, heart: _Heart) -> None:
        self.heart = heart

    def described(self, described: "Probe") -> None:
        self._send({"status": "described", "probe": asdict(described)})

    def window(self, window: "Window", fresh: Sequence[tuple[int, Pixels]]) -> None:
        pixels = b"".join(picture.tobytes() for _, picture in fresh)
        numbers = [number for number, _ in fresh]
        self._send({"status": "window", "window": asdict(window), "fresh": numbers}, pixels)

    def shot(self, shot: "Shot") -> None:
        self._send({"status": "shot", "shot": asdict(shot)})

    def _send(self, header: dict[str, Any], pixels: bytes = b"") -> None:
        _self_destruct(None)
        send(self.heart.replies, header, pixels)
        _self_destruct(self.heart.timeout)


Reply = tuple[dict[str, Any], memoryview | bytes]


def _answer(asked: dict[str, Any], heart: _Heart) -> Reply:
    """Decode the clips of one video."""
    from timesformer_cli.video.decode import decode
    from timesformer_cli.video.every_frame import decode_every

    def done() -> Reply:
        request = DecodeRequest.from_header(asked)
        _make_room(request.decoder)
        decoded = (decode_every if request.every else decode)(request, heart.beat)
        return decoded.to_header() | {"status": "ok"}, decoded.frames.data.cast("B")

    return _caught(done)


def _follow(asked: dict[str, Any], heart: _Heart) -> Reply:
    """Decode one video forwards; windows are sent on the way, and the answer is how it ended."""
    from timesformer_cli.video.follow import follow

    def done() -> Reply:
        request = FollowRequest.from_header(asked)
        _make_room(request.decoder)
        return asdict(follow(request, _Messages(heart), heart.beat)) | {"status": "ended"}, b""

    return _caught(done)


def _caught(done: Callable[[], Reply]) -> Reply:
    """The reply of `done`, or the error of the video."""
    try:
        return done()
    except VideoError as error:
        return _error(error.kind, str(error)), b""
    except MemoryError:
        limit = f"needs more memory than a decoder is given ({MEMORY >> 30} GB)"
        return _error(ErrorKind.OUT_OF_MEMORY, limit), b""
    except Exception as error:
        traceback.print_exc()  # seen with --debug
        return _error(
            ErrorKind.DECODER_FAILED, f"the decoder failed: {type(error).__name__}: {error}"
        ), b""


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"status": "error", "kind": kind, "message": message}
