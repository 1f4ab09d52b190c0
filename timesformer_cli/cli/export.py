"""`tsf export`: a model as a file that runs elsewhere."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from timesformer_cli import __version__
from timesformer_cli.cli import options
from timesformer_cli.errors import UsageError
from timesformer_cli.weights.catalogue import DEFAULT

KIND, GRAPH, OUTPUT = "Kind of file (--onnx if none is given)", "Graph", "Output"


def export(
    context: typer.Context,
    model: options.Model = DEFAULT,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="For onnxruntime.", rich_help_panel=KIND)
    ] = False,
    pt2: Annotated[
        bool, typer.Option("--pt2", help="For torch.export.load.", rich_help_panel=KIND)
    ] = False,
    aoti: Annotated[
        bool,
        typer.Option(
            "--aoti",
            help="Machine code for this kind of processor (AOTInductor); needs a C++ compiler.",
            rich_help_panel=KIND,
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The file to write.",
            show_default="the model's name, here",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace an existing file.", rich_help_panel=OUTPUT),
    ] = False,
    batch: Annotated[
        str,
        typer.Option(metavar="dynamic|N", help="Clips in one call.", rich_help_panel=GRAPH),
    ] = "dynamic",
    frames: options.Frames = None,
    labels: options.OwnLabels = None,
    template: options.Templates = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Height and width.", show_default="the model's", rich_help_panel=GRAPH
        ),
    ] = None,
    opset: Annotated[
        int | None,
        typer.Option(
            help="Version of the ONNX operators.", show_default="20", rich_help_panel=GRAPH
        ),
    ] = None,
    dtype: Annotated[
        Literal["float32", "float16", "bfloat16", "int8"],
        typer.Option(
            help="Type of weights and arithmetic; int8 with --onnx only.", rich_help_panel=GRAPH
        ),
    ] = "float32",
    with_preprocessing: Annotated[
        bool,
        typer.Option(
            "--with-preprocessing",
            help="Take uint8 frames (b t h w c), already cropped, and normalise them inside.",
            rich_help_panel=GRAPH,
        ),
    ] = False,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Largest difference of a logit from the model's; a file above it is not kept.",
            show_default="0.0001 in float32",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    format: Annotated[
        Literal["table", "json"],
        typer.Option(help="How to write the report.", rich_help_panel=OUTPUT),
    ] = "table",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write a model as a file that runs elsewhere.

    The file is proven to give the same answer.

    Example: tsf export --model camera-motion --onnx
    """
    from timesformer_cli.cli.progress import locate_shown, steps
    from timesformer_cli.cli.show.export import RENDERERS
    from timesformer_cli.cli.stderr import (
        claiming,
        errors_explained,
        interrupted_at_once,
        note,
        quietly,
    )
    from timesformer_cli.cli.streams import is_stdout
    from timesformer_cli.export.proof import Kind
    from timesformer_cli.export.run import (
        STEPS,
        ExportOptions,
        export_model,
        validate_export_options,
    )
    from timesformer_cli.inference.process_tuning import let_threads_sleep, use_threads

    with errors_explained(debug), quietly(quiet):
        use_threads(threads)
        let_threads_sleep(soon=False)
        wanted: dict[Kind, bool] = {"onnx": onnx, "pt2": pt2, "aoti": aoti}
        kinds = [kind for kind, given in wanted.items() if given]
        if len(kinds) > 1:
            raise UsageError("give one of --onnx, --pt2 and --aoti")
        asked = options.parse_labels(labels, template)
        chosen = options.fill(
            ExportOptions,
            context,
            kind=kinds[0] if kinds else "onnx",
            batch=parse_batch(batch),
            pixels=with_preprocessing,
            version=__version__,
            labels=asked["labels"],
            templates=asked["templates"],
        )
        validate_export_options(chosen)
        # Raised in the middle of it, an exception is lost in torch now and then.
        with claiming(chosen.target), interrupted_at_once():
            located = locate_shown(model)
            with steps() as watch:
                watch(0, len(STEPS), "starting")
                exported = export_model(chosen, located, note, watch)
        # Where the model itself went to stdout, the report must not follow it.
        report = sys.stderr if is_stdout(chosen.target) else sys.stdout
        RENDERERS[format](exported, report)


def parse_batch(text: str) -> int | None:
    """`dynamic` as None, else the number; raises UsageError."""
    if text == "dynamic":
        return None
    if not (text.isdecimal() and 1 <= int(text) <= 1024):
        raise UsageError(f"--batch is dynamic, or clips from 1 to 1024; got '{text}'")
    return int(text)
