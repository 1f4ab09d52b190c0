"""The parent's handle on one measuring process: a fresh one a row, killed with the command."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from timesformer_cli import child
from timesformer_cli.errors import TsfError, from_name
from timesformer_cli.wire import receive, send


@dataclass(frozen=True, slots=True)
class Measurer:
    """A process that has loaded torch and waits for one job; `greeting` says what it runs on."""

    process: "subprocess.Popen[bytes]"
    greeting: dict[str, Any]

    def measure(self, job: dict[str, Any]) -> dict[str, Any]:
        """The answer: `status` ok, oom or failed, with numbers or a `reason`."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, and its exit status says how
            send(self.process.stdin, job)
        answer = _heard(self.process)
        if answer is not None:
            return answer
        code = self.process.wait()
        if code < 0:  # nothing else in here draws a signal: the kernel, or a refused allocation
            return {"status": "oom", "reason": f"was ended by {child.signal_name(-code)}"}
        return {"status": "failed", "reason": f"ended without an answer, exit code {code}"}


@contextmanager
def measurer(device: str, dtype: str, debug: bool) -> Iterator[Measurer]:
    """A measuring process, alive for the length of the block; raises what its device is not."""
    process = child.start("timesformer_cli.inference.measure_worker", device, dtype, debug=debug)
    try:
        greeting = _heard(process)
        if greeting is None:
            raise TsfError("the measuring process did not start; --debug shows why")
        if "error" in greeting:
            raise from_name(greeting["error"], greeting["message"])
        yield Measurer(process, greeting)
    finally:
        child.end(process)


def _heard(process: "subprocess.Popen[bytes]") -> dict[str, Any] | None:
    """The next thing the process says; None where it has ended."""
    assert process.stdout is not None
    try:
        return receive(process.stdout)[0]
    except EOFError:
        return None
