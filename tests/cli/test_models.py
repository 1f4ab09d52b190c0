"""`tsf models`: the catalogue, as wide as there is room, and never without the licences."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from timesformer_cli.benchmark import rate as kept_rate
from timesformer_cli.cli.app import app
from timesformer_cli.cli.show.weights import COLUMNS
from timesformer_cli.cost.rate import HALF_RATE_WIDTH, MachineRate
from timesformer_cli.weights.advice import LAPTOP, advised, sentences
from timesformer_cli.weights.catalogue import WEIGHTS
from timesformer_cli.weights.published import list_weights

RATE = MachineRate(device="cpu", title="a test's", dtype="float32", gflops=1000.0, measured="today")
MEASURE = kept_rate._measured
LISTS = [["models"], ["download-weights", "--list"]]


@pytest.fixture(autouse=True)
def _measured(monkeypatch):
    """Nothing is measured but where a test does so: another program may take the processor."""
    monkeypatch.setattr(kept_rate, "_measured", lambda: RATE)


def tsf(arguments, **environment):
    return CliRunner().invoke(app, arguments, env={"NO_COLOR": "1", **environment})


def headings(text: str) -> list[str]:
    return re.split(r"\s{2,}", text.splitlines()[0].strip())


@pytest.mark.parametrize("width", ["30", "60", "80", "100", "120", "200"])
@pytest.mark.parametrize("arguments", LISTS, ids=" ".join)
def test_the_list_uses_the_width_and_keeps_the_licences(arguments, width):
    ran = tsf(arguments, COLUMNS=width)
    assert ran.exit_code == 0, ran.stderr
    lines = [line.rstrip() for line in ran.stdout.splitlines()]
    assert {"name", "licence"} <= set(headings(ran.stdout))
    listed = lines[: lines.index("")]  # below it are the sentences
    assert max(map(len, listed)) <= max(int(width), 44)
    for line, row in zip(listed[1:], WEIGHTS.values(), strict=True):
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
    assert {"name", "recognises", "a clip", "top-1", "licence"} <= set(found)


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
    assert all(list(row)[1:] == list(line) for row, line in zip(rows, lines, strict=True))
    assert [line["licence"] for line in lines] == [row.licence for row in list_weights()]


def test_a_clip_takes_its_work_at_what_models_reach_of_the_rate():
    rows = {row.name: row for row in list_weights(rate=RATE)}
    for row in rows.values():
        width = 128 if row.name == "camera-motion" else WEIGHTS[row.name].config.dim
        reached = width / (width + HALF_RATE_WIDTH[RATE.dtype])
        assert row.seconds == pytest.approx(2 * row.gmacs / (reached * RATE.gflops), rel=0.1)
        assert row.memory_bytes > row.bytes and row.rate == RATE
    half = {row.name: row for row in list_weights(rate=replace(RATE, dtype="bfloat16"))}
    for name, row in rows.items():
        # Capped scores of attention are float32 in every dtype.
        most = 0.8 if row.attention == "videoprism" else 0.6
        assert 0.4 < half[name].memory_bytes / row.memory_bytes < most
    assert all(row.seconds is None and row.rate is None for row in list_weights())


def test_the_front_is_what_no_other_of_its_data_and_views_beats():
    rows = list_weights()
    for row in rows:
        if row.top1 is None or row.views is None:
            assert row.front is None
            continue
        alike = [each for each in rows if (each.data, each.views) == (row.data, row.views)]
        beaten = any(
            each.gmacs <= row.gmacs
            and (each.top1 or 0) >= row.top1
            and (each.gmacs, each.top1) != (row.gmacs, row.top1)
            for each in alike
        )
        assert row.front == (not beaten), row.name
    front = {row.name for row in rows if row.front}
    assert {"videomae-small-k400", "videomae-large-k400", "base-k400"} <= front
    assert "mmaction2-divided-k400" not in front  # base-k400 is the same network, and better


def test_each_kind_of_user_has_one_model_read_off_the_list():
    rows = list_weights(rate=RATE)
    by_need = {need: row for row in rows for need in row.best_for}
    assert len(by_need) == sum(len(row.best_for) for row in rows) >= 7
    laptop = by_need["actions, laptop without GPU"]
    others = [row for row in rows if row.data == "Kinetics-400" and row.gmacs <= LAPTOP]
    assert laptop.top1 == max(row.top1 for row in others)
    assert "-NC-" not in by_need["motion, commercial use"].licence
    said = sentences(rows)
    assert len(said) == len(by_need)
    for line in said:
        who, _, rest = line.partition(": ")
        assert rest.startswith(f"{by_need[who].name} (") and "takes" in rest
    changed = [replace(row, top1=99.0) if row.name == "vivit-k400" else row for row in rows]
    best = {need: row.name for row in advised(changed) for need in row.best_for}
    assert best["actions, most often right"] == "vivit-k400"
    none = advised([row for row in rows if row.classes])
    assert not any("classes of your own" in need for row in none for need in row.best_for)


def test_the_rate_is_measured_once_and_kept_for_this_machine(tmp_path, monkeypatch):
    measured: list[int] = []

    def measure():
        measured.append(1)
        return RATE

    monkeypatch.setattr(kept_rate, "_measured", measure)
    assert kept_rate.machine_rate(tmp_path) == kept_rate.machine_rate(tmp_path) == RATE
    assert len(measured) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # another number of threads is another machine
    assert kept_rate.machine_rate(tmp_path) == RATE and len(measured) == 2
    (tmp_path / kept_rate.NAME).write_text('{"machine": 3')
    assert kept_rate.machine_rate(tmp_path) == RATE and len(measured) == 3
    file = tmp_path / "file"
    file.write_text("")
    assert kept_rate.machine_rate(file) == RATE  # no folder: nothing is kept, nothing fails


def test_a_rate_of_a_busy_machine_is_said_to_be_one_and_measured_again(tmp_path, monkeypatch):
    rates = iter([replace(RATE, busy=0.6), replace(RATE, busy=0.01)])
    monkeypatch.setattr(kept_rate, "_measured", lambda: next(rates))
    words = ["models", "--cache-dir", str(tmp_path)]
    assert "while other programs took 60 % of the processors" in tsf(words, COLUMNS="80").stderr
    assert "while other programs" not in tsf(words, COLUMNS="80").stderr
    assert kept_rate.machine_rate(tmp_path).busy == 0.01


def test_sentences_fit_eighty_characters():
    assert max(map(len, sentences(list_weights(rate=RATE)))) <= 80


def test_where_torch_cannot_be_used_there_are_no_times(tmp_path, monkeypatch):
    def broken():
        raise ImportError("no torch")

    monkeypatch.setattr(kept_rate, "_measured", broken)
    ran = tsf(["models", "--cache-dir", str(tmp_path)], COLUMNS="200")
    assert ran.exit_code == 0 and "no time, since torch cannot be used here" in ran.stderr


def test_the_rate_comes_from_a_matrix_product_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_rate, "_measured", MEASURE)
    monkeypatch.setattr(kept_rate, "BUSY", 2.0)
    monkeypatch.setattr("timesformer_cli.benchmark.machine.PRODUCT", {"cpu": 64})
    monkeypatch.setattr("timesformer_cli.benchmark.machine.PRODUCT_SECONDS", 0.01)
    rows = json.loads(tsf(["models", "--format", "json", "--cache-dir", str(tmp_path)]).stdout)
    assert rows[0]["rate"]["gflops"] > 0 and rows[0]["seconds"] > 0
    kept = json.loads((tmp_path / kept_rate.NAME).read_text())["rate"]
    assert all(row["rate"] == kept for row in rows)
    ran = tsf(["models", "--cache-dir", str(tmp_path)], COLUMNS="80")
    assert f"measured {kept['measured']}" in " ".join(ran.stderr.split())
