"""`tsf` as a user meets it: answers, errors, exit codes, and what it leaves behind."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support import clips
from tests.support.models import randomised, tiny
from timesformer_cli import __version__
from timesformer_cli.cli.app import app
from timesformer_cli.config import Sampling
from timesformer_cli.schemes import SCHEMES
from timesformer_cli.weights.load import save_model

HEAVY = (
    "torch",
    "cv2",
    "decord",
    "av",
    "timm",
    "transformers",
    "huggingface_hub",
    "numpy",
    "lance",
    "pyarrow",
    "ray",
)
LABELS = ("walk", "run", "=jump", "sit\x1b[31m", "stand")
KEYS = "video status predictions model device dtype decoder views seconds multi_label".split()


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    network = randomised(tiny())
    network.labels, network.sampling = LABELS, Sampling(frames=8, stride=4)
    save_model(network, folder)
    return str(folder)


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> str:
    return str(clips.write(tmp_path_factory.mktemp("clips") / "clip.mp4", 60))


def tsf(*arguments: str, input: str | None = None, **environment: str):
    return CliRunner().invoke(app, [*arguments], input=input, env=environment)


def process(*arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "timesformer_cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["classify", "--help"],
        ["timeline", "--help"],
        ["train", "--help"],
        ["convert", "--help"],
        ["suggest", "--help"],
        ["benchmark", "--help"],
        ["models", "--help"],
        ["info", "--help"],
        ["doctor", "--help"],
        ["watch", "--help"],
        ["schema", "--help"],
        ["serve", "--help"],
        ["version"],
        ["help", "evaluate"],
    ],
)
def test_help_and_version_load_nothing_heavy(arguments):
    code = (
        "import sys; from timesformer_cli.cli.app import app\n"
        f"try: app({arguments!r}, prog_name='tsf')\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stderr.strip() == "[]"
    assert "tsf" in ran.stdout


@pytest.mark.parametrize("command", ["train", "benchmark"])
def test_the_help_of_attention_names_every_scheme(command):
    words = tsf(command, "--help", COLUMNS="300").stdout
    assert not [name for name in SCHEMES if name not in words]


def test_version_is_the_package_version():
    assert tsf("--version").stdout == f"tsf {__version__}\n"


def test_json_has_exactly_the_promised_fields(model, clip):
    ran = tsf("classify", clip, "-m", model, "--format", "json", "--device", "cpu")
    assert ran.exit_code == 0, ran.stderr
    (result,) = json.loads(ran.stdout)
    assert list(result) == ["schema", *KEYS]
    assert (result["video"], result["status"], result["model"]) == (clip, "ok", model)
    assert result["device"] == "cpu"
    assert result["decoder"] in ("decord", "av")
    assert [list(p) for p in result["predictions"]] == [["label", "index", "score"]] * 5
    scores = [p["score"] for p in result["predictions"]]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=1e-4)
    assert all(p["label"] == LABELS[p["index"]] for p in result["predictions"])
    (view,) = result["views"]
    assert list(view) == ["start", "end", "crop", "times"]
    assert view["crop"] == "center"
    # 8 frames of stride 4 last 31/30 s; the clip is 2 s long and the view in its middle.
    assert view["end"] - view["start"] == pytest.approx(31 / 30, abs=2e-3)
    assert view["start"] + view["end"] == pytest.approx(2, abs=2e-3)
    assert view["times"][0] == view["start"] and view["times"][-1] == view["end"]
    assert set(result["seconds"]) == {"decode", "model"}


def test_jsonl_gives_a_line_a_video_and_errors_their_kind(model, clip, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_text("this is no video")
    ran = tsf("classify", str(broken), clip, "nope.mp4", "-m", model, "--format", "jsonl")
    assert ran.exit_code == 1
    first, second, third = map(json.loads, ran.stdout.splitlines())
    assert list(first) == ["schema", "video", "status", "error"]
    assert list(first["error"]) == ["kind", "message"]
    assert (first["status"], second["status"], third["status"]) == ("error", "ok", "error")
    assert third["error"]["kind"] == "not_found"


def test_csv_is_safe_to_open_in_a_spreadsheet(model, clip):
    ran = tsf("classify", clip, "-m", model, "--format", "csv", "--top-k", "5")
    rows = list(csv.DictReader(io.StringIO(ran.stdout)))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    labels = {row["index"]: row["label"] for row in rows}
    assert labels["2"] == "'=jump"
    assert labels["0"] == "walk"


def test_the_table_shows_labels_scores_and_bars_and_cannot_steer_the_terminal(model, clip):
    ran = tsf("classify", clip, "-m", model)
    assert ran.exit_code == 0
    lines = ran.stdout.splitlines()
    assert lines[0].split() == ["video", "label", "score"]
    assert len(lines) == 6
    assert clip in lines[1] and " %" in lines[1] and "█" in lines[1]
    assert "\x1b" not in ran.stdout
    assert "sit\\x1b[31m" in ran.stdout


@pytest.mark.parametrize("videos", [1, 3, 50])
def test_many_videos_come_in_order_each_once(model, clip, tmp_path, videos):
    names = [tmp_path / f"{index:02}.mp4" for index in range(videos)]
    for name in names:
        os.link(clip, name)
    ran = tsf("classify", str(tmp_path), str(names[0]), "-m", model, "--top-k", "1")
    assert ran.exit_code == 0
    shown = [line.split()[0] for line in ran.stdout.splitlines()[1:]]
    assert shown == [str(name) for name in names]


def test_paths_on_stdin_directories_and_globs(model, clip, tmp_path):
    shutil.copy(clip, tmp_path / "a b.mp4")
    (tmp_path / "deep").mkdir()
    shutil.copy(clip, tmp_path / "deep" / "c.MP4")
    (tmp_path / "notes.txt").write_text("no video")
    found = ["a b.mp4", "deep/c.MP4"]
    for arguments, listed in (
        ([str(tmp_path)], ""),
        ([f"{tmp_path}/*.mp4", f"{tmp_path}/*/*"], ""),
        (["-"], f"{tmp_path}/a b.mp4\n\n{tmp_path}/deep/c.MP4\n"),
    ):
        ran = tsf("classify", *arguments, "-m", model, "--format", "jsonl", input=listed)
        shown = [json.loads(line)["video"] for line in ran.stdout.splitlines()]
        assert shown == [f"{tmp_path}/{name}" for name in found]


def test_views_average_clips_and_crops(model, clip):
    ran = tsf("classify", clip, "-m", model, "--views", "2x3", "--format", "json")
    views = json.loads(ran.stdout)[0]["views"]
    assert [view["crop"] for view in views] == ["left", "center", "right"] * 2
    assert views[0]["start"] == 0 < views[3]["start"]


@pytest.mark.parametrize("device", ["cpu", "cpu,cpu"])
def test_each_of_several_views_has_its_own_labels(device, model, clip, tmp_path):
    """The average is theirs, and the centre is what is found where it is the only view."""
    options = ("-m", model, "--format", "json", "--device", device, "--dtype", "float32")
    ran = tsf("classify", clip, *options, "--views", "1x3")
    assert ran.exit_code == 0, ran.stderr
    (result,) = json.loads(ran.stdout)
    assert [list(view) for view in result["views"]] == [
        ["start", "end", "crop", "times", "predictions"]
    ] * 3
    shares = [
        {found["label"]: found["score"] for found in view["predictions"]}
        for view in result["views"]
    ]
    for found in result["predictions"]:
        mean = sum(share[found["label"]] for share in shares) / 3
        assert found["score"] == pytest.approx(mean, abs=2e-6)
    (alone,) = json.loads(tsf("classify", clip, *options).stdout)
    assert "predictions" not in alone["views"][0]
    for mine, theirs in zip(result["views"][1]["predictions"], alone["predictions"], strict=True):
        assert mine["index"] == theirs["index"]
        assert mine["score"] == pytest.approx(theirs["score"], abs=1e-5)
    fewer = json.loads(tsf("classify", clip, *options, "--views", "2x1", "-k", "2").stdout)
    assert [len(view["predictions"]) for view in fewer[0]["views"]] == [2, 2]


@pytest.mark.parametrize(
    ("seconds", "options", "said"),
    [
        (125, (), "was seen for 1.0 s of 2:05; see --views or tsf timeline"),
        (20, (), None),  # long beside the clip, but not long
        (40, ("--stride", "40"), None),  # 8 frames 40/30 s apart are 10.6 s
        (125, ("--views", "1x3"), None),
    ],
)
def test_a_video_of_which_little_was_seen_is_told(seconds, options, said, model, tmp_path):
    video = clips.write(tmp_path / "long.mp4", 12 * seconds, fps=12, size=(64, 64))
    ran = tsf("classify", str(video), "-m", model, "--format", "json", *options)
    (result,) = json.loads(ran.stdout)
    assert result.get("warnings") == (None if said is None else [said])
    if said:
        table = tsf("classify", str(video), "-m", model, *options)
        assert table.stderr == f"note: {video} {said}\n" and "note" not in table.stdout


def test_a_model_that_spreads_its_frames_sees_all_of_a_video(tmp_path):
    network = randomised(tiny())
    network.labels, network.sampling = LABELS, Sampling(frames=8, stride=None)
    save_model(network, tmp_path / "uniform")
    video = clips.write(tmp_path / "long.mp4", 12 * 125, fps=12, size=(64, 64))
    ran = tsf("classify", str(video), "-m", str(tmp_path / "uniform"), "--format", "json")
    assert "warnings" not in json.loads(ran.stdout)[0]


def test_frames_and_stride_change_the_clip(model, clip):
    ran = tsf("classify", clip, "-m", model, "--frames", "3", "--stride", "10", "--format", "json")
    (view,) = json.loads(ran.stdout)[0]["views"]
    assert len(view["times"]) == 3
    assert view["end"] - view["start"] == pytest.approx(29 / 30, abs=2e-3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_dtype_gives_nearly_the_same_scores(model, clip, dtype):
    def scores(name: str) -> dict[int, float]:
        ran = tsf("classify", clip, "-m", model, "--dtype", name, "--format", "json")
        (result,) = json.loads(ran.stdout)
        assert result["dtype"] == name
        return {p["index"]: p["score"] for p in result["predictions"]}

    assert scores(dtype) == pytest.approx(scores("float32"), abs=0.02)


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "txt"])
def test_output_takes_its_format_from_its_suffix(model, clip, tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    ran = tsf("classify", clip, "-m", model, "-o", str(path))
    assert (ran.exit_code, ran.stdout) == (0, "")
    start = {
        "json": "[\n",
        "jsonl": '{"schema": 1, "video"',
        "csv": "video,status",
        "txt": "video ",
    }[suffix]
    assert path.read_text().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


def test_an_output_that_cannot_be_written_is_said_and_costs_no_work(model, clip, tmp_path):
    ran = tsf("classify", clip, "-m", model, "-o", str(tmp_path / "no" / "out.json"))
    assert ran.exit_code == 2
    assert "cannot be written" in ran.stderr


def test_bad_videos_are_told_apart_and_the_good_ones_go_on(model, clip, tmp_path):
    empty, text, cut, sound, still, folder = (
        tmp_path / name
        for name in ("empty.mp4", "text.mp4", "cut.mp4", "sound.mp4", "one.mp4", "d")
    )
    empty.touch()
    text.write_text("this is no video\n" * 100)
    cut.write_bytes(Path(clip).read_bytes()[:2000])
    clips.write_sound(sound)
    clips.write(still, 1)
    folder.mkdir()
    videos = [tmp_path / "none.mp4", folder, empty, text, cut, sound, still, Path(clip)]
    ran = tsf("classify", *map(str, videos), "-m", model, "--format", "jsonl")
    results = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [result["video"] for result in results] == [str(path) for path in videos]
    kinds = [result["error"]["kind"] if "error" in result else "ok" for result in results]
    assert kinds == [
        "not_found",
        "no_videos",
        "empty_file",
        "cannot_decode",
        "truncated",
        "no_video_stream",
        "ok",
        "ok",
    ]
    assert not [r for r in results if "error" in r and "\n" in r["error"]["message"]]
    assert results[-2]["warnings"] == ["gives 1 frame, repeated 8 times"]
    assert ran.exit_code == 1
    table = tsf("classify", *map(str, videos), "-m", model)
    assert "sound.mp4" in table.stdout and "no_video_stream: " in table.stdout
    assert "one.mp4 gives 1 frame, repeated 8 times" in table.stderr
    assert "8 videos, 6 failed" in table.stderr


def test_a_decoder_that_takes_too_long_costs_its_own_video_only(model, clip, tmp_path):
    """A real file of which one picture is more work than the time for it: 35 megapixels, 0.1 s."""
    huge = {"codec": "png", "size": (8000, 4400), "pix_fmt": "rgb24"}
    slow = clips.write(tmp_path / "slow.mov", 1, options={"compression_level": "1"}, **huge)
    ran = tsf("classify", str(slow), "-m", model, "--timeout", "0.1", "--format", "json")
    (result,) = json.loads(ran.stdout)
    assert result["error"]["kind"] == "timeout"
    assert "--timeout" in result["error"]["message"]
    assert ran.exit_code == 1


ERRORS = {
    "unknown model": (["-m", "base-k40"], 3, "did you mean base-k400"),
    "no such device": (["--device", "cuda:99"], 4, "cuda:99"),
    "nonsense device": (["--device", "gpu"], 2, "auto, cpu, cuda"),
    "views": (["--views", "3x2"], 2, "1 or 3 crops"),
    "views nonsense": (["--views", "all"], 2, "CLIPSxCROPS"),
    "top-k": (["--top-k", "0"], 2, "top-k"),
    "format": (["--format", "xml"], 2, "format"),
}


@pytest.mark.parametrize(("options", "code", "words"), ERRORS.values(), ids=ERRORS)
def test_a_wrong_option_is_one_line_and_its_exit_code(model, clip, options, code, words):
    ran = tsf("classify", clip, *(["-m", model] if "-m" not in options else []), *options)
    assert ran.exit_code == code
    assert ran.stdout == ""
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--dtype", "double"], "Invalid value for '--dtype': 'double' is not one of"),
        (["--format", "xml"], "Invalid value for '--format': 'xml' is not one of"),
        (["--decoder", "x"], "Invalid value for '--decoder': 'x' is not one of"),
    ],
)
def test_a_word_that_is_no_choice_is_told_in_plain_words(options, said):
    ran = tsf("classify", "x.mp4", *options, COLUMNS="300")
    assert ran.exit_code == 2
    assert said in ran.stderr and "Value error" not in ran.stderr


def test_a_bad_model_folder_is_one_line_and_exit_code_3(clip, tmp_path):
    ran = tsf("classify", clip, "-m", str(tmp_path))
    assert ran.exit_code == 3
    assert ran.stderr.count("\n") == 1
    assert f"{tmp_path}: no model.safetensors or pytorch_model.bin in it" in ran.stderr


def test_the_default_model_offline_says_how_to_get_it_and_names_the_bundled_one(clip, tmp_path):
    offline = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    ran = process("classify", clip, env=os.environ | offline)
    assert ran.returncode == 3
    assert "hf download facebook/timesformer-base-finetuned-k400" in ran.stderr
    assert "--model camera-motion" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_nothing_to_do_is_a_usage_error(model):
    assert tsf("classify", "-", "-m", model, input="").exit_code == 2
    assert tsf("classify").exit_code == 2


def test_debug_shows_the_traceback(clip, tmp_path):
    ran = process("classify", clip, "-m", str(tmp_path), "--debug")
    assert "Traceback" in ran.stderr


def test_a_reader_that_leaves_early_is_no_error_on_the_screen(model, clip):
    command = f"{sys.executable} -m timesformer_cli classify {clip} -m {model} | true"
    ran = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert ran.stderr == ""


def _alive() -> dict[int, int]:
    """Running processes and their parents; what nobody has reaped yet runs no more."""
    alive = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            head, _, tail = path.read_text().rpartition(")")
            if tail.split()[0] != "Z":
                alive[int(head.split()[0])] = int(tail.split()[1])
    return alive


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("begun", "number", "word", "code"),
    [
        (lambda folder: True, signal.SIGINT, "interrupted", 130),
        (lambda folder: list(folder.glob(".out*")), signal.SIGINT, "interrupted", 130),
        (lambda folder: list(folder.glob(".out*")), signal.SIGTERM, "terminated", 143),
    ],
    ids=["while torch is imported", "while results are written", "by SIGTERM"],
)
def test_ctrl_c_leaves_no_worker_and_no_output(begun, number, word, code, model, clip, tmp_path):
    names = [tmp_path / f"{index}.mp4" for index in range(400)]
    for name in names:
        os.link(clip, name)
    output = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "timesformer_cli", "classify", str(tmp_path)]
    command += ["-m", model, "-o", str(output)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    workers: set[int] = set()
    while not (workers and begun(tmp_path)) and time.monotonic() < deadline:
        workers = {pid for pid, parent in _alive().items() if parent == running.pid}
        time.sleep(0.02)
    assert workers
    running.send_signal(number)
    _, said = running.communicate(timeout=10)
    assert running.returncode == code
    assert said == f"{word}\n"
    assert not [path for path in tmp_path.iterdir() if path not in names]
    deadline = time.monotonic() + 2  # as long as Ctrl-C may take altogether
    while workers & _alive().keys() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not workers & _alive().keys()
