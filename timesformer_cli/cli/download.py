"""`tsf download-weights`: list, fetch, verify and convert published weights."""

from pathlib import Path
from typing import Annotated

import typer

from timesformer_cli.cli import options
from timesformer_cli.cli.completion import complete_name
from timesformer_cli.cli.models import ListFormat
from timesformer_cli.errors import ExitCode, UsageError


def download_weights(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Names from the list, or hub ids.",
            autocompletion=complete_name,
            show_default=False,
        ),
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="List the published weights, as tsf models does.")
    ] = False,
    all_: Annotated[bool, typer.Option("--all", help="Fetch all that can be downloaded.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash the cached files again and remove wrong ones.")
    ] = False,
    from_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Convert your own checkpoint file; NAME says what it is."
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit on the hub.", show_default="pinned")
    ] = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option(help="Where to keep weights.", show_default="the hub's cache and tsf's own"),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Use no network; say what is missing.")
    ] = False,
    format: ListFormat = "table",
    debug: options.Debug = False,
) -> None:
    """Fetch published weights, once and safely.

    Example: tsf download-weights base-k400
    """
    from timesformer_cli.cli.progress import rate_shown, transfer
    from timesformer_cli.cli.show import weights as show
    from timesformer_cli.cli.stderr import errors_explained, note, terminated_in_order
    from timesformer_cli.weights import published

    names = names or []
    with errors_explained(debug):
        if list_ or not (names or all_ or verify or from_file):
            rate = rate_shown(cache_dir, format)
            show.show_list(published.list_weights(cache_dir, rate), format)
            raise typer.Exit
        if from_file is not None:
            if len(names) > 1 or all_ or verify:
                raise UsageError("--from-file takes one file and at most one NAME")
            name = names[0] if names else None
            with terminated_in_order():
                ready = published.convert_checkpoint(from_file, name, cache_dir, note)
            show.show_ready(ready)
            raise typer.Exit
        chosen = list(dict.fromkeys(names + (published.downloadable() if all_ else [])))
        if verify:
            chosen = chosen or published.cached_names(cache_dir)
            failed = show.show_checked(published.verify_weights(chosen, cache_dir))
        else:
            with transfer() as progress:
                fetched = published.download_weights(
                    chosen,
                    revision=revision,
                    cache_dir=cache_dir,
                    offline=offline,
                    progress=progress,
                )
                failed = show.show_fetched(fetched)
    raise typer.Exit(ExitCode.WEIGHTS if failed else ExitCode.OK)
