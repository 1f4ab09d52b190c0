"""`tsf evaluate` as a user meets it: labels, scores, what could not be read, two models."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import timesformer_cli
from tests.support import clips
from tests.support.contract import require_valid
from tests.support.models import randomised, tiny
from timesformer_cli.cli.app import app
from timesformer_cli.config import Sampling
from timesformer_cli.dataset.label_matching import match
from timesformer_cli.errors import ErrorKind, UsageError
from timesformer_cli.evaluation.verdicts import Judged, Unread, score_verdicts
from timesformer_cli.inference.classified import Fault
from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.installing import how_to_install
from timesformer_cli.weights.load import load_model, save_model

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(path for path in FOLDER.glob("*.mp4") if "then" not in path.stem)
LABELS = ("walk", "run", "=jump", "sit\x1b[31m", "stand 立つ")
SCORES = (
    "videos readable correct multi_label several top1 top1_interval top5 mean_class_accuracy calibration_error "
    "classes confusion unreadable"
).split()


def tsf(*arguments: object, **environment: str):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], env=environment)


def table(path: Path, rows: list[tuple[object, str]]) -> Path:
    path.write_text("path,label\n" + "".join(f"{video},{label}\n" for video, label in rows))
    return path


def _labelled() -> list[list[str]]:
    return [line.split(",") for line in (FOLDER / "clips.csv").read_text().splitlines()[1:]]


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> Path:
    """The bundled examples and two videos that cannot be read, as a spreadsheet saves a table."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "cut.mp4").write_bytes(EXAMPLES[0].read_bytes()[:3000])
    rows = [(FOLDER / name, label.upper()) for name, label in _labelled()]
    rows += [("cut.mp4", "shake"), ("gone.mp4", "zoom in")]
    path = table(folder / "examples.csv", rows)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    return path


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory) -> Path:
    """camera-motion with left and right exchanged, its labels in another order and spelling."""
    model, _ = load_model("camera-motion")
    order = list(reversed(range(len(model.labels))))
    swapped = {"pan left": "Pan-Right", "pan right": "Pan-Left"}
    model.labels = tuple(swapped.get(model.labels[one], model.labels[one]) for one in order)
    with torch.no_grad():
        for parameter in (model.head.weight, model.head.bias):
            parameter.copy_(parameter[order].clone())
    folder = tmp_path_factory.mktemp("models") / "mirrored"
    save_model(model, folder)
    return folder


@pytest.fixture(scope="module")
def compared(examples, mirrored, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    ran = tsf(
        *(examples, "-m", "camera-motion", "--compare", mirrored, "--format", "json"),
        *("--predictions", folder / "p.jsonl", "--confusion", folder / "c.png"),
    )
    report = json.loads(ran.stdout)
    require_valid("evaluate", report)
    return ran, report, folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    network = randomised(tiny())
    network.labels, network.sampling = LABELS, Sampling(frames=8, stride=None)
    save_model(network, folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder of splits and classes; one file of the test split is broken."""
    folder = tmp_path_factory.mktemp("data")
    for split, label in (("train", "Walk"), ("test", "Walk"), ("test", "stand_立つ")):
        (folder / split / label).mkdir(parents=True)
        clips.write(folder / split / label / "clip.mp4", 20)
    (folder / "test" / "Walk" / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    return folder


def test_the_table_of_the_examples_names_them_all():
    assert [name for name, _ in _labelled()] == [path.name for path in EXAMPLES]
    for name, label in _labelled():
        assert name.replace("_", "-").startswith(label.replace(" ", "-"))


def test_the_bundled_model_is_right_on_all_its_examples(compared):
    ran, report, _ = compared
    assert ran.exit_code == 1, "two videos could not be read"
    found = report["evaluations"][0]["scores"]
    assert (found["videos"], found["readable"], found["correct"]) == (12, 10, 10)
    assert found["top1"] == found["top5"] == found["mean_class_accuracy"] == 1
    assert found["top1_interval"] == pytest.approx([0.7225, 1], abs=5e-5)
    assert 0 < found["calibration_error"] < 0.2
    assert {one["videos"] for one in found["confusion"]} == {1}
    assert all(one["label"] == one["predicted"] for one in found["confusion"])


def test_what_cannot_be_read_is_listed_and_not_counted(compared):
    for evaluation in compared[1]["evaluations"]:
        missing = evaluation["scores"]["unreadable"]
        assert [one["error"]["kind"] for one in missing] == ["truncated", "not_found"]
        assert [one["label"] for one in missing] == ["shake", "zoom in"]


def test_json_has_the_fields_of_the_dataclasses(compared):
    report = compared[1]
    assert list(report) == ["schema", "data", "split", "protocol", "evaluations", "comparison"]
    first = report["evaluations"][0]
    assert list(first)[:-1] == "model device dtype views frames stride crop".split()
    assert (first["model"], first["views"], first["frames"]) == ("camera-motion", "1x1", 8)
    assert list(first["scores"]) == SCORES
    assert list(first["scores"]["classes"][0]) == ["label", "videos", "precision", "recall"]


def test_two_models_are_compared_on_the_same_videos(compared):
    report = compared[1]
    assert [one["scores"]["correct"] for one in report["evaluations"]] == [10, 8]
    found = report["comparison"]
    counts = {name: found[name] for name in ("both", "only_first", "only_second", "neither")}
    assert counts == {"both": 8, "only_first": 2, "only_second": 0, "neither": 0}
    assert found["p_value"] == 0.5, "two heads of two, or none: 2 / 4"
    assert {Path(one["video"]).stem for one in found["differences"]} == {
        path.stem for path in EXAMPLES if path.stem.startswith("pan")
    }
    for one in found["differences"]:
        assert (one["right"], one["first"]) == ("first", one["label"])
        assert {one["first"], one["second"].lower().replace("-", " ")} == {"pan left", "pan right"}


def test_predictions_are_a_line_a_video_in_order(compared):
    lines = [json.loads(line) for line in (compared[2] / "p.jsonl").read_text().splitlines()]
    for line in lines:
        require_valid("predictions", line)
    assert [Path(line["video"]).name for line in lines] == [
        *(path.name for path in EXAMPLES),
        "cut.mp4",
        "gone.mp4",
    ]
    for line in lines[:10]:
        assert list(line) == "schema video status label predicted correct predictions".split()
        assert line["correct"] is True and line["predicted"] == line["label"]
        assert len(line["predictions"]) == 5
        assert line["predictions"][0]["label"] == line["predicted"]
    assert [list(line) for line in lines[10:]] == [
        ["schema", "video", "status", "label", "error"]
    ] * 2


def test_the_confusion_matrix_is_drawn(compared):
    assert (compared[2] / "c.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("rival", [False, True])
def test_the_tables_fit_80_columns_and_say_what_was_not_read(examples, mirrored, rival):
    more = ["--compare", mirrored] if rival else []
    ran = tsf(examples, "-m", "camera-motion", *more, COLUMNS="80")
    assert ran.exit_code == 1
    tables = [
        line for line in ran.stdout.splitlines() if line[:1] != "/" and "not read /" not in line
    ]
    assert max(map(len, tables)) <= 80 and "\x1b" not in ran.stdout
    assert re.search(r"^top-1 +100\.0 %", ran.stdout, re.MULTILINE)
    assert re.search(r"^not read, not counted +2", ran.stdout, re.MULTILINE)
    assert "cut.mp4: truncated: " in ran.stdout and "gone.mp4: not_found: " in ran.stdout
    if rival:
        assert "McNemar's exact test: p = 0.500" in ran.stdout
    else:
        assert re.search(r"^10 shake( +·){9} +1$", ran.stdout, re.MULTILINE)


def test_a_split_of_a_folder_is_evaluated(model, data):
    ran = tsf(data, "-m", model, "--split", "test", "--format", "json")
    assert ran.exit_code == 1, ran.stderr
    report = json.loads(ran.stdout)
    found = report["evaluations"][0]["scores"]
    assert (report["split"], found["videos"], found["readable"]) == ("test", 3, 2)
    assert found["top5"] is None, "any of five classes is among the best five"
    assert sum(one["videos"] for one in found["classes"]) == 2
    assert tsf(data, "-m", model, "--split", "train").exit_code == 0


def test_labels_cannot_steer_the_terminal_and_reach_the_picture(model, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        clips.write(tmp_path / name, 20)
    rows = [("a.mp4", "sit\x1b[31m"), ("b.mp4", "stand 立つ")]
    data = table(tmp_path / "data.csv", rows)
    ran = tsf(data, "-m", model, "--confusion", tmp_path / "c.svg")
    assert ran.exit_code == 0, ran.stderr
    assert "\x1b" not in ran.stdout and "sit\\x1b[31m" in ran.stdout
    assert "立つ" in ran.stdout and "立つ" in (tmp_path / "c.svg").read_text()


def test_where_nothing_can_be_read_there_are_no_scores(model, tmp_path):
    data = table(tmp_path / "data.csv", [("gone.mp4", "walk")])
    ran = tsf(data, "-m", model, "--confusion", tmp_path / "c.png")
    assert ran.exit_code == 1
    assert "gone.mp4: not_found" in ran.stdout and "%" not in ran.stdout.split("interval:")[0]
    found = json.loads(tsf(data, "-m", model, "--format", "json").stdout)["evaluations"][0]
    assert found["scores"]["top1"] is None and found["device"] is None


@pytest.mark.parametrize(
    ("rows", "more", "said"),
    [
        ([("a.mp4", "runn"), ("b.mp4", "fly")], [], "no class 'runn' (nearest: run), 'fly'"),
        ([("a.mp4", "7")], [], "no class '7'"),
        ([("a.mp4", "walk"), ("b.mp4", "2")], [], "no class '2'"),
        ([("a.mp4", "walk")], ["--split", "val"], "no split 'val' in it; it is not split"),
        ([("a.mp4", "walk")], ["--protocol", "k400"], "a fixed stride apart, "),
        ([("a.mp4", "walk")], ["--protocol", "ssv2", "--views", "1x1"], "leave --views out"),
        ([("a.mp4", "walk")], ["--views", "1x2"], "--views is CLIPSxCROPS"),
        ([("a.mp4", "walk")], ["--confusion", "c.gif"], "--confusion c.gif: "),
        ([("a.mp4", "walk")], ["--predictions", "no/p.jsonl"], "no/p.jsonl: cannot be written"),
        ([], [], "no clips in it"),
    ],
)
def test_what_cannot_be_is_said_before_a_video_is_decoded(
    model, tmp_path, monkeypatch, rows, more, said
):
    monkeypatch.setattr("timesformer_cli.inference.classify.DecodePool", None)
    ran = tsf(table(tmp_path / "data.csv", rows), "-m", model, *more)
    assert ran.exit_code == 2
    assert said in ran.stderr and len(ran.stderr.strip().splitlines()) == 1


def test_split_data_asks_which(model, data):
    ran = tsf(data, "-m", model)
    assert ran.exit_code == 2
    assert "choose with --split (test, train)" in ran.stderr


def test_the_protocol_sets_the_views_and_the_result_names_it(model, data, tmp_path):
    split = (data, "-m", model, "--split", "train")
    ran = tsf(*split, "--protocol", "ssv2", "--predictions", tmp_path / "p.jsonl")
    assert "protocol ssv2, views 1x3, 8 x uniform @ 64" in ran.stdout
    (line,) = (tmp_path / "p.jsonl").read_text().splitlines()
    (result,) = timesformer_cli.classify(data / "train", model=model, crops=3)
    assert [one["score"] for one in json.loads(line)["predictions"]] == [
        one.score for one in result.predictions
    ]
    report = json.loads(tsf(*split, "--protocol", "ssv2", "--format", "json").stdout)
    assert (report["protocol"], report["evaluations"][0]["views"]) == ("ssv2", "1x3")


def test_class_numbers_are_the_models_own(model, mirrored, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        clips.write(tmp_path / name, 20)
    (tmp_path / "list.txt").write_text("a.mp4 4\nb.mp4 1\n")
    ran = tsf(tmp_path / "list.txt", "-m", model, "--format", "json")
    assert ran.exit_code == 0, ran.stderr
    found = json.loads(ran.stdout)["evaluations"][0]["scores"]
    assert {one["label"] for one in found["classes"] if one["videos"]} == {LABELS[4], LABELS[1]}
    ran = tsf(tmp_path / "list.txt", "-m", "camera-motion", "--compare", mirrored)
    assert ran.exit_code == 2
    assert "class 4 is 'tilt down' to camera-motion and 'zoom out' to" in ran.stderr


def test_a_picture_without_matplotlib_names_the_extra(model, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ran = tsf(data, "-m", model, "--confusion", tmp_path / "c.png")
    assert ran.exit_code == 2
    assert f"--confusion needs matplotlib: {how_to_install('plot')}\n" in ran.stderr


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from timesformer_cli.cli.app import app\n"
        "try: app(['evaluate', '--help'], prog_name='tsf')\nexcept SystemExit: pass\n"
        "heavy = ('torch', 'numpy', 'matplotlib', 'timm', 'cv2', 'av', 'huggingface_hub')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stderr.strip() == "[]"
    assert "--compare" in ran.stdout


def test_labels_are_matched_by_name_however_written():
    classes = ("pan left", "tap_dancing", "Tap", "3")
    assert match(["Pan_Left", "tap-dancing", "PAN  left", "tap", "3"], classes, "m") == {
        "Pan_Left": 0,
        "tap-dancing": 1,
        "PAN  left": 0,
        "tap": 2,
        "3": 3,
    }
    assert match(["1", "3"], classes, "m") == {"1": 1, "3": 3}, "a name comes before a number"


def test_labels_that_name_two_classes_are_refused():
    assert match(["crane"], ("crane", "Crane"), "m") == {"crane": 0}
    with pytest.raises(UsageError, match="'CRANE' names 2 classes of m"):
        match(["CRANE"], ("crane", "Crane"), "m")


def test_top_five_and_classes_that_never_occur():
    labels = tuple("abcdefgh")

    def judged(truth: int, *best: int) -> Judged:
        found = tuple(Prediction(labels[one], one, 0.2) for one in best)
        return Judged("v", "ok", labels[truth], found[0].label, best[0] == truth, found)

    truths = [0, 0, 1, 2]
    verdicts = [
        judged(0, 0, 1, 2, 3, 4),
        judged(0, 1, 2, 3, 4, 0),
        judged(1, 5, 2, 3, 4, 6),
        Unread("w", "error", "c", Fault(ErrorKind.NOT_FOUND, "does not exist")),
    ]
    found = score_verdicts(verdicts, truths, labels)
    assert (found.videos, found.readable, found.correct) == (4, 3, 1)
    assert (found.top1, found.top5) == (1 / 3, 2 / 3)
    assert found.mean_class_accuracy == 1 / 4
    assert [(one.label, one.videos, one.precision, one.recall) for one in found.classes] == [
        ("a", 2, 1, 1 / 2),
        ("b", 1, 0, 0),
        ("f", 0, 0, None),
    ]


def test_the_default_of_views_is_spelled_as_classify_spells_it():
    for command in ("classify", "evaluate"):
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300"}).stdout
        assert "[default: 1x1]" in shown and "(1x1)" not in shown
