"""Bring the generated parts of docs/api.md up to date: `python -m scripts.docs.api_page`."""

import re
from pathlib import Path

from timesformer_cli.cli.formats import markdown_table
from timesformer_cli.errors import ErrorKind
from timesformer_cli.schema import RESULTS

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def error_table() -> str:
    """All kinds of errors."""
    rows = [(f"`{kind}`", kind.meaning, kind.advice) for kind in ErrorKind]
    return markdown_table(("kind", "what it means", "what to do"), rows)


def result_table() -> str:
    """All results that have a schema."""
    rows = [(f"`tsf schema {name}`", what) for name, (what, _) in RESULTS.items()]
    return markdown_table(("command", "describes"), rows)


PARTS = {"errors": error_table, "results": result_table}


def page() -> str:
    """The page, its generated parts made anew."""
    text = PAGE.read_text(encoding="utf-8")
    return PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n{part[3]}", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
