"""`tsf library`: what is in a library, and its upkeep."""

from typing import Annotated, Literal

import typer

from timesformer_cli.cli import options
from timesformer_cli.cli.search import LibraryFolder
from timesformer_cli.errors import ExitCode, UsageError

TOO_FEW = "too few vectors for an index: all are compared, which is quick enough"


def library(
    library: LibraryFolder,
    check: Annotated[
        bool, typer.Option("--check", help="Read every video again: is it there, and the same?")
    ] = False,
    forget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH", help="Remove a video, by its path in the library; may be repeated."
        ),
    ] = None,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact",
            help="Join small files, remove what is left of old ones, and index many vectors.",
        ),
    ] = False,
    format: Annotated[
        Literal["table", "json"], typer.Option(help="How to write what is in it.")
    ] = "table",
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Say what is in a library; check it, or remove from it.

    Example: tsf library library.lance
    """
    import sys

    from timesformer_cli.cli.progress import steps
    from timesformer_cli.cli.show.library import RENDERERS
    from timesformer_cli.cli.stderr import complain, errors_explained, note, quietly
    from timesformer_cli.library.fill import recheck
    from timesformer_cli.library.store import Library
    from timesformer_cli.library.summary import summary_of

    with errors_explained(debug), quietly(quiet):
        opened = Library.open(library)
        failed = False
        if forget:
            known = opened.files()
            if missing := [path for path in forget if path not in known]:
                raise UsageError(f"{missing[0]}: is not in {library}; paths are as they were given")
            note(f"{opened.forget(forget)} vectors removed")
        if check:
            with steps() as watch:
                gone, changed = recheck(opened, lambda done, total: watch(done, total, "reading"))
            for paths, what in ((gone, "cannot be read now"), (changed, "has other content now")):
                for path in paths:
                    complain(f"{path}: {what}")
            failed = bool(gone or changed)
        if compact:
            indexed = opened.compact()
            note(f"{indexed:,} vectors are indexed" if indexed else TOO_FEW)
        RENDERERS[format](summary_of(opened), sys.stdout)
    raise typer.Exit(ExitCode.SOME_FAILED if failed else ExitCode.OK)
