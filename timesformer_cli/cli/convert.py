"""`tsf convert`: a model in the files of another code base."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from timesformer_cli import __version__
from timesformer_cli.cli import options
from timesformer_cli.cli.completion import complete_model
from timesformer_cli.errors import UsageError

ONNX = "onnx"


def convert(
    model: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER",
            help="What tsf train wrote, or whatever --model takes.",
            show_default=False,
            autocompletion=complete_model,
        ),
    ],
    to: Annotated[
        Literal["transformers", "official", "mmaction2", "onnx"],
        typer.Option(help="Whose files to write.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The folder to write; the file, with --to onnx.",
            show_default="the model's name and what it becomes, here",
        ),
    ] = None,
    format: Annotated[
        Literal["table", "json"], typer.Option(help="How to write the report.")
    ] = "table",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write a model as another program stores it.

    It is read back, tensor by tensor, before the command says that it is there.

    Example: tsf convert runs/mine --to official
    """
    from timesformer_cli.cli.progress import locate_shown
    from timesformer_cli.cli.show.convert import RENDERERS
    from timesformer_cli.cli.show.export import RENDERERS as EXPORTED
    from timesformer_cli.cli.stderr import (
        claiming,
        errors_explained,
        interrupted_at_once,
        note,
        quietly,
    )

    with errors_explained(debug), quietly(quiet), interrupted_at_once():
        from timesformer_cli.export.convert import convert_model
        from timesformer_cli.export.run import ExportOptions, export_model, validate_export_options
        from timesformer_cli.inference.process_tuning import use_threads

        use_threads(threads)
        if to == ONNX:
            chosen = ExportOptions(model=model, output=output, version=__version__)
            validate_export_options(chosen)
            with claiming(chosen.target):
                EXPORTED[format](export_model(chosen, locate_shown(model), note), sys.stdout)
            return
        name = Path(model).name.replace("@", "-").replace(":", "-")
        folder = output or Path(f"{name}-{to}")
        if folder.is_file():
            raise UsageError(f"{folder}: is a file; --to {to} writes a folder")
        with claiming(folder):
            RENDERERS[format](convert_model(locate_shown(model), to, folder, note), sys.stdout)
