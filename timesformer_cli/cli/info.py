"""`tsf info`: what a model is, what is done to a clip for it, and where each of that came from."""

from typing import Annotated, Literal

import typer

from timesformer_cli.cli import options
from timesformer_cli.cli.completion import complete_model


def info(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A name, a folder, a checkpoint file, an exported file, or a hub id.",
            autocompletion=complete_model,
            show_default=False,
        ),
    ],
    labels: Annotated[
        bool, typer.Option("--labels", help="Print all labels, one per line, and nothing else.")
    ] = False,
    format: Annotated[
        Literal["table", "json"], typer.Option(help="How to write what is known.")
    ] = "table",
    debug: options.Debug = False,
) -> None:
    """Say what a model is and what is done to a clip for it; fetches nothing.

    Example: tsf info camera-motion
    """
    from timesformer_cli.cli.show.info import RENDERERS, show_labels
    from timesformer_cli.cli.stderr import errors_explained, interrupted_at_once

    with errors_explained(debug):
        with interrupted_at_once():  # it imports torch
            from timesformer_cli.inference.gather_facts import gather_facts
        facts = gather_facts(model)
        if labels:
            show_labels(facts)
        else:
            RENDERERS[format](facts)
