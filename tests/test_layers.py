"""Layers only look down: who may import whom, read off the source."""

import ast
from collections.abc import Iterable, Mapping
from itertools import takewhile
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "timesformer_cli"
# A room imports from rooms before its own line and from itself, never from one of its own line.
LEVELS = [
    "errors callbacks grouping schemes typed sizes text_config config files children installing "
    "json_text parquet results",
    "cost",
    "model video",
    "weights",
    "dataset",
    "inference",
    "timelines explain pages",
    "library",
    "training evaluation benchmark export scale",
    "doctor",
    "schema keywords",
    "serving",
    "api",
    "cli",
    "__init__ __main__",
]
# The definitions at the bottom know one another, in one direction.
DEFINITIONS = LEVELS[0].split()
# The version stands in the package's own file, which imports nothing until it is asked to.
VERSION = {"cli": {"__init__"}, "__main__": {"cli"}, "__init__": {"api"}}
FILES = {path.relative_to(PACKAGE): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(file: Path) -> str:
    """The first folder of a file in the package, or the file's own name."""
    return file.parts[0].removesuffix(".py")


def below(room: str) -> set[str]:
    """The rooms that one may import from, itself among them."""
    lower = takewhile(lambda line: room not in line.split(), LEVELS)
    allowed = {name for line in lower for name in line.split()} | VERSION.get(room, set()) | {room}
    return allowed | set(DEFINITIONS if room in DEFINITIONS else ())


def imports(tree: ast.AST, *, typing: bool) -> Iterable[str]:
    """Modules and names imported anywhere; `typing` says whether those for types alone count."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not typing:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imports(node, typing=typing)


def imported_files(source: str, *, typing: bool) -> set[Path]:
    """The package's files that a source imports, also inside functions."""
    found = set()
    for name in imports(ast.parse(source), typing=typing):
        first, *parts = name.split(".")
        while first == "timesformer_cli":
            known = (
                Path(*parts).with_suffix(".py") if parts else None,
                Path(*parts, "__init__.py"),
            )
            if here := [file for file in known if file in FILES]:
                found.add(here[0])
                break
            parts.pop()
    return found


def faults(file: Path, source: str) -> set[str]:
    """Rooms that a file of that source must not import from."""
    rooms = {room_of(other) for other in imported_files(source, typing=True)}
    return rooms - below(room_of(file))


def circles(graph: Mapping[Path, set[Path]]) -> set[Path]:
    """Files that reach themselves."""

    def reached(start: Path) -> set[Path]:
        seen: set[Path] = set()
        waiting = [start]
        while waiting:
            for other in graph.get(waiting.pop(), set()) - seen:
                seen.add(other)
                waiting.append(other)
        return seen

    return {file for file in graph if file in reached(file)}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_imports_only_what_lies_below_it(file):
    assert not faults(file, FILES[file].read_text())


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("video/probe.py", "from timesformer_cli.inference import device"),
        ("cost/work.py", "def late():\n    from timesformer_cli.cli.app import main"),
        ("model/block.py", "from timesformer_cli.video import facts"),
        ("errors.py", "import timesformer_cli.cost.work"),
    ],
)
def test_an_import_upwards_or_beside_is_a_fault(file, line):
    assert faults(Path(file), line)


def test_no_file_imports_itself_by_a_detour():
    graph = {
        file: imported_files(path.read_text(), typing=False) - {file}
        for file, path in FILES.items()
        if path.name != "__init__.py"
    }
    assert not circles(graph)
    one, other, third = map(Path, "abc")
    assert circles({one: {other}, other: {third}, third: {one}}) == {one, other, third}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_only_the_table_knows_schemes_by_name(file):
    if file.name in (
        "schemes.py",
        "config.py",
        "layout.py",
        "layout_tables.py",
        "infer_config.py",
        "catalogue.py",
    ):
        pytest.skip("it defines them, names the default, or says what others call them")
    text = FILES[file].read_text()
    assert not [name for name in ("divided", "sparse", "axial") if f'"{name}"' in text]


def test_only_the_command_line_prints():
    for file, path in FILES.items():
        if room_of(file) != "cli":
            calls = [
                node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
            ]
            assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]


def test_one_file_alone_puts_files_in_place():
    """`Path.replace` takes one argument and `str.replace` two; `os.replace` and `rename` are it."""
    for file, path in FILES.items():
        calls = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        ]
        moved = [
            call
            for call in calls
            if isinstance(call.func, ast.Attribute)
            and (call.func.attr == "rename" or (call.func.attr, len(call.args)) == ("replace", 1))
        ]
        assert not moved or file == Path("files.py"), file
