"""Child processes: started, spoken to and ended by their parent, and never alive without it.

A child runs the `main(parent, *arguments)` of one of our modules. Parent and child exchange
messages over its stdin and stdout: a JSON header, then raw bytes. They never use pickle, which runs
code that it is sent. Decoders are children so that they can be killed when a file hangs them,
measurements so that they run out of memory alone, and devices because Python's threads share one
interpreter.
"""

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import IO, Any, BinaryIO

PR_SET_PDEATHSIG = 1  # from linux/prctl.h
# The child gets the parent's import path. `-m` would put the current folder first, and a folder of
# videos may hold an `av.py`.
ENTRY = """import sys
sys.path[:] = {path!r}
from {module} import main
main({arguments})"""
SAME_ENVIRONMENT: Mapping[str, str] = MappingProxyType({})
LENGTHS = struct.Struct(">IQ")  # of the header and of the bytes that follow it
MAX_HEADER, MAX_BYTES = 1 << 24, 1 << 33  # limits what a hijacked child can ask for

Message = tuple[dict[str, Any], bytearray]


class ChildEnded(Exception):
    """The child ended before it answered; `code` is its exit code, or minus a signal's number."""

    def __init__(self, code: int) -> None:
        super().__init__(signal_name(-code) if code < 0 else f"exit code {code}")
        self.code = code


class ChildProcess:
    """One child as its parent sees it: it runs from here on, until `end` is called or it ends.

    With `debug` its stderr is ours; `inherited` are open files that it has under the same number
    (POSIX only).
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str] = SAME_ENVIRONMENT,
        debug: bool = False,
        inherited: Sequence[int] = (),
    ) -> None:
        path = [entry for entry in sys.path if isinstance(entry, str)]
        given = ", ".join(map(repr, (os.getpid(), *arguments)))
        self._process = subprocess.Popen(
            [sys.executable, "-c", ENTRY.format(path=path, module=module, arguments=given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if debug else subprocess.DEVNULL,
            env=os.environ | environment,
            # A session of its own, so that Ctrl-C in the terminal reaches the parent alone.
            start_new_session=True,
            pass_fds=inherited,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )

    @property
    def pid(self) -> int:
        """The system's number of the process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def ask(self, header: dict[str, Any], payload: memoryview | bytes = b"") -> Message:
        """Send a message and wait for the answer; raises ChildEnded."""
        assert self._process.stdin is not None
        # It may have ended already, or have closed its end: the exit status says how.
        with suppress(OSError, ValueError):
            send(self._process.stdin, header, payload)
        return self.hear()

    def hear(self) -> Message:
        """Wait for the child's next message; raises ChildEnded."""
        assert self._process.stdout is not None
        try:
            return receive(self._process.stdout)
        except (EOFError, OSError, ValueError):
            self._process.kill()  # whatever state it is in, it can no longer be talked to
            raise ChildEnded(self._process.wait()) from None

    def kill(self) -> None:
        """Kill the process, whatever it is doing; whoever waits for an answer gets ChildEnded."""
        self._process.kill()

    def end(self) -> None:
        """Kill the process and release its pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # a request that was never read
                pipe.close()


def take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """In the child: the streams of requests and replies.

    Afterwards stdin is empty and stdout is stderr: what a library prints must not reach the parent.
    """
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    os.dup2(2, 1)
    return requests, replies


def die_with(parent: int) -> None:
    """In the child: let the kernel end it when its parent ends. Linux only."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before we asked
            os._exit(0)


def send(stream: IO[bytes], header: dict[str, Any], payload: memoryview | bytes = b"") -> None:
    """Write one message."""
    text = json.dumps(header).encode("ascii")
    stream.write(LENGTHS.pack(len(text), len(payload)) + text)
    stream.write(payload)
    stream.flush()


def receive(stream: IO[bytes]) -> Message:
    """Read one message; raises EOFError when the other end is gone or sends something else."""
    header, payload = LENGTHS.unpack(_read_exactly(stream, LENGTHS.size))
    if header > MAX_HEADER or payload > MAX_BYTES:
        raise EOFError("not a message")
    try:
        decoded = json.loads(_read_exactly(stream, header))
    except ValueError:
        raise EOFError("not a message") from None
    return decoded, _read_exactly(stream, payload)


def signal_name(number: int) -> str:
    """`9` as `signal 9, SIGKILL`."""
    try:
        return f"signal {number}, {signal.Signals(number).name}"
    except ValueError:
        return f"signal {number}"


def _read_exactly(stream: IO[bytes], length: int) -> bytearray:
    data = bytearray(length)
    view, position = memoryview(data), 0
    while position < length:
        count = stream.readinto(view[position:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError("the other end is gone")
        position += count
    return data
