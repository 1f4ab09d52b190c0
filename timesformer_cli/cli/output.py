"""Where an answer goes: stdout, or a file that appears whole or not at all."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from timesformer_cli.cli.report import terminated_in_order
from timesformer_cli.errors import UsageError
from timesformer_cli.files import replacing


@contextmanager
def writing(output: Path | None) -> Iterator[TextIO]:
    """The stream to write the answer to; raises UsageError where no file can be written."""
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    try:
        with (
            terminated_in_order(),
            replacing(output) as part,
            part.open("w", encoding="utf-8", newline="") as stream,
        ):
            yield stream
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({error.strerror})") from error
