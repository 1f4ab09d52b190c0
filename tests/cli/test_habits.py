"""What people type who know other tools: read right, or answered in one line with what to say."""

import difflib
import shlex

import pytest
import typer
from typer.testing import CliRunner

from tests.support import clips
from timesformer_cli import __version__
from timesformer_cli.cli.app import app
from timesformer_cli.cli.foreign_words import (
    ABSENT,
    ARGUMENTS,
    COMMANDS,
    KEYS,
    NAMED,
    OPTIONS,
    command_hint,
    is_possible,
    option_hint,
)
from timesformer_cli.cli.group import INTRODUCTION

GROUP = typer.main.get_command(app)
KNOWN = GROUP.options()


def tsf(line: str, **environment: str):
    return CliRunner().invoke(app, shlex.split(line), env=environment)


def refused(line: str) -> str:
    """The one line with which the command line is refused."""
    ran = tsf(line)
    assert ran.exit_code == 2, ran.output
    assert ran.stdout == ""
    assert ran.stderr.startswith("error: ") and ran.stderr.count("\n") == 1, ran.stderr
    return ran.stderr.removeprefix("error: ").rstrip("\n")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to type in, with a clip and a folder of one."""
    monkeypatch.chdir(tmp_path)
    clips.write(tmp_path / "clip.mp4", 24)
    (tmp_path / "videos").mkdir()
    clips.write(tmp_path / "videos" / "a.mp4", 24)
    clips.write(tmp_path / "-3B32lodo2M.mp4", 24)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    ["clip.mp4", "videos", "./videos/", "'*.mp4'", "videos/a.mp4 clip.mp4", "$PWD/clip.mp4"],
)
def test_videos_need_no_command(words, here, model_folder):
    words = words.replace("$PWD", str(here))
    rest = f"{words} --model {model_folder} --top-k 2 --format csv"
    short, long = tsf(rest), tsf(f"classify {rest}")
    assert short.exit_code == 0, short.stderr
    assert short.stdout == long.stdout


def test_paths_on_stdin_need_no_command(here, model_folder):
    words = ["-", "--model", str(model_folder), "--format", "csv"]
    ran = CliRunner().invoke(app, words, input="clip.mp4\n")
    assert ran.exit_code == 0 and "clip.mp4" in ran.stdout


@pytest.mark.parametrize("word", ["missing.mp4", "gone/clip", "MISSING.MKV"])
def test_what_looks_like_a_video_is_a_row_that_failed(word, here, model_folder):
    ran = tsf(f"{word} --model {model_folder} --format json")
    assert ran.exit_code == 1
    assert "not_found" in ran.stdout


@pytest.mark.parametrize("word", ["clasify", "evaluat", "benchmrk", "dowload-weights"])
def test_a_mistyped_command_is_guessed(word, here):
    (near,) = difflib.get_close_matches(word, KNOWN, n=1)
    assert f"did you mean {near}?" in refused(f"{word} x")


def test_a_word_that_is_nothing_is_said(here):
    assert "names no file either" in refused("xyzzy")


def test_a_folder_named_as_another_tools_command_is_asked_about(here):
    (here / "test").mkdir()
    said = refused("test")
    assert "tsf evaluate" in said and "tsf classify test" in said


@pytest.mark.parametrize(
    "name", ["-3B32lodo2M.mp4", "-hd.mkv", "-k5.mp4", "-m_clip.webm", "-o.mp4"]
)
@pytest.mark.parametrize("command", ["", "classify "])
def test_a_video_named_as_an_option_is_hinted_at(command, name, here, model_folder):
    (here / "-3B32lodo2M.mp4").rename(here / name)
    said = refused(f"{command}{name}")
    assert f"./{name}" in said and "--" in said
    refused(f"{command}clip.mp4 {name}")
    assert tsf(f"{command}./{name} --model nothing").exit_code == 3  # it is the model that is wrong


@pytest.mark.parametrize("line", ["classify --model MODEL -- NAME", "./NAME --model MODEL"])
def test_spelled_so_it_is_a_video(line, here, model_folder):
    name = "-3B32lodo2M.mp4"
    ran = tsf(line.replace("MODEL", str(model_folder)).replace("NAME", name))
    assert ran.exit_code == 0 and name in ran.stdout


PAIRS = {
    "predict source=x.mp4 model=y": "tsf classify x.mp4 --model y",
    "source=x.mp4 model=y": "tsf classify x.mp4 --model y",
    "classify predict model=y.pt source=x": "tsf classify x --model y.pt",
    "task=detect mode=predict model=y source='a b.mp4'": "tsf classify 'a b.mp4' --model y",
    "classify clip.mp4 model=y": "tsf classify clip.mp4 --model y",
    "predict source=x model=y device=0": "tsf classify x --model y --device cuda:0",
    "train data=d model=y epochs=3": "tsf train d --init y --epochs 3",
    "detect train data=d epochs=3": "tsf train d --epochs 3",
    "val data=d model=y": "tsf evaluate d --model y",
    "export model=y format=onnx": "tsf export --model y --onnx",
}


@pytest.mark.parametrize("line", PAIRS)
def test_pairs_are_answered_with_the_line_to_type(line, here):
    said = refused(line)
    assert f"say: {PAIRS[line]}" in said
    answer = said.split("say: tsf ")[1].split(" (")[0]
    command, *words = shlex.split(answer)
    parsed = GROUP.commands[command].make_context(command, words, resilient_parsing=False)
    assert parsed.params


@pytest.mark.parametrize("script", ["detect.py", "predict.py", "train.py", "val.py"])
def test_a_script_of_another_tool_is_known(script, here):
    assert "say: tsf " in refused(f"{script} clip.mp4")


def test_pairs_that_have_no_counterpart_are_named(here):
    assert "nothing here is like conf" in refused("predict source=x.mp4 conf=0.5")


def test_a_file_whose_name_is_a_pair_is_a_file(here, model_folder):
    (here / "clip.mp4").rename(here / "name=clip.mp4")
    ran = tsf(f"name=clip.mp4 --model {model_folder} --format csv")
    assert ran.exit_code == 0, ran.stderr


@pytest.mark.parametrize("word", [*COMMANDS, *ABSENT])
def test_every_foreign_command_is_answered_with_a_command_that_exists(word, here):
    said = refused(f"{word} clip.mp4")
    (command, *_) = [name for name, _ in NAMED.findall(said.split("say: ")[1])]
    assert command in KNOWN
    assert word not in KNOWN


@pytest.mark.parametrize("option", OPTIONS)
def test_every_foreign_option_is_answered_with_options_that_exist(option):
    for answer in OPTIONS[option]:
        assert [name for name in KNOWN if is_possible(answer, name, KNOWN)], answer
        assert not [name for name, _ in NAMED.findall(answer) if name and name not in KNOWN]


@pytest.mark.parametrize("command", KEYS)
def test_every_key_has_an_option_that_exists(command):
    assert {option for option in KEYS[command].values() if option} <= KNOWN[command]
    assert set(ARGUMENTS) <= set(KNOWN)


ASKED = """--output_dir --output-format --json --csv --verbose --threads --save --save_txt --project --name
 --source --weights --conf --imgsz --img-size --half --fp16 --gpu --cuda --cpu --nproc --batch --topk --topn
 --num_frames --sampling_rate --lang --language --task --beam_size --out --top_k --input --quiet""".split()


@pytest.mark.parametrize("option", ASKED)
def test_options_of_other_tools_are_answered(option, here):
    if option in KNOWN["classify"]:
        pytest.skip("it is one of ours")
    said = refused(f"clip.mp4 {option} 1")
    assert f"no option {option}: " in said
    assert "explains it" not in said
    for named, ours in NAMED.findall(said.split(": ", 1)[1]):
        assert named in KNOWN if named else ours in KNOWN["classify"]


@pytest.mark.parametrize(
    ("typed", "ours"), [("--top_k", "--top-k"), ("--BATCH_SIZE", "--batch-size")]
)
def test_an_underscore_is_answered_with_a_hyphen(typed, ours, here):
    assert f"say {ours}" in refused(f"clip.mp4 {typed} 3")


def test_all_foreign_options_of_a_line_are_answered_at_once(here):
    said = refused("clip.mp4 --model small --language en --fp16 False --top_k 3")
    assert said.count("no option") == 3


def test_a_hint_depends_on_the_command():
    assert option_hint("--weights", "classify", KNOWN) == "say --model"
    assert option_hint("--weights", "train", KNOWN) == "say --init"
    assert option_hint("--output_dir", "train", KNOWN).startswith("say --out ")


def test_what_was_typed_behind_a_foreign_command_is_kept():
    said = command_hint("predict", ["--source", "a b.mp4", "--model=y"], KNOWN)
    assert said == "say: tsf classify 'a b.mp4' --model=y"
    assert command_hint("predict", ["--frobnicate"], KNOWN) == "say: tsf classify VIDEO"


def test_an_option_before_the_command_is_answered_with_the_whole_line(here):
    assert "say: tsf classify --model small clip.mp4" in refused("--model small clip.mp4")


@pytest.mark.parametrize(
    "line",
    ["classify", "classify clip.mp4 --format xml", "models x", "classify --model", "help nothing"],
)
def test_every_wrong_command_line_is_one_line(line, here):
    refused(line)


def test_version_and_help_are_commands_too():
    assert tsf("version").stdout == tsf("--version").stdout == f"tsf {__version__}\n"
    assert tsf("help").stdout == tsf("--help").stdout
    assert tsf("help classify").stdout == tsf("classify --help").stdout
    assert "did you mean classify" in refused("help clasify")


def test_tsf_alone_is_a_help_that_fits(monkeypatch):
    ran = tsf("", COLUMNS="80")
    assert ran.exit_code == 2
    lines = ran.stdout.splitlines()
    assert ran.stdout.startswith(INTRODUCTION)
    assert max(map(len, lines)) <= 80 and len(lines) <= 40
    named = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert named[:3] == ["tsf", "tsf", "tsf"]
    assert set(KNOWN) <= set(named)
    assert {"models", "train"} <= {name for name, _ in NAMED.findall(INTRODUCTION)}
