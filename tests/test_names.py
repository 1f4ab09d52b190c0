"""One word for one thing: no two public classes or functions of the package share a name."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "timesformer_cli"
# The same thing by design, in each of several places.
SHARED = {
    "as_table": "each answer as a table: a row in that answer's table of renderers",
    "as_json": "likewise, as JSON",
    "as_jsonl": "likewise, as JSON lines",
    "as_csv": "likewise, as CSV",
    "as_parquet": "likewise, as Parquet",
    "as_markdown": "likewise, as Markdown",
    "as_m3u": "likewise, as a list for players",
    "as_html": "likewise, as a page",
    "main": "where a process starts: the command's, and each kind of child's",
    "classify": "the command and the Python function are one verb",
    "timeline": "the command and the Python function are one verb",
    "load_model": "the Python function, its overloads, and the step that it is a face of",
    "download_weights": "the command and what it calls are one verb",
}


def public_names() -> dict[str, list[str]]:
    """Files by the classes and functions that they define at the top."""
    places = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(PACKAGE)))
    return places


def test_a_public_name_stands_for_one_thing():
    twice = {name for name, places in public_names().items() if len(places) > 1}
    assert twice == set(SHARED)


def test_no_docstring_is_left_to_be_written():
    for path in PACKAGE.rglob("*.py"):
        assert "TODO" not in path.read_text(), path
