"""The pictures of `tsf benchmark`: schemes drawn, reports plotted, published tables, the docs."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scripts.docs import schemes_page
from timesformer_cli.cli.app import app
from timesformer_cli.installing import how_to_install
from timesformer_cli.schemes import PAPER, RELATIVES, SCHEMES


def tsf(*arguments: str, **environment: str):
    return CliRunner().invoke(app, ["benchmark", *arguments], env=environment)


@pytest.mark.parametrize("attention", PAPER)
def test_explain_draws_each_pass_and_marks_whom_the_query_sees(attention):
    ran = tsf("--explain", attention)
    assert ran.exit_code == 0 and "\x1b" not in ran.stdout
    steps = ran.stdout.split("\nstep ")[1:]
    assert len(steps) == len(SCHEMES[attention].passes)
    for grouping, step in zip(SCHEMES[attention].passes, steps, strict=True):
        assert grouping.sentence in step
        members = grouping.sizes((4, 4, 4))[1]
        drawn = step[step.index("frame 1") :]
        assert drawn.count("◆") == 1
        assert drawn.count("■") == members - 1, "all of the query's group but itself"
    reached = 16 if attention == "space" else 64
    assert f"{reached} of 64 patches reached" in steps[-1]


# How many patches the query sees in each step, and how many have reached it in the end.
SEEN_OF_RELATIVES = {
    "vivit-1": ([63], 64),
    "vivit-2": ([15], 16),
    "vivit-3": ([15, 3], 64),
    "vivit-4": ([18], 19),
    "videomae": ([63], 64),
    "vjepa2": ([63], 64),
    "videoprism": ([15], 16),
    "lucidrains": ([3, 15], 64),
    "windowed": ([15], 16),
    "shifted": ([7, 7], 64),
    "local-strided": ([2, 4], 15),
    "two-pathway": ([3, 15], 64),
}


@pytest.mark.parametrize("attention", RELATIVES)
def test_explain_draws_the_relatives_too(attention):
    seen, reached = SEEN_OF_RELATIVES[attention]
    ran = tsf("--explain", attention, COLUMNS="80")
    assert ran.exit_code == 0
    steps = ran.stdout.split("\nstep ")[1:]
    assert [step[step.index("frame 1") :].count("■") for step in steps] == seen
    assert f"{reached} of 64 patches reached" in steps[-1]


def test_explain_places_the_patches_where_the_sentence_says():
    lines = tsf("--explain", "divided").stdout.splitlines()
    start = lines.index("step 1 of 2  t h w -> (h w) (t)")
    assert lines[start + 2 : start + 6] == [
        "· · · ·  · · · ·  · · · ·  · · · ·",
        "· · ■ ·  · · ◆ ·  · · ■ ·  · · ■ ·",
        "· · · ·  · · · ·  · · · ·  · · · ·",
        "· · · ·  · · · ·  · · · ·  · · · ·",
    ]


def test_paper_shows_both_numbers_and_marks_accuracy_as_reported():
    ran = tsf("--paper", COLUMNS="80")
    assert ran.exit_code == 0
    lines = ran.stdout.splitlines()
    assert max(len(line) for line in lines if " %" in line) <= 80
    (divided,) = (line.split() for line in lines if line.startswith("divided"))
    assert divided == ["divided", "121.4", "121.39", "-0.01", "%", "78.0", "59.5"]
    assert all(figure in ran.stdout for figure in ("0.587", "5.108", "7.140"))
    assert "reported" in ran.stdout and not any(line != line.rstrip() for line in lines)
    assert len(json.loads(tsf("--paper", "--format", "json").stdout)) == 21


@pytest.mark.parametrize("frames", ["8,16,32", "8"])
def test_plot_names_each_scheme_and_marks_oom(tmp_path, frames):
    path = tmp_path / "out.svg"
    arguments = ["--attention", "all", "--frames", frames]
    arguments += ["--kernel", "math", "--memory-limit", "1GiB"]
    ran = tsf("--no-measure", *arguments, "--plot", str(path))
    assert ran.exit_code == 0, ran.stderr
    drawn = path.read_text()
    assert all(f">{name}<" in drawn for name in SCHEMES)
    assert (">joint OOM<" in drawn) == ("16" in frames)
    assert ">divided OOM<" not in drawn


def test_plot_draws_a_png_too(tmp_path):
    path = tmp_path / "out.png"
    ran = tsf("--no-measure", "--image-size", "224,448", "--frames", "8,16", "--plot", str(path))
    assert ran.exit_code == 0, ran.stderr
    assert path.read_bytes().startswith(b"\x89PNG")


def test_plot_without_matplotlib_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ran = tsf("--no-measure", "--plot", str(tmp_path / "out.png"))
    assert ran.exit_code == 2
    assert f"--plot needs matplotlib: {how_to_install('plot')}" in ran.stderr


def test_the_page_of_schemes_is_current():
    page = Path(__file__).parents[2] / "docs" / "schemes.md"
    assert page.read_text(encoding="utf-8") == schemes_page.page(), (
        "python -m scripts.docs.schemes_page > docs/schemes.md"
    )
