"""`tsf models`: what the published models recognise, what they cost, and their licences."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from timesformer_cli.cli import options

ListFormat = Annotated[
    Literal["table", "json", "csv", "markdown"], typer.Option(help="How to write the list.")
]


def models(
    cache_dir: Annotated[
        Path | None,
        typer.Option(help="Where weights are kept.", show_default="the hub's cache and tsf's own"),
    ] = None,
    format: ListFormat = "table",
    debug: options.Debug = False,
) -> None:
    """List the models: what they recognise, what they cost here, their licences, and which for whom.

    Example: tsf models
    """
    from timesformer_cli.cli.progress import rate_shown
    from timesformer_cli.cli.show.weights import show_list
    from timesformer_cli.cli.stderr import errors_explained
    from timesformer_cli.weights.published import list_weights

    with errors_explained(debug):
        show_list(list_weights(cache_dir, rate_shown(cache_dir, format)), format)
