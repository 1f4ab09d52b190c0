"""The parent's handle on one measuring process: a fresh one a row, killed with the command."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from timesformer_cli.children import ChildEnded, ChildProcess
from timesformer_cli.errors import TsfError, from_name


@dataclass(frozen=True, slots=True)
class Measurer:
    """A process that has loaded torch and waits for one job; `greeting` says what it runs on."""

    child: ChildProcess
    greeting: dict[str, Any]

    def measure(self, job: dict[str, Any]) -> dict[str, Any]:
        """The answer: `status` ok, oom or failed, with numbers or a `reason`."""
        try:
            return self.child.ask(job)[0]
        except ChildEnded as ended:
            if (
                ended.code < 0
            ):  # nothing else in here draws a signal: the kernel, for want of memory
                return {"status": "oom", "reason": f"was ended by {ended}"}
            return {"status": "failed", "reason": f"ended without an answer, {ended}"}


@contextmanager
def measurer(device: str, dtype: str, debug: bool) -> Iterator[Measurer]:
    """A measuring process, alive for the length of the block; raises what its device is not."""
    child = ChildProcess("timesformer_cli.benchmark.measure_worker", device, dtype, debug=debug)
    try:
        try:
            greeting, _ = child.hear()
        except ChildEnded:
            raise TsfError("the measuring process did not start; --debug shows why") from None
        if "error" in greeting:
            raise from_name(greeting["error"], greeting["message"])
        yield Measurer(child, greeting)
    finally:
        child.end()
