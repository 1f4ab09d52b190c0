"""`tsf models`: the catalogue, as wide as there is room, and never without the licences."""

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from timesformer_cli.cli.app import app
from timesformer_cli.cli.show.weights import COLUMNS
from timesformer_cli.weights.catalogue import WEIGHTS
from timesformer_cli.weights.published import list_weights

LISTS = [["models"], ["download-weights", "--list"]]


def tsf(arguments, **environment):
    return CliRunner().invoke(app, arguments, env={"NO_COLOR": "1", **environment})


def headings(text: str) -> list[str]:
    return [word for word in text.splitlines()[0].split() if word]


@pytest.mark.parametrize("width", ["30", "60", "80", "100", "120", "200"])
@pytest.mark.parametrize("arguments", LISTS, ids=" ".join)
def test_the_list_uses_the_width_and_keeps_the_licences(arguments, width):
    ran = tsf(arguments, COLUMNS=width)
    assert ran.exit_code == 0, ran.stderr
    lines = [line.rstrip() for line in ran.stdout.splitlines()]
    assert {"name", "licence"} <= set(headings(ran.stdout))
    assert max(map(len, lines)) <= max(int(width), 36)
    for line, row in zip(lines[1:], WEIGHTS.values(), strict=True):
        assert line.split()[0] == row.name and row.licence in line
    missing = [column.heading for column in COLUMNS if column.heading not in headings(ran.stdout)]
    assert ("too narrow for" in ran.stderr) == bool(missing)
    assert all(heading in ran.stderr for heading in missing)


@pytest.mark.parametrize("arguments", LISTS, ids=" ".join)
def test_a_pipe_gets_every_column(arguments, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    found = headings(tsf(arguments).stdout)
    assert found == [column.heading for column in COLUMNS]


def test_eighty_characters_hold_what_decides():
    found = headings(tsf(["models"], COLUMNS="80").stdout)
    assert {"name", "recognises", "top-1", "licence", "cached"} <= set(found)


def test_two_hundred_characters_hold_all():
    ran = tsf(["models"], COLUMNS="200")
    assert headings(ran.stdout) == [column.heading for column in COLUMNS]
    (line,) = [line for line in ran.stdout.splitlines() if line.startswith("base-k400")]
    for told in ("Kinetics-400", " 400 ", "8 x 32", "224", "77.9", "195.8", "486", "CC-BY-NC-4.0"):
        assert told in line


@pytest.mark.parametrize("format", ["table", "json", "csv", "markdown"])
def test_the_two_lists_are_one(format):
    first, second = (tsf([*words, "--format", format]) for words in LISTS)
    assert first.exit_code == 0 and first.stdout == second.stdout


def test_json_and_csv_have_every_field_of_every_row():
    rows = json.loads(tsf(["models", "--format", "json"]).stdout)
    lines = list(csv.DictReader(io.StringIO(tsf(["models", "--format", "csv"]).stdout)))
    assert [row["name"] for row in rows] == [line["name"] for line in lines] == list(WEIGHTS)
    assert all(list(row) == list(line) for row, line in zip(rows, lines, strict=True))
    assert [line["licence"] for line in lines] == [row.licence for row in list_weights()]
