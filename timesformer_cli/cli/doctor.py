"""`tsf doctor`: what there is on this machine, whether it works, and what to do where not."""

from typing import Annotated, Literal

import typer

from timesformer_cli import __version__
from timesformer_cli.cli import options
from timesformer_cli.errors import ExitCode


def doctor(
    network: Annotated[
        bool, typer.Option("--network", help="Ask the Hugging Face hub, too.")
    ] = False,
    format: Annotated[
        Literal["table", "json"], typer.Option(help="How to write what was found.")
    ] = "table",
    debug: options.Debug = False,
) -> None:
    """Say what works on this machine, how fast it is, and what is missing.

    Example: tsf doctor
    """
    from timesformer_cli.cli.progress import steps
    from timesformer_cli.cli.show.doctor import RENDERERS
    from timesformer_cli.cli.stderr import errors_explained, interrupted_at_once
    from timesformer_cli.doctor import check_up

    with errors_explained(debug):
        with interrupted_at_once(), steps() as watch:  # it imports torch
            found = check_up(__version__, network=network, watch=watch)
        RENDERERS[format](found)
    raise typer.Exit(ExitCode.SOME_FAILED if found.broken else ExitCode.OK)
