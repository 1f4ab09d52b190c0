"""An exported file and its proof, as a table or JSON."""

from collections.abc import Iterator
from typing import TextIO

from rich.text import Text

from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import faster, percent, write_json
from timesformer_cli.cli.stderr import printable
from timesformer_cli.export.run import Exported

NAME = len("latency  ")
NEXT = {
    "onnx": "tsf classify VIDEO --model {file}",
    "pt2": "tsf classify VIDEO --model {file}",
    "aoti": "torch._inductor.aoti_load_package({file!r})",
}


def as_table(exported: Exported, stream: TextIO) -> None:
    """One line per finding."""
    console = new_console(stream)
    for name, text in _findings(exported):
        console.print(Text.assemble((name.ljust(NAME), "dim"), text), soft_wrap=True)


def as_json(exported: Exported, stream: TextIO) -> None:
    """The dataclass, field for field."""
    write_json(exported, stream)


RENDERERS = {"table": as_table, "json": as_json}


def _findings(exported: Exported) -> Iterator[tuple[str, Text]]:
    proof = exported.proof
    *beside, file = (printable(name) for name in exported.files)
    yield "file", Text.assemble((file, "bold"), *(f" and {name}" for name in beside))
    share = percent(exported.bytes / exported.weight_bytes, 1)
    yield "size", Text(f"{exported.bytes / 1e6:,.1f} MB, {share} of its weights in float32")
    yield "takes", Text(f"{exported.input}: {_shape(exported.shape)}")
    opset = f", opset {exported.opset}" if exported.opset else ""
    yield "runs on", Text(f"{proof.runtime}, {exported.dtype}{opset}")
    near = (f"{proof.difference:.1e}", "bold green")
    rest = f" of the model's (tolerance {exported.tolerance:g}), best label the same in "
    yield "proof", Text.assemble("logits within ", near, rest, percent(proof.agreement, 0))
    sizes = ", ".join(map(str, proof.batches))
    yield "", Text(f"{proof.clips} clips, {proof.real} of them a video's, in batches of {sizes}")
    clips = f"{proof.timed} clip{'s' * (proof.timed > 1)}"
    own, eager = (f"{value:,.0f} ms" for value in (proof.milliseconds, proof.eager_milliseconds))
    speed = faster(proof.milliseconds, proof.eager_milliseconds)
    yield "latency", Text(f"{own} for {clips}, {speed} the model in float32 ({eager})")
    for warning in exported.warnings:
        yield "warning", Text(warning, "yellow")
    yield "next", Text(NEXT[exported.kind].format(file=file))


def _shape(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('batch' if size is None else str(size) for size in shape)})"
