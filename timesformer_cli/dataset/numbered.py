"""Lists without headings: lines of a path and a class number."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from timesformer_cli.dataset.headings import LABEL, PATH
from timesformer_cli.dataset.table_row import TableRow
from timesformer_cli.errors import UsageError

# A path, perhaps in quotes, and a class number, which Excel may write 3.0.
NUMBERED = re.compile(r"""("(?:[^"]|"")+"|.+?)[\s,;|]+"?(\d+)(?:\.0*)?"?""")
MORE = re.compile(r"(.+?)[\s,;|]+(.+)")  # a path with something behind it, such as a length


def numbered_rows(
    source: Path, lines: Sequence[str], labels: tuple[str, ...] | None
) -> Iterator[TableRow]:
    """Rows of lines with a path and a class number, parted by a space, tab, comma, `;` or `|`."""
    above = True  # whether this may have been meant for a heading
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{source}:{number}"
        parts = NUMBERED.fullmatch(line.strip())
        if parts is None:
            raise UsageError(_unnumbered(where, line.strip(), above))
        above, path, label = False, parts[1], parts[2]
        if path.startswith('"') and not (source.parent / path).exists():
            if path == '"' or not path.endswith('"'):
                raise UsageError(f"{where}: a quote that is not closed")
            path = path[1:-1].replace('""', '"')
        elif (
            (more := MORE.fullmatch(path))
            and (source.parent / more[1]).is_file()
            and not (source.parent / path).exists()
        ):
            raise UsageError(
                f"{where}: '{more[2]}' stands between the path and the class number; take it out"
            )
        if labels is not None:
            if int(label) >= len(labels):
                raise UsageError(f"{where}: class {label} of {len(labels)} (from 0)")
            label = labels[int(label)]
        yield TableRow(where=where, path=path, label=label)


def _unnumbered(where: str, line: str, above: bool) -> str:
    if not above:
        return f"{where}: '{line}' is not a path and a class number (0, 1, ...), as the lines above"
    return (
        f"{where}: neither a heading with known columns nor a path and a class number: '{line}'; "
        f"give it a heading, path,label (or one of {', '.join([*PATH[1:], *LABEL[1:]])})"
    )
