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
from timesformer_cli.cli.doctor import doctor
from timesformer_cli.cli.download import download_weights
from timesformer_cli.cli.evaluate import evaluate
from timesformer_cli.cli.export import export
from timesformer_cli.cli.info import info
from timesformer_cli.cli.interrupt import leave_on_interrupt
from timesformer_cli.cli.models import models
from timesformer_cli.cli.streams import exit_code, prepare_streams, stdout_failure
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
app.command()(models)
app.command()(info)
app.command()(doctor)
app.command()(benchmark)
app.command()(train)
app.command()(download_weights)
app.command()(evaluate)
app.command()(export)


def main() -> None:
    """The command `tsf`."""
    code: int = ExitCode.SOME_FAILED

    def leave() -> None:
        """End at once: letting Python take torch down would cost half a second more."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)

    leave_on_interrupt()
    prepare_streams()
    atexit.register(leave)
    try:
        app(prog_name="tsf")
    except SystemExit as end:
        code = exit_code(end.code)
        raise
    except OSError as error:  # of the help, which no command explains
        if error is not stdout_failure():
            raise
        code = exit_code(ExitCode.SOME_FAILED)


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
