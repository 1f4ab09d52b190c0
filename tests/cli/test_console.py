"""What is printed as a name is the name: Rich has no say in it."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from timesformer_cli.cli.app import app

CLI = Path(__file__).parents[2] / "timesformer_cli" / "cli"
NAMES = [":cat:.mp4", "[red]x.mp4", "a:smile:b.mp4", "[b]y[b].mp4"]


@pytest.mark.parametrize("name", NAMES)
def test_names_stand_in_tables_and_remarks_as_they_are(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("not a video")
    words = ["classify", name, f"missing {name}", "--model", "camera-motion"]
    run = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert run.exit_code == 1
    assert re.search(rf"^{re.escape(name)} ", run.stdout, re.MULTILINE)
    assert f"missing {name}" in run.stdout
    wrong = CliRunner().invoke(app, ["info", f"missing {name}"], env={"COLUMNS": "200"})
    assert wrong.exit_code == 3 and f"missing {name}" in wrong.stderr


def test_there_is_one_way_to_a_console():
    makers = [
        file.name for file in CLI.rglob("*.py") if re.search(r"\bConsole\(", file.read_text())
    ]
    assert makers == ["console.py"]
