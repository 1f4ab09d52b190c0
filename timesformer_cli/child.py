"""What the processes that decode, measure and score share: they end with their parent, and say how."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import BinaryIO

PR_SET_PDEATHSIG = 1
# The process gets the parent's import path, never its own idea of one: `-m` would put the current
# folder first, and a folder of videos may hold an `av.py`.
ENTRY = """import sys
sys.path[:] = {path!r}
from {module} import main
main({arguments})"""
SAME: Mapping[str, str] = MappingProxyType({})


def start(
    module: str, *arguments: str, environment: Mapping[str, str] = SAME, debug: bool = False
) -> "subprocess.Popen[bytes]":
    """A process that runs the module's `main(parent, *arguments)`, to be talked to by its pipes.

    With `debug` its stderr is ours. Ctrl-C in the terminal is for the parent alone.
    """
    path = [entry for entry in sys.path if isinstance(entry, str)]
    given = ", ".join(map(repr, (os.getpid(), *arguments)))
    return subprocess.Popen(
        [sys.executable, "-c", ENTRY.format(path=path, module=module, arguments=given)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if debug else subprocess.DEVNULL,
        env=os.environ | environment,
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the process, whatever it is doing, and release what is left of it."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        try:
            pipe.close()
        except BrokenPipeError:  # a request that was never read
            continue


def take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """In the process: requests and replies. What a library prints must not reach the parent."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    os.dup2(2, 1)
    return requests, replies


def die_with(parent: int) -> None:
    """Let the kernel end this process when its parent ends; Linux only."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before we asked
            os._exit(0)


def signal_name(number: int) -> str:
    """`signal 9, SIGKILL`."""
    try:
        return f"signal {number}, {signal.Signals(number).name}"
    except ValueError:
        return f"signal {number}"


def ending(code: int) -> str:
    """How a process ended: `exit code 1`, or by which signal."""
    return signal_name(-code) if code < 0 else f"exit code {code}"
