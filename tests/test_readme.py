"""What README.md and docs/ show is what the commands do."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from tests.support.pages import (
    PAGES,
    ROOT,
    ShownCommand,
    anchors,
    inline_code,
    python_code,
    require_like,
    shown_commands,
)
from timesformer_cli.cli.app import app
from timesformer_cli.cli.group import CommandGroup
from timesformer_cli.errors import ExitCode

README = PAGES["README.md"]
GROUP = typer.main.get_command(app)
assert isinstance(GROUP, CommandGroup)
COMMANDS = [command for page in PAGES for command in shown_commands(page)]
# Every command of the pages is run here, or stands here with the reason why not.
NOT_RUN = {
    "it installs": """
        pip install .
        pip install '.[onnx]'
        pip install '.[library]'
        pip install '.[gpu]'
        pip install '.[parquet]'
        pip install '.[plot]'
        pip install '.[tensorboard]'
        pip install '.[serve]'
        pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu
        scripts/demo
        scripts/test
        tsf --install-completion""",
    "it needs the hub, or weights from there": """
        tsf clip.mp4
        tsf videos/ --model hr-k600 --views 1x3 --format jsonl > labels.jsonl
        find /archive -name '*.mkv' | tsf - -m base-k400 -o labels.csv
        tsf /archive -m base-k400 --shard 3/16 -o part-3.jsonl
        tsf merge part-*.jsonl -o labels.jsonl --of /archive
        find /archive -name '*.mkv' -print0 | tsf - --output labels.csv
        tsf clip.mp4 -m videoprism-lvt-base --labels "someone falls,someone sits down" --none-below 0.1
        tsf clip.mp4 -m videoprism-lvt-base --labels labels.txt --template "a photo of {}" --template "footage of {}"
        tsf evaluate val.txt --model base-k400 --protocol k400
        tsf evaluate val.csv --predictions val.jsonl --confusion matrix.png
        tsf download-weights base-k400 mmaction2-joint-k400
        tsf download-weights --verify
        tsf download-weights howto100m-8x32 --from-file TimeSformer_divST_8x32_224_HowTo100M.pyth""",
    "it trains, or needs what a training made; tests/training does so": """
        tsf train clips/ --init camera-motion
        tsf train --resume runs/clips
        tsf train shards/train-{000..009}.tar
        tsf evaluate shards/val-{000..001}.tar --model runs/train
        tsf new.mp4 --model runs/clips
        tsf info runs/clips --labels
        tsf suggest unlabelled/ --model runs/clips -k 50 -o to-label.csv
        tsf evaluate data/ --split test --model runs/clips --compare runs/other
        tsf evaluate data/ --split test --model runs/mine --compare runs/other
        torchrun --nproc-per-node 4 -m timesformer_cli train clips/ --batch-size 8
        torchrun --nproc-per-node 2 -m scripts.camera_motion.train --out build/first
        torchrun --nproc-per-node 2 -m scripts.camera_motion.train --init build/first""",
    "an export takes 10 s and more; tests/export does so": """
        tsf export --model runs/clips --onnx
        tsf export --model camera-motion --onnx
        tsf clip.mp4 --model camera-motion.onnx
        tsf info camera-motion.onnx --format json
        tsf export --model runs/clips --pt2 --dtype bfloat16
        tsf convert runs/clips --to official
        tsf convert clips-official --to transformers -o back""",
    "it needs a camera, a stream or a recording that is still written; tests/timelines does so": """
        tsf watch 0 --model camera-motion
        tsf watch rtsp://camera.local/stream --model base-k400
        ffmpeg -i ... -f mpegts - | tsf watch - --format csv > labels.csv
        tsf watch recording.ts --follow -o labels.jsonl""",
    "it needs a library that another command made; tests/library does so": """
        tsf embed examples/ --model camera-motion --every 0.5 -o examples.lance
        tsf search examples.lance examples/pan_left.mp4 -k 3
        tsf search examples.lance --duplicates --format csv
        tsf search examples.lance --label "zoom in" --min-score 0.6 --format m3u > zooms.m3u
        tsf library examples.lance""",
    "it needs torchcodec, which is no part of the tests; tests/video/test_torchcodec.py does so": """
        tsf classify videos/ --model camera-motion --decoder torchcodec""",
    "it serves until it is ended, or asks what serves; tests/serving does so": """
        tsf serve --model camera-motion
        docker build -t tsf-serve .
        docker run -p 8000:8000 -v ./token:/run/secrets/tsf-token:ro tsf-serve --model camera-motion
        curl -F video=@clip.mp4 -F top_k=1 http://127.0.0.1:8000/v1/classify
        curl http://127.0.0.1:8000/v1/timeline -H 'Content-Type: application/json' -d '{"path": "a/film.mp4", "every": 1, "format": "jsonl"}'""",
    "it needs a cluster; tests/scale makes one": """
        tsf classify videos/ --model camera-motion --engine ray -o parts
        tsf classify s3://archive/2024/ -m base-k400 --engine ray --address auto -o s3://answers/2024
        tsf embed 's3://archive/shards/*.tar' -m base-k400 --engine ray --address auto -o s3://answers/vectors
        tsf timeline 'list.parquet#url' -m base-k400 --engine ray --address auto -o s3://answers/segments""",
    "it measures this machine": """
        python -m scripts.gpu --output docs/gpu.md
        tsf doctor
        tsf models
        tsf benchmark --attention joint --frames 16""",
}
LEFT_OUT = {line.strip() for lines in NOT_RUN.values() for line in lines.strip().splitlines()}
RUN = [
    command
    for command in dict.fromkeys(COMMANDS)
    if command.command not in LEFT_OUT
    and (command.output or not any(c.output for c in COMMANDS if c.command == command.command))
]
# Whose options a page may name alone, as `--views`; a page that is not here is about all commands.
ABOUT = {
    "docs/classify.md": ("classify", "merge"),
    "docs/evaluate.md": ("evaluate",),
    "docs/export.md": ("export", "convert", "classify", "train"),
    "docs/benchmark.md": ("benchmark",),
    "docs/training.md": ("train", "suggest", "classify"),
    "docs/videos.md": ("classify",),
    "docs/performance.md": ("classify",),
    "docs/api.md": ("classify", "timeline", "serve"),
    "docs/weights.md": ("classify", "download-weights"),
    "docs/embed.md": ("embed",),
    "docs/explain.md": ("explain",),
    "docs/library.md": ("search", "library", "embed"),
    "docs/models.md": ("models", "info", "download-weights", "classify"),
    "docs/install.md": ("doctor",),
    "docs/serve.md": ("serve", "classify"),
    "docs/report.md": ("classify", "timeline", "evaluate", "search"),
    "docs/labels.md": ("classify", "timeline", "evaluate", "watch"),
}


@pytest.fixture(scope="module")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands name."""
    folder = tmp_path_factory.mktemp("typed")
    shutil.copytree(ROOT / "examples", folder / "examples")
    (folder / "videos").mkdir()
    for name in ("clip.mp4", "new.mp4", "videos/a.mp4"):
        shutil.copy(ROOT / "examples" / "pan_right.mp4", folder / name)
    for label in ("pan_left", "pan_right", "zoom_in", "zoom_out"):
        (folder / "clips" / label).mkdir(parents=True)
        film = (ROOT / "examples" / f"{label}.mp4").read_bytes()
        for number in range(5):  # no two alike
            (folder / "clips" / label / f"{number}.mp4").write_bytes(film + bytes(number))
    (folder / "notes.mp4").write_text("These are notes, and no video.\n" * 9)
    return folder


@pytest.fixture
def place(_place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """That folder, as the working directory, on a terminal of 100 columns."""
    monkeypatch.chdir(_place)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TSF_DEVICE", "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several would wait for one another where other programs run
    yield _place
    torch.set_num_threads(threads)


@pytest.mark.parametrize("shown", RUN, ids=lambda shown: f"{shown.page}: {shown.command}")
def test_what_is_shown_is_what_the_command_prints(shown: ShownCommand, place: Path) -> None:
    """Without output shown, the command is only run."""
    before, _, after = shown.command.rpartition(" | ")
    given = None
    if before:
        if os.name == "nt":
            pytest.skip("the pipe is one of POSIX")
        given = subprocess.run(before, shell=True, check=True, capture_output=True).stdout
    assert " > " not in after
    ran = CliRunner().invoke(app, shown.words(), input=given)
    text = "\n".join(shown.output)
    expected_to_fail = bool(re.search(r'^error: |"status": "error"', text, re.MULTILINE))
    assert (ran.exit_code != 0) == expected_to_fail, ran.output
    if shown.output:
        lines = (ran.stdout or ran.stderr).splitlines()
        labels_from = 0 if shown.words()[0] in GROUP.commands else 55  # of tables of labels
        require_like(shown.output, [line.rstrip() for line in lines], labels_from=labels_from)


def test_commands_that_are_not_run_stand_on_a_page() -> None:
    assert {command.command for command in COMMANDS} >= LEFT_OUT


@pytest.mark.parametrize(
    "shown",
    [
        command
        for command in COMMANDS
        if command.words() and not "".join(command.output).startswith("error: ")
    ],
    ids=lambda shown: f"{shown.page}: {shown.command}",
)
def test_a_command_shown_is_one_that_tsf_reads(shown: ShownCommand, place: Path) -> None:
    """Also those that are not run: no unknown option, no value that an option does not take."""
    words = shown.words()
    if words[0].startswith("--"):
        assert words[0] in {option for each in GROUP.params for option in each.opts}
        return
    root = GROUP.make_context("tsf", [], resilient_parsing=True)
    name, command, rest = GROUP.resolve_command(root, words)
    assert command is not None
    with command.make_context(name, rest, parent=root):
        pass


@pytest.mark.parametrize("page", PAGES)
def test_every_option_named_is_one_of_its_command(page: str) -> None:
    options = {name: set(found) for name, found in GROUP.options().items()}
    ours = {"--version", "--install-completion"}
    for code in inline_code(PAGES[page]):
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", code))
        command = re.match(r"tsf ([a-z-]+)", code)
        if code.startswith(("pip ", "hf ")) or not named:
            continue
        script = re.match(r"python -m (scripts[\w.]+)", code)
        if command and command[1] in options:
            known = options[command[1]]
        elif script:
            known = set(re.findall(r'"(--[a-z0-9-]+)"', _source(script[1])))
        else:
            about = ABOUT.get(page, options)
            known = ours.union(*(options[name] for name in about))
            for name in re.findall(r"python -m (scripts[\w.]+)", PAGES[page]):
                known |= set(re.findall(r'"(--[a-z0-9-]+)"', _source(name)))
        assert named <= known, code


def _source(module: str) -> str:
    """A script's text."""
    return (ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in PAGES if python_code(page)])
def test_python_code_runs(page: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, frames = torch.zeros(1, 8, 3, 96, 96), torch.zeros(1, 8, 96, 96, 3, dtype=torch.uint8)
    exec(python_code(page), {"clip": clip, "frames": frames})
    assert "pan " in capsys.readouterr().out


def test_every_link_leads_somewhere() -> None:
    others = ["CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md"]
    pages = PAGES | {page: (ROOT / page).read_text(encoding="utf-8") for page in others}
    for page, text in pages.items():
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
            path = (ROOT / page).parent / target if target else ROOT / page
            assert path.exists(), f"{page}: {target}"
            if anchor:
                assert anchor in anchors(path.read_text(encoding="utf-8")), f"{page}: #{anchor}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    assert {page for page in PAGES if f"({page}" in README} | {"README.md"} == set(PAGES)


def test_the_table_of_models_is_the_catalogue() -> None:
    ran = CliRunner().invoke(app, ["models", "--format", "markdown"])
    assert f"\n\n{ran.stdout}\n" in PAGES["docs/models.md"]


def test_the_exit_codes_are_all_of_them() -> None:
    section = PAGES["docs/classify.md"].split("## Exit codes")[1].split("\n#")[0]
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    assert codes == {code.value for code in ExitCode}


def test_the_options_of_classify_are_all_of_them() -> None:
    section = PAGES["docs/classify.md"].split("## Options")[1].split("\n#")[0]
    named = set(re.findall(r"`(--?[a-z][a-z-]*)", section))
    assert named == GROUP.options()["classify"] - {"--help", "-h"}


def test_the_commands_are_all_of_them() -> None:
    named = set(re.findall(r"`tsf ([a-z-]+)", README)) | {"version"}  # which the help of tsf names
    assert named >= set(GROUP.commands)


def test_the_readme_fits_three_screens() -> None:
    lines = README.splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 120] == []


def test_the_figures_of_the_readme_stand_where_they_are_explained() -> None:
    section = README.split("## How fast")[1].split("\n## ")[0]
    figures = re.findall(r"\| ([\d,]+) \| (\d\.\d\d)x \|", section)
    assert len(figures) >= 6
    explained = PAGES["docs/performance.md"]
    for milliseconds, ratio in figures:
        assert re.search(rf"\| {milliseconds} .*\| {ratio}x", explained), milliseconds
