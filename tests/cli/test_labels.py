"""`--labels` on the command line: what is written, and what is wrong in one line."""

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from tests.support.words import COLOURS, colour_clip, colour_model
from timesformer_cli.cli.app import app


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    return colour_model(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name in COLOURS:
        (folder / name).mkdir()
        colour_clip(folder / name / "clip.mp4", name)
    return folder


@pytest.fixture
def tsf(colours):
    def run(command, *words, model=colours):
        chosen = ["--model", str(model)]
        chosen += [] if command == "explain" else ["--dtype", "float32"]
        chosen += [] if command == "export" else ["--device", "cpu"]
        return CliRunner().invoke(app, [command, *map(str, words), *chosen])

    return run


def test_the_similarity_stands_beside_the_score(tsf, videos):
    ran = tsf("classify", videos / "red", "--labels", 'red,"blue, or so"', "--template", "{}")
    heading, first, second = ran.stdout.splitlines()
    assert heading.split() == ["video", "label", "score", "similarity"]
    assert first.split()[1:4] == ["red", "100.0", "%"] and float(first.split()[-1]) > 0.9
    assert second.startswith(" ") and "blue, or so" in second


@pytest.mark.parametrize("format", ["json", "jsonl", "csv", "parquet"])
def test_every_format_has_the_similarity(format, tsf, videos, tmp_path):
    out = tmp_path / f"out.{format}"
    ran = tsf("classify", videos / "red", "--labels", "red,blue", "-o", out)
    assert ran.exit_code == 0, ran.output
    if format == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        (row,) = parquet.read_table(out).to_pylist()
        best = row["predictions"][0]
        assert row["similarity"] == best["similarity"]
    elif format == "csv":
        best, _ = csv.DictReader(io.StringIO(out.read_text()))
    else:
        read = json.loads(out.read_text())
        best = (read[0] if format == "json" else read)["predictions"][0]
    assert best["label"] == "red" and 0 < float(best["similarity"]) <= 1


def test_without_labels_nothing_is_said_of_similarity(tsf, videos, model_folder):
    for format in ("table", "json", "csv"):
        ran = tsf("classify", videos / "red", "--format", format, model=model_folder)
        assert ran.exit_code == 0 and "similarity" not in ran.stdout


def test_a_file_names_labels_and_what_says_them(tsf, videos, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("stop\tred|a red one\ngo\tgreen\nblue\n")
    words = ["--labels", labels, "--none-below", "0.3", "--format", "csv"]
    ran = tsf("classify", videos, *words, "--template", "{}")
    rows = list(csv.DictReader(io.StringIO(ran.stdout)))
    assert [row["label"] for row in rows] == ["blue", "go", "stop"]


def test_an_answer_that_is_too_weak_is_none(tsf, videos):
    words = ["--labels", "red,green", "--template", "{}", "--none-below", "0.5"]
    ran = tsf("classify", videos / "blue", *words)
    assert ran.stdout.splitlines()[1].split()[1:4] == ["none", "0.0", "%"]


def test_a_timeline_has_the_similarity(tsf, videos, tmp_path):
    words = ["--labels", "red,blue", "--template", "{}"]
    clip = videos / "blue" / "clip.mp4"
    (row,) = csv.DictReader(io.StringIO(tsf("timeline", clip, *words, "--format", "csv").stdout))
    assert row["label"] == "blue" and float(row["similarity"]) > 0.9
    shown = tsf("timeline", clip, *words).stdout.splitlines()[1].split()
    assert shown[1:4] == ["blue", "100.0", "%"] and float(shown[4]) > 0.9
    said = json.loads(tsf("timeline", clip, *words, "--windows", "--format", "json").stdout)
    assert said[0]["segments"][0]["similarity"] > 0.9
    assert "similarity" in said[0]["windows"][0]["predictions"][0]
    none = tsf("timeline", clip, "--labels", "red", "--none-below", "0.5", "--format", "json")
    assert json.loads(none.stdout)[0]["segments"] == []


def test_a_model_is_measured_by_the_words_of_the_data(tsf, videos, tmp_path):
    ran = tsf("evaluate", videos, "--format", "json")
    assert ran.exit_code == 0, ran.output
    scores = json.loads(ran.stdout)["evaluations"][0]["scores"]
    assert scores["top1"] == 1 and [row["label"] for row in scores["classes"]] == sorted(COLOURS)
    said = tmp_path / "labels.txt"
    said.write_text("blue\tred\nred\tblue\ngreen\n")  # two that are said wrong
    ran = tsf("evaluate", videos, "--labels", said, "--format", "json")
    assert json.loads(ran.stdout)["evaluations"][0]["scores"]["correct"] == 1


def test_a_model_is_measured_on_some_of_its_classes(tsf, videos, tmp_path, model_folder):
    table = tmp_path / "table.csv"
    table.write_text(f"path,label\n{videos / 'red' / 'clip.mp4'},b\n")
    words = ["evaluate", table, "--labels", "b", "--format", "json"]
    ran = tsf(*words, model=model_folder)
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["evaluations"][0]["scores"]["top1"] == 1  # it has no other answer
    ran = tsf(*words[:3], "a,c", model=model_folder)
    assert ran.exit_code == 2 and "has no class 'b'" in ran.stderr


def test_some_classes_of_several_labels_keep_their_own_scores(tsf, videos, model_folder):
    words = ["classify", videos / "red", "--multi-label", "--threshold", "0", "--format", "json"]
    (every,) = json.loads(tsf(*words, model=model_folder).stdout)
    (some,) = json.loads(tsf(*words, "--labels", "b,a", model=model_folder).stdout)
    scores = {one["label"]: one["score"] for one in every["predictions"]}
    given = {one["label"]: one["score"] for one in some["predictions"]}
    assert given == {label: scores[label] for label in "ab"}
    assert all(one["similarity"] == one["score"] for one in some["predictions"])
    assert some["multi_label"] and some["labels"] == [one["label"] for one in some["predictions"]]
    weak = [*words, "--labels", "b,a", "--none-below", str(max(given.values()))]
    (strong,) = json.loads(tsf(*weak, model=model_folder).stdout)
    assert strong["labels"] == [one["label"] for one in strong["predictions"]]
    assert len(strong["labels"]) < 2


def test_several_labels_are_measured_on_all_classes(tsf, videos, tmp_path, model_folder):
    table = tmp_path / "table.csv"
    table.write_text(f"path,label\n{videos / 'red' / 'clip.mp4'},a|b\n")
    ran = tsf("evaluate", table, "--multi-label", "--labels", "a,b", model=model_folder)
    assert ran.exit_code == 2 and ran.stderr.count("\n") == 1
    assert "measured on all classes; leave out --labels" in ran.stderr


@pytest.mark.parametrize("command", ["classify", "evaluate"])
def test_words_share_one_answer_out(command, tsf, videos):
    labels = [] if command == "evaluate" else ["--labels", "red,blue"]
    ran = tsf(command, videos, "--multi-label", *labels)
    assert ran.exit_code == 2 and ran.stderr.count("\n") == 1
    assert "words share one answer out; leave out --multi-label" in ran.stderr


def test_a_long_label_does_not_fill_the_screen(tsf, videos):
    ran = tsf("classify", videos / "red", "--labels", "red " * 5000 + ",blue")
    assert ran.exit_code == 0 and len(ran.stdout.splitlines()) < 10
    assert ran.stderr.count("\n") == 1 and "only the first 16 tokens count" in ran.stderr


WRONG = {
    "--labels ,": (2, "--labels names no label"),
    "--labels a,A": (2, "'A' is there twice, also as 'a'"),
    "--labels none.txt": (2, "none.txt: there is no such file"),
    "--labels a --template b": (2, "a template has {} where the label goes"),
    "--labels a --none-below 7": (2, "--none-below is a similarity from -1 to 1; got 7"),
    "": (2, "has no classes of its own; say what to look for: --labels 'a,b,c'"),
}


@pytest.mark.parametrize("words", WRONG)
@pytest.mark.parametrize("command", ["classify", "timeline"])
def test_what_is_wrong_is_one_line(words, command, tsf, videos):
    code, fault = WRONG[words]
    ran = tsf(command, videos / "red" / "clip.mp4", *words.split())
    assert ran.exit_code == code and ran.stdout == "" and ran.stderr.count("\n") == 1
    assert fault in ran.stderr


def test_words_for_a_model_of_its_own_classes_are_one_line(tsf, videos, model_folder):
    for command in ("classify", "timeline"):
        clip = videos / "red" / "clip.mp4"
        ran = tsf(command, clip, "--labels", "someone falls", model=model_folder)
        assert ran.exit_code == 2 and ran.stderr.count("\n") == 1
        assert "models that take words: videoprism-lvt-base" in ran.stderr


def test_a_model_of_words_has_no_classes_to_explain(tsf, videos):
    for method in ("combined", "occlusion"):
        ran = tsf("explain", videos / "red" / "clip.mp4", "--method", method)
        assert ran.exit_code == 2 and ran.stderr.count("\n") == 1
        assert "has no classes of its own to explain" in ran.stderr
