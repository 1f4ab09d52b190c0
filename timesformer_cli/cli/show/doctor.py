"""What was found on this machine, in sections or as JSON."""

import sys
from collections.abc import Callable, Iterator

from rich.table import Table
from rich.text import Text

from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import write_json
from timesformer_cli.cli.stderr import printable
from timesformer_cli.doctor import Checkup

# What is said of a thing, and its colour.
STYLES = {"ok": "green", "missing": "dim", "broken": "bold red", "no": "yellow", "": ""}


def as_table(found: Checkup) -> None:
    """Print a line for each thing that was looked at, then what is to be done."""
    console = new_console()
    if not console.is_terminal:
        console.width = max(console.width, 1000)  # nothing is cut for whoever reads the pipe
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, state, text in _lines(found):
        table.add_row(Text(name, "bold"), Text(state, STYLES[state]), Text(printable(text)))
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))
    for fault in found.broken:
        console.print(Text(f"broken: {printable(fault)}", "bold red"), soft_wrap=True)
    for advice in found.advice:
        console.print(Text(f"advice: {printable(advice)}"), soft_wrap=True)
    console.print("something is broken" if found.broken else "all that is needed works")


def as_json(found: Checkup) -> None:
    """Print all fields."""
    write_json(found, sys.stdout)


def _lines(found: Checkup) -> Iterator[tuple[str, str, str]]:
    """Name, state and details of each thing."""
    yield "tsf", "", f"{found.tsf}, Python {found.python}, {found.system}"
    able = f": {', '.join(found.instructions)}" if found.instructions else ""
    yield "processor", "", f"{found.processor}{able}"
    yield "threads", "", f"{found.threads} of torch, on {found.processors} processors"
    for package in found.packages:
        state = "ok" if not package.fault else "broken" if package.needed else "missing"
        if package.fault and package.version:
            state = "broken"
        text = " ".join(part for part in (package.version, package.fault) if part)
        yield package.name, state, text + (f"; {package.remedy}" if package.remedy else "")
    for decoder in found.decoders:
        works = "reads a clip" + (f", {decoder.libraries}" if decoder.libraries else "")
        state = "ok" if decoder.reads else "no"
        yield f"decoder {decoder.name}", state, decoder.fault or works
    for device in found.devices:
        free = "" if device.free_bytes is None else f", {device.free_bytes / 1e9:,.1f} GB free"
        yield f"device {device.name}", "ok", f"{device.title}{free}, auto takes {device.dtype}"
    for speed in found.speeds:
        text = f"{speed.gflops:,.0f} GFLOP/s" if speed.gflops else speed.why_not or ""
        yield f"{speed.device} {speed.dtype}", "ok" if speed.gflops else "no", text
    for folder in found.folders:
        free = "" if folder.free_bytes is None else f", {folder.free_bytes / 1e9:,.1f} GB free"
        text = f"{folder.path} ({folder.bytes / 1e9:,.2f} GB in it{free})"
        yield folder.name, "ok" if folder.writable else "no", text
    if found.network:
        yield "hub", "", found.network


RENDERERS: dict[str, Callable[[Checkup], None]] = {"table": as_table, "json": as_json}
