"""A converted model, as a table or JSON."""

from collections.abc import Callable, Mapping
from typing import TextIO

from rich.text import Text

from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import write_json
from timesformer_cli.cli.stderr import printable
from timesformer_cli.export.convert import Converted

NAME = len("layout  ")
# How each code base takes its file.
NEXT = {
    "transformers": "AutoModelForVideoClassification.from_pretrained({folder!r})",
    "official": "TRAIN.CHECKPOINT_FILE_PATH {file}",
    "mmaction2": "init_recognizer(CONFIG, {file!r}), with a configuration of this model's sizes",
}


def as_table(converted: Converted, stream: TextIO) -> None:
    """One line per finding."""
    console = new_console(stream)
    proof = f"{converted.tensors} tensors, read back bit for bit"
    if converted.difference is not None:
        proof += f"; in transformers, logits within {converted.difference:.0e}"
    weights = next(file for file in converted.files if not file.endswith(".json"))
    how = NEXT[converted.to].format(folder=converted.folder, file=weights)
    for name, text in (
        ("folder", converted.folder),
        ("layout", converted.layout),
        ("proof", proof),
        ("there", how),
        ("here", f"tsf classify VIDEO --model {converted.folder}"),
    ):
        line = Text.assemble((name.ljust(NAME), "dim"), printable(text))
        console.print(line, soft_wrap=True)


def as_json(converted: Converted, stream: TextIO) -> None:
    """The dataclass, field for field."""
    write_json(converted, stream)


RENDERERS: Mapping[str, Callable[[Converted, TextIO], None]] = {
    "table": as_table,
    "json": as_json,
}
