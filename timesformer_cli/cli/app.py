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
from timesformer_cli.cli.completion import complete_command
from timesformer_cli.cli.convert import convert
from timesformer_cli.cli.doctor import doctor
from timesformer_cli.cli.download import download_weights
from timesformer_cli.cli.embed import embed
from timesformer_cli.cli.evaluate import evaluate
from timesformer_cli.cli.explain import explain
from timesformer_cli.cli.export import export
from timesformer_cli.cli.group import CommandGroup
from timesformer_cli.cli.info import info
from timesformer_cli.cli.interrupt import leave_on_interrupt
from timesformer_cli.cli.library import library
from timesformer_cli.cli.merge import merge
from timesformer_cli.cli.models import models
from timesformer_cli.cli.schema import schema
from timesformer_cli.cli.search import search
from timesformer_cli.cli.serve import serve
from timesformer_cli.cli.streams import exit_code, prepare_streams, stdout_failure
from timesformer_cli.cli.suggest import suggest
from timesformer_cli.cli.timeline import timeline
from timesformer_cli.cli.train import train
from timesformer_cli.cli.watch import watch
from timesformer_cli.errors import ExitCode

app = typer.Typer(
    name="tsf",
    cls=CommandGroup,
    help="Video classification with TimeSformer.",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    classify,
    timeline,
    watch,
    serve,
    explain,
    embed,
    search,
    library,
    merge,
    models,
    info,
    train,
    suggest,
    evaluate,
    export,
    convert,
    benchmark,
    download_weights,
    doctor,
    schema,
):
    app.command()(command)


@app.command("version")
def print_version() -> None:
    """Print the version."""
    typer.echo(f"tsf {__version__}")


@app.command("help")
def print_help(
    context: typer.Context,
    command: Annotated[
        str, typer.Argument(help="The command to explain.", autocompletion=complete_command)
    ] = "",
) -> None:
    """Explain a command, as its --help does."""
    group = context.find_root()
    if not command:
        typer.echo(group.get_help())
        return
    assert isinstance(group.command, CommandGroup)
    _, known, _ = group.command.resolve_command(group, [command])
    with known.make_context(command, [], parent=group, resilient_parsing=True) as explained:
        typer.echo(explained.get_help())


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
        print_version()
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
    """Say what videos show."""
    # torch makes a million objects that are never freed. Looking for garbage among them while torch
    # is imported takes a sixth of a second.
    gc.set_threshold(100_000, 50, 1000)
