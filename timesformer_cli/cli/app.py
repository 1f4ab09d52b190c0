"""The `tsf` app, put together from one file per command."""

import atexit
import gc
import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

from timesformer_cli import __version__
from timesformer_cli.cli.benchmark import benchmark
from timesformer_cli.cli.classify import classify
from timesformer_cli.cli.download import download_weights
from timesformer_cli.cli.evaluate import evaluate
from timesformer_cli.cli.export import export
from timesformer_cli.cli.train import train
from timesformer_cli.errors import ExitCode

app = typer.Typer(
    name="tsf",
    help="Video classification with TimeSformer.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(classify)
app.command()(benchmark)
app.command()(train)
app.command()(download_weights)
app.command()(evaluate)
app.command()(export)


def main() -> None:
    """The command `tsf`."""
    code: object = ExitCode.SOME_FAILED

    def leave() -> None:
        """End at once: letting Python take torch down would cost half a second more."""
        # If flushing fails (a full disk), Python's own exit goes on and reports it.
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else code is not None)

    atexit.register(leave)
    try:
        app(prog_name="tsf")
    except SystemExit as end:
        code = end.code
        raise


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tsf {__version__}")
        raise typer.Exit


@app.callback()
def tsf(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Video classification with TimeSformer."""
    # torch makes a million objects that are never freed. Looking for garbage among them while torch
    # is imported takes a sixth of a second.
    gc.set_threshold(100_000, 50, 1000)
