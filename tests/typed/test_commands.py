"""Typed schemes in the commands: drawn, costed, plotted, and carried by a model's files."""

import json

import pytest
from typer.testing import CliRunner

from tests.support.models import TYPED, randomised, tiny
from timesformer_cli import cost
from timesformer_cli.cli.app import app
from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import WeightsError
from timesformer_cli.schemes import PAPER, SCHEMES
from timesformer_cli.weights.load import load_path, save_model

LATE_TIME = TYPED["late-time"]


def tsf(*arguments: object, **environment: str):
    return CliRunner().invoke(app, [*map(str, arguments)], env=environment)


def test_a_typed_scheme_has_a_row_and_a_line_beside_the_papers(tmp_path):
    plot = tmp_path / "cost.svg"
    both = ["--attention", "paper", "--attention", LATE_TIME, "--frames", "8,16"]
    ran = tsf("benchmark", "--no-measure", *both, "--format", "json", "--plot", plot)
    assert ran.exit_code == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert [row["attention"] for row in report["rows"]] == [*PAPER, LATE_TIME] * 2
    work = cost.macs(ModelConfig(attention=LATE_TIME)).total
    assert report["rows"][len(PAPER)]["gmacs"] == work / 1e9
    assert "joint costs less than late-time below" in ran.stdout
    drawn = plot.read_text()
    assert all(f">{name}<" in drawn for name in (*PAPER, "late-time"))


def test_a_table_calls_it_by_its_name_and_puts_it_before_the_relatives():
    words = ["--attention", "vivit-2,divided", "--attention", LATE_TIME, "--no-measure"]
    ran = tsf("benchmark", *words, COLUMNS="120")
    assert ran.exit_code == 0, ran.stderr
    lines = [line.split()[0] for line in ran.stdout.splitlines() if line.strip()]
    assert lines[2:6] == ["divided", "late-time", "relatives", "vivit-2"]


def test_two_schemes_with_one_name_are_refused():
    one, other = "t h w -> (t) (h w)", "t h w -> (t) (h w) stride=2"
    ran = tsf("benchmark", "--no-measure", "--attention", one, "--attention", other)
    assert ran.exit_code == 2
    assert "two schemes are called 'h w'; give each a name with name=" in ran.stderr


def test_a_shape_that_a_typed_scheme_does_not_take_is_an_error_with_a_way_out():
    ran = tsf("benchmark", "--no-measure", "--attention", TYPED["strided"], "--frames", "7")
    assert ran.exit_code == 2
    assert "strided at 7 frames of 224 px: " in ran.stderr and "8 frames of 224 px" in ran.stderr


@pytest.mark.parametrize("definition", TYPED.values(), ids=TYPED)
def test_explain_draws_every_fact(definition):
    ran = tsf("benchmark", "--explain", definition)
    assert ran.exit_code == 0, ran.stderr
    steps = ran.stdout.split("\nstep ")[1:]
    assert len(steps) == len(ModelConfig(attention=definition, heads=12).scheme.passes)
    assert all(step[step.index("frame 1") :].count("◆") == 1 for step in steps)


def test_explain_draws_a_split_that_is_larger_than_the_picture():
    ran = tsf("benchmark", "--explain", "(a t) (c e h) w -> (t) (h w a c e) a=3 c=3 e=7")
    assert ran.exit_code == 0, ran.stderr
    assert "(a = 2, c = 2, e = 2 here, a = 3, c = 3, e = 7 in the model)" in " ".join(
        ran.stdout.split()
    )
    assert "8 frames do not divide" in ran.stdout


def test_a_file_is_read_by_both(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("name = 'mine'\n[[passes]]\nsentence = 't h w -> (t) (h w)'\n")
    assert tsf("benchmark", "--explain", path).stdout.startswith("mine: t h w -> (t) (h w)")
    ran = tsf("benchmark", "--no-measure", "--attention", path, "--format", "json")
    (row,) = json.loads(ran.stdout)["rows"]
    assert row["attention"] == "name=mine; t h w -> (t) (h w)"


@pytest.fixture
def folder(tmp_path):
    save_model(randomised(tiny(attention=LATE_TIME)), tmp_path / "late")
    return tmp_path / "late"


def test_the_definition_is_in_the_folder_and_info_says_it(folder):
    values = json.loads((folder / "config.json").read_text())
    assert values["tsf"]["attention"] == LATE_TIME
    assert load_path(folder)[0].config.attention == LATE_TIME
    facts = json.loads(tsf("info", folder, "--format", "json").stdout)
    assert facts["scheme"] == "late-time"
    assert facts["about_scheme"] == "t h w -> (t) (h w); t h w -> (h w) (t) cls=absent"


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ("t h w -> (t) (h)", r"w \(columns\) stands before the arrow"),
        ("t h w -> (t) (h w) " * 999, "a scheme of 18981 characters"),
        ("t h w -> (t) (h w)\x1b[2J", "which no sentence has"),
        ("t h w -> () (t h w) name=late-time", "late-time model"),  # its tensors are another's
    ],
    ids=range(4),
)
def test_a_folder_with_another_definition_is_refused_in_one_line(folder, definition, said):
    path = folder / "config.json"
    values = json.loads(path.read_text())
    values["tsf"]["attention"] = definition
    path.write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=said) as caught:
        load_path(folder)
    assert str(caught.value).isprintable()


def test_a_scheme_of_tsf_is_still_called_by_its_name():
    assert all(tiny(attention=name).scheme_name == name for name in SCHEMES)
