"""The parent's handle on a measuring process: a fresh one per row, ended with the command."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from timesformer_cli.children import ChildEnded, ChildProcess
from timesformer_cli.errors import TsfError, from_name


@dataclass(frozen=True, slots=True)
class Measurer:
    """A process that has loaded torch and waits for one job."""

    child: ChildProcess
    greeting: dict[str, Any]  # device, dtype, threads and free memory of the process

    def measure(self, job: dict[str, Any]) -> dict[str, Any]:
        """The answer to one job: its `status` is ok, oom or failed, with numbers or a `reason`."""
        try:
            return self.child.ask(job)[0]
        except ChildEnded as ended:
            # Ended by a signal: only the kernel sends one, when memory is short.
            if ended.code < 0:
                return {"status": "oom", "reason": f"was ended by {ended}"}
            return {"status": "failed", "reason": f"ended without an answer, {ended}"}


@contextmanager
def measurer(device: str, dtype: str, debug: bool) -> Iterator[Measurer]:
    """A measuring process, alive for the length of the block.

    Raises UsageError or DeviceError for a device that it cannot use.
    """
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
