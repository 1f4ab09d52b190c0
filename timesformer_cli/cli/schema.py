"""`tsf schema`: the JSON Schema of what the commands print."""

from typing import Annotated

import typer

from timesformer_cli.cli import options


def schema(
    result: Annotated[
        str | None,
        typer.Argument(
            metavar="RESULT",
            help="A command, or another result that the answer without it names.",
            show_default="all of them",
        ),
    ] = None,
    debug: options.Debug = False,
) -> None:
    """Print the JSON Schema of a result.

    It is that of one line of --format jsonl, and of an item of json.

    Example: tsf schema classify
    """
    from timesformer_cli.cli.stderr import errors_explained
    from timesformer_cli.json_text import dumps
    from timesformer_cli.schema import schema_document

    with errors_explained(debug):
        typer.echo(dumps(schema_document(result), indent=2))
