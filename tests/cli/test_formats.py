"""What the formats share: JSON for any file name, CSV without formulas, files whole or not at all."""

import csv
import io
import json
import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from rich.console import Console

from timesformer_cli.benchmark.run_models import ModelRow
from timesformer_cli.benchmark.run_schemes import BenchmarkReport
from timesformer_cli.cli import formats, stderr
from timesformer_cli.cli.draw.style import save_figure
from timesformer_cli.cli.show import classify as show_classify
from timesformer_cli.errors import ErrorKind, UsageError
from timesformer_cli.export.proof import Proof
from timesformer_cli.export.run import Exported
from timesformer_cli.inference.classified import Classified, Failed, Fault, Seconds
from timesformer_cli.inference.label_choice import Prediction

STRAY = os.fsdecode(b"caf\xe9")  # a name in Latin-1, as old disks have them
PROOF = Proof(
    runtime="torch",
    difference=0.0,
    agreement=1.0,
    clips=5,
    real=3,
    batches=(1,),
    timed=1,
    milliseconds=1.0,
    eager_milliseconds=1.0,
)
EXPORTED = Exported(
    files=("model.pt2",),
    kind="pt2",
    model="model",
    revision="sha256:0",
    dtype="float32",
    opset=None,
    input="pixels",
    shape=(None, 8, 3, 64, 64),
    bytes=1,
    weight_bytes=1,
    tolerance=1e-4,
    proof=PROOF,
)
MODEL_ROW = ModelRow(
    model="model",
    runtime="torch",
    device="cpu",
    dtype="float32",
    bytes=None,
    clip=(8, 64, 64),
    batch_size=1,
    median=1.0,
    p10=1.0,
    p90=1.0,
    runs=1,
    share=1.0,
)


def test_json_of_any_name_can_be_written_as_utf8_and_read_back():
    for name in ("plain", "café", STRAY):
        text = formats.dumps({"name": name})
        assert json.loads(text.encode()) == {"name": name}
    assert "é" in formats.dumps("café")  # escaped only where it must be


@pytest.mark.parametrize("answer", ["export", "benchmark_models", "benchmark"])
def test_every_answer_can_name_a_file_whose_name_is_no_utf8(answer):
    show = import_module(f"timesformer_cli.cli.show.{answer}")
    if answer == "export":
        stream = io.StringIO()
        show.RENDERERS["json"](replace(EXPORTED, files=(STRAY,), model=STRAY), stream)
        told = json.loads(stream.getvalue().encode())
        assert (told["files"], told["model"]) == ([STRAY], STRAY)
        return
    stream = io.StringIO()
    if answer == "benchmark":
        report = BenchmarkReport(
            protocol={"device_name": STRAY}, rows=(), details=(), crossovers=()
        )
        show.RENDERERS["json"](report, stream)
        assert json.loads(stream.getvalue().encode())["protocol"]["device_name"] == STRAY
        return
    show.RENDERERS["json"]([replace(MODEL_ROW, model=STRAY)], stream)
    assert json.loads(stream.getvalue().encode())[0]["model"] == STRAY
    stream = io.StringIO()
    show.RENDERERS["csv"]([replace(MODEL_ROW, model=STRAY)], stream)
    assert "caf\\xe9" in stream.getvalue().encode().decode()


# Control characters (C0, DEL, C1), ends of lines, and marks of writing direction.
STEERING = (
    "\x00\x07\x1b\n\r\t\x7f\x80\x85\x9b\x9f\u061c\u200e\u200f\u2028\u2029"
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def steers(text: str) -> list[str]:
    """The characters in it that a terminal would obey; JSON's own ends of lines are none."""
    return [char for char in STEERING if char != "\n" and char in text]


@pytest.mark.parametrize("char", STEERING, ids=lambda char: f"{ord(char):04x}")
def test_what_steers_a_terminal_is_escaped_everywhere(char):
    name = f"a{char}b"
    for indent in (None, 2):
        text = formats.dumps({"name": name, name: [name]}, indent)
        assert not steers(text) and json.loads(text) == {"name": name, name: [name]}
    assert "\n" not in formats.dumps(name)
    assert not steers(stderr.printable(name)) and "\n" not in stderr.printable(name)
    cell = formats.csv_cell(name)
    assert cell == f"a{char.encode('unicode_escape').decode()}b"
    assert name not in formats.markdown_table(["name"], [[name]])


def test_a_cell_that_began_like_a_formula_is_marked_though_its_beginning_is_escaped():
    assert formats.csv_cell("\t=1") == "'\\t=1"


def test_letters_of_any_language_stay_as_they_are():
    for name in ("走る", "جري", "café", "a😀b", "a b"):
        assert json.loads(formats.dumps(name)) == name and name in formats.dumps(name)
        assert formats.csv_cell(name) == name
        assert stderr.printable(name) == name


@pytest.mark.parametrize("format", ["table", "json", "jsonl", "csv"])
def test_labels_and_paths_that_steer_are_escaped_in_answers(format):
    result = Classified(
        video=f"v{STEERING}.mp4",
        status="ok",
        predictions=(Prediction(f"l{STEERING}", 0, 1.0),),
        model=f"m{STEERING}",
        device="cpu",
        dtype="float32",
        decoder="av",
        views=(),
        seconds=Seconds(0.0, 0.0),
    )
    failed = Failed(f"v{STEERING}.mp4", "error", Fault(ErrorKind.NOT_FOUND, f"w{STEERING}"))
    stream = io.StringIO()
    show_classify.RENDERERS[format]([result, failed], stream, [result.video, failed.video])
    assert not steers(stream.getvalue())
    if format in ("json", "jsonl"):
        text = stream.getvalue()
        told = json.loads(text) if format == "json" else list(map(json.loads, text.splitlines()))
        assert (
            told[0]["video"] == result.video and told[0]["predictions"][0]["label"][1:] == STEERING
        )


def test_a_cell_is_no_formula():
    stream = io.StringIO()
    formats.write_csv([{"a": "=1+1", "b": -1.5}, {"a": "@x"}], ["a", "b"], stream)
    rows = list(csv.reader(io.StringIO(stream.getvalue())))
    assert rows == [["a", "b"], ["'=1+1", "-1.5"], ["'@x", ""]]


@pytest.mark.parametrize(
    ("asked", "file", "chosen"),
    [
        (None, None, "table"),
        (None, "a.json", "json"),
        (None, "a.JSON", "json"),
        (None, "a.txt", "table"),
        (None, "a", "table"),
        ("csv", "a.csv", "csv"),
        ("csv", "a.txt", "csv"),
        ("json", "a", "json"),
        ("json", "a.feather", "json"),
    ],
)
def test_the_suffix_chooses_among_the_formats_there_are(asked, file, chosen):
    there = dict.fromkeys(("table", "json", "csv"))
    assert formats.choose_format(asked, Path(file) if file else None, there) == chosen


@pytest.mark.parametrize("file", ["a.feather", "a.md", "a.xlsx", "a.tar.gz", "a.2024"])
def test_a_suffix_without_a_format_is_refused(file):
    there = dict.fromkeys(("table", "json", "csv"))
    with pytest.raises(UsageError) as refused:
        formats.choose_format(None, Path(file), there)
    said = str(refused.value)
    assert said.startswith(f"{file}: no format goes by {Path(file).suffix} here")
    assert ".json (json), .csv (csv) and .txt (table)" in said
    assert "--format table | json | csv" in said and ".md" not in said.partition("here")[2]


@pytest.mark.parametrize(
    ("asked", "file"), [("json", "a.csv"), ("csv", "a.json"), ("table", "a.jsonl")]
)
def test_a_format_and_a_suffix_that_contradict_are_refused(asked, file):
    with pytest.raises(UsageError, match=f"--format {asked} contradicts {Path(file).suffix}"):
        formats.choose_format(asked, Path(file), dict.fromkeys(("table", "json", "csv", "jsonl")))


def test_what_is_no_regular_file_may_be_called_anything(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs FIFOs")
    there = dict.fromkeys(("table", "json", "csv"))
    for name, asked, chosen in (("a.feather", None, "table"), ("b.json", "csv", "csv")):
        os.mkfifo(tmp_path / name)
        assert formats.choose_format(asked, tmp_path / name, there) == chosen


def test_a_bar_is_as_long_as_its_share():
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None)
    assert formats.bar(1.0, console, 4) == "████"
    assert formats.bar(0.5, console, 4) == "██"
    assert formats.bar(0.0, console, 4) == ""
    assert formats.percent(0.9554) == "95.5 %"
    assert formats.percent(None) == ""


@pytest.mark.parametrize(
    ("own", "other", "said"),
    [
        (10.0, 13.0, "1.3x faster than"),
        (13.0, 10.0, "1.3x slower than"),
        (10.0, 10.4, "as fast as"),
        (25.0, 1.0, "25x slower than"),
    ],
)
def test_a_ratio_says_which_is_faster(own, other, said):
    assert formats.faster(own, other) == said


def test_a_figure_appears_whole_or_not_at_all(tmp_path):
    class Broken:
        def savefig(self, part, **how):
            Path(part).write_bytes(b"half")
            raise OSError(28, "No space left on device")

    path = tmp_path / "plot.png"
    path.write_bytes(b"the one before")
    with pytest.raises(UsageError, match="No space left"):
        save_figure(Broken(), path)
    assert path.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [path]
