"""What the README shows is what the commands print."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from timesformer_cli.cli.app import app
from timesformer_cli.errors import ExitCode

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks() -> dict[str, list[str]]:
    """Console blocks that show output: the last command and the lines below it."""
    blocks = {}
    for text in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        *_, (command, output) = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)
        if output.strip():
            blocks[command.split("  #")[0].strip()] = output.splitlines()
    return blocks


@pytest.mark.parametrize("command", [c for c in _blocks() if c.startswith("tsf classify")])
def test_a_classification_shown_is_what_the_command_finds(command, monkeypatch):
    """Labels exactly, scores to within what the processor's arithmetic may differ by."""
    monkeypatch.chdir(ROOT)
    ran = CliRunner().invoke(app, command.split()[1:])
    assert ran.exit_code == 0, ran.stderr
    row = re.compile(r"^(.*?)\s{2,}(.*?)\s+([\d.]+) %")
    shown, found = (
        [row.match(line) for line in lines]
        for lines in (_blocks()[command], ran.stdout.splitlines())
    )
    assert [m and m[1] for m in shown] == [m and m[1] for m in found]
    for mine, theirs in zip(shown[1:], found[1:], strict=True):
        assert float(mine[3]) == pytest.approx(float(theirs[3]), abs=2)
        if float(mine[3]) > 55:  # below, two motions in sequence may change places
            assert mine[2] == theirs[2]


def test_the_table_of_models_is_the_catalogue():
    ran = CliRunner().invoke(app, ["download-weights", "--list", "--format", "markdown"])
    assert ran.stdout in README


def test_the_exit_codes_are_all_of_them():
    section = README.split("### Exit codes")[1].split("\n#")[0]
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    assert codes == {code.value for code in ExitCode}


def test_every_option_named_exists():
    helps = [
        CliRunner().invoke(app, ["help", command], env={"COLUMNS": "200"}).stdout
        for command in (
            "",
            "classify",
            "models",
            "info",
            "train",
            "evaluate",
            "export",
            "benchmark",
            "download-weights",
            "doctor",
        )
    ]
    named = set(re.findall(r"`(--[a-z-]+)", README)) - {"--help"}
    assert named
    assert not [option for option in named if not any(option in text for text in helps)]


def test_every_file_linked_to_exists():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
