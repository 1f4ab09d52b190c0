"""The parent's handle on one measuring process: a fresh one a row, killed with the command."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from timesformer_cli.child import signal_name
from timesformer_cli.errors import DeviceError, TsfError, UsageError

# The process gets the parent's import path, never its own idea of one.
ENTRY = """import sys
sys.path[:] = {path!r}
from timesformer_cli.inference.measure_worker import main
main({parent}, {device!r}, {dtype!r})"""
ERRORS = {error.__name__: error for error in (DeviceError, UsageError)}


@dataclass(frozen=True, slots=True)
class Measurer:
    """A process that has loaded torch and waits for one job; `greeting` says what it runs on."""

    process: "subprocess.Popen[str]"
    greeting: dict[str, Any]

    def measure(self, job: dict[str, Any]) -> dict[str, Any]:
        """The answer: `status` ok, oom or failed, with numbers or a `reason`."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # it has ended, and its exit status says how
            pass
        answer = _heard(self.process)
        if answer is not None:
            return answer
        code = self.process.wait()
        if code < 0:  # nothing else in here draws a signal: the kernel, or a refused allocation
            return {"status": "oom", "reason": f"was ended by {signal_name(-code)}"}
        return {"status": "failed", "reason": f"ended without an answer, exit code {code}"}


@contextmanager
def measurer(device: str, dtype: str, debug: bool) -> Iterator[Measurer]:
    """A measuring process, alive for the length of the block; raises what its device is not."""
    path = [entry for entry in sys.path if isinstance(entry, str)]
    entry = ENTRY.format(path=path, parent=os.getpid(), device=device, dtype=dtype)
    process = subprocess.Popen(
        [sys.executable, "-c", entry],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if debug else subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    try:
        greeting = _heard(process)
        if greeting is None:
            raise TsfError("the measuring process did not start; --debug shows why")
        if "error" in greeting:
            raise ERRORS.get(greeting["error"], TsfError)(greeting["message"])
        yield Measurer(process, greeting)
    finally:
        _end(process)


def _heard(process: "subprocess.Popen[str]") -> dict[str, Any] | None:
    """The next line the process says; None where it has ended."""
    assert process.stdout is not None
    line = process.stdout.readline()
    return dict(json.loads(line)) if line.endswith("\n") else None


def _end(process: "subprocess.Popen[str]") -> None:
    """Kill the process, whatever it is doing, and release what is left of it."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        try:
            pipe.close()
        except BrokenPipeError:  # a job that was never read
            continue
