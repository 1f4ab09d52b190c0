"""Layers only look down: who may import whom, read off the source."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "timesformer_cli"
LEVELS = {
    "child": 0,
    "errors": 0,
    "grouping": 0,
    "schemes": 0,
    "config": 0,
    "cost": 0,
    "catalogue": 0,
    "wire": 0,
    "model": 1,
    "weights": 1,
    "video": 1,
    "inference": 2,
    "training": 2,
    "tasks": 3,
    "api": 4,
    "cli": 4,
    "__init__": 5,
    "__main__": 5,
}
FILES = sorted(PACKAGE.rglob("*.py"))


def _part(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """The parts of the package that a file imports, anywhere in it."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names += [f"{module}.{alias.name}" for alias in node.names]
    parts = [name.split(".") for name in names if name.startswith("timesformer_cli.")]
    return {part[1] if part[1] in LEVELS else "__init__" for part in parts}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_lies_below_it(path):
    part = _part(path)
    below = LEVELS[part] or 1  # the definitions at the bottom know one another, in one direction
    allowed = {name for name, level in LEVELS.items() if level < below} | {part}
    if part == "cli":
        allowed.add("__init__")  # the version
    assert _imports(path) <= allowed


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_table_knows_schemes_by_name(path):
    if path.name in ("schemes.py", "config.py", "names.py", "inferring.py", "catalogue.py"):
        pytest.skip("it defines them, names the default, or says what others call them")
    text = path.read_text()
    assert not [name for name in ("divided", "sparse", "axial") if f'"{name}"' in text]


def test_only_the_command_line_prints():
    for path in FILES:
        if _part(path) != "cli":
            calls = [
                node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
            ]
            assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
