"""What is known of a model, as a list of facts with their origins, as JSON, or its labels alone."""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import write_json
from timesformer_cli.cli.stderr import note, printable
from timesformer_cli.errors import UsageError

if TYPE_CHECKING:
    from timesformer_cli.inference.model_facts import ModelFacts

FIRST = 5  # labels shown


def as_table(facts: "ModelFacts") -> None:
    """Print a line for each fact; where it came from stands behind it."""
    console = new_console()
    if not console.is_terminal:
        console.width = max(console.width, 1000)  # nothing is cut for whoever reads the pipe
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value, origin in _lines(facts):
        text = Text(printable(value))
        if origin:
            text.append(f"  ({origin})", "dim")
        table.add_row(Text(name, "bold"), text)
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))
    for remark in facts.notes:
        note(remark)


def as_json(facts: "ModelFacts") -> None:
    """Print all fields."""
    write_json(facts, sys.stdout)


def show_labels(facts: "ModelFacts") -> None:
    """Print every label on a line of its own; raises UsageError where none are known."""
    if not facts.labels:
        if facts.text is not None:
            raise UsageError(f"{facts.name}: its classes are the words that you give")
        if not facts.classes:
            raise UsageError(f"{facts.name}: an encoder, which knows no labels")
        raise UsageError(f"{facts.name}: its {facts.classes:,} labels are known once it is here")
    for label in facts.labels:
        print(printable(label))


def _lines(facts: "ModelFacts") -> Iterator[tuple[str, str, str]]:
    """Name, value and origin of each fact that there is."""
    yield "model", facts.name + ("" if facts.here else ", not on this machine"), ""
    if facts.recognises:
        yield "recognises", facts.recognises, ""
    yield "scheme", f"{facts.scheme}: {facts.about_scheme}", facts.architecture_from
    yield "size", f"width {facts.width}, {facts.depth} blocks, {facts.heads} heads", ""
    yield "patches", " x ".join(map(str, facts.patch)) + " (frames x height x width)", ""
    yield "parameters", f"{facts.parameters:,}", ""
    yield "work", f"{facts.gmacs:,.2f} GMACs for one clip", ""
    yield "clip", _clip(facts), facts.sampling_from
    for name, value in facts.preprocessing.items():
        # A number is the short side's; two are both sides', whatever the video's aspect.
        kept = "resize, short side" if isinstance(value, int) else "resize, both sides"
        yield kept if name == "resize" else name, _value(value), facts.preprocessing_from[name]
    first = ", ".join(facts.labels[:FIRST]) + (", ..." if len(facts.labels) > FIRST else "")
    known = f": {first}" if facts.labels else ", their names not known here"
    if facts.classes:
        yield "labels", f"{facts.classes:,}{known}", facts.labels_from if facts.labels else ""
    yield "read out", facts.readout, ""
    if (text := facts.text) is not None:
        yield "classes", f"the words that you give, in '{text.template}'", ""
        tokens = f"{text.length} tokens at most, of {text.vocabulary:,}"
        yield "text tower", f"width {text.dim}, {text.depth} blocks; {tokens}", ""
        yield "temperature", f"{text.temperature:g}", ""
    if facts.classes:
        yield "scores", facts.scores, ""
    if facts.dtype:
        yield "dtype", facts.dtype, ""
    if facts.input:
        yield "input", facts.input, ""
    if facts.top1:
        top = " / ".join(f"{value:.1f} %" for value in (facts.top1, facts.top5) if value)
        yield "top-1 / top-5" if facts.top5 else "top-1", top, facts.reported or ""
    yield from (("file", path, "") for path in facts.files)
    yield "bytes", f"{facts.bytes:,}", "" if facts.here else "of its tensors, in float32"
    if facts.revision:
        yield "revision", facts.revision, ""
    if facts.source:
        yield "source", facts.source, ""
    non_commercial = " (not for commercial use)" if "-NC-" in facts.licence else ""
    yield "licence", facts.licence + non_commercial, ""


def _clip(facts: "ModelFacts") -> str:
    if facts.stride is None:
        return f"{facts.frames} frames, spread over the whole video"
    return f"{facts.frames} frames x {facts.stride} (of 30 fps), which span {facts.seconds:.2f} s"


def _value(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(_value(part) for part in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


RENDERERS: dict[str, Callable[["ModelFacts"], None]] = {"table": as_table, "json": as_json}
