"""The decode worker: a process of its own, so that what hangs or crashes a decoder can be killed."""

import importlib
import signal
import traceback
from typing import Any

from timesformer_cli.children import die_with, receive, send, take_pipes
from timesformer_cli.errors import VideoError
from timesformer_cli.video.messages import DecodeRequest

MEMORY = 6 << 30  # address space, bytes
GRACE = 5  # seconds past the time limit after which an orphan ends itself


def main(parent: int) -> None:
    """Answer requests until the parent closes the pipe."""
    requests, replies = take_pipes()
    _confine(parent)
    _warm_up()
    send(replies, {"status": "ready"})
    while True:
        try:
            request, _ = receive(requests)
        except EOFError:
            return
        asked = DecodeRequest.from_header(request)
        _self_destruct(asked.timeout)
        header, pixels = _answer(asked)
        _self_destruct(None)
        send(replies, header, pixels)


def _confine(parent: int) -> None:
    """Bound the memory, and die with the parent; each as far as the platform allows."""
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (ImportError, AttributeError, ValueError, OSError):
        pass
    die_with(parent)


def _warm_up() -> None:
    """Load what most requests need while the parent is still busy with its own start."""
    import timesformer_cli.video.decode  # noqa: F401

    for module in ("av", "decord"):
        try:
            importlib.import_module(module)
        except Exception:  # said again, with advice, when a request needs it
            continue


def _self_destruct(timeout: float | None) -> None:
    """An alarm the kernel acts on even while a native loop holds the interpreter's lock."""
    if hasattr(signal, "alarm"):
        signal.alarm(int(timeout) + GRACE if timeout is not None else 0)


def _answer(request: DecodeRequest) -> tuple[dict[str, Any], memoryview | bytes]:
    from timesformer_cli.video.decode import decode

    try:
        decoded = decode(request)
        return decoded.to_header() | {"status": "ok"}, decoded.frames.data.cast("B")
    except VideoError as error:
        return _error(error.kind, str(error)), b""
    except MemoryError:
        limit = f"needs more memory than a decoder is given ({MEMORY >> 30} GB)"
        return _error("out_of_memory", limit), b""
    except Exception as error:
        traceback.print_exc()  # seen with --debug
        return _error("decoder_failed", f"the decoder failed: {type(error).__name__}: {error}"), b""


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"status": "error", "kind": kind, "message": message}
