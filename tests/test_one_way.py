"""One way through: from the command line to the printed rows, and a model's name looked up once."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import timesformer_cli
from tests.support import clips
from tests.support.commands import COMMANDS, command_name, run_command
from timesformer_cli.cli.app import app
from timesformer_cli.weights.hub import locate as module

PACKAGE = Path(timesformer_cli.__file__).parent


@pytest.fixture
def located(monkeypatch):
    """The names that were located, in order."""
    names = []
    real = module.locate

    def counted(name, **how):
        names.append(name)
        return real(name, **how)

    monkeypatch.setattr(module, "locate", counted)
    return names


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return clips.write(tmp_path_factory.mktemp("videos") / "clip.mp4", 24)


@pytest.mark.parametrize(
    "arguments", [*COMMANDS, ["download-weights", "camera-motion"]], ids=command_name
)
def test_a_command_looks_a_models_name_up_once(arguments, located, model_folder, tmp_path):
    ran = run_command(arguments, str(model_folder), tmp_path)
    assert ran.exit_code == 0, ran.stderr
    assert len(located) == 1


def test_two_models_are_two_names(located, model_folder, video, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(f"path,label\n{video},a\n")
    model = str(model_folder)
    words = ["evaluate", str(table), "--model", model, "--compare", model]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert len(located) <= 2


def test_the_python_functions_look_it_up_once(located, model_folder, video):
    timesformer_cli.load_model(model_folder)
    timesformer_cli.load_model(model_folder, dtype="float32")
    list(timesformer_cli.classify(video, model=model_folder))
    assert len(located) == 3


def test_few_files_lie_between_the_arguments_and_the_model(model_folder, video, monkeypatch):
    """Files of the package on the stack when frames reach the model, each handing on to the next."""
    from timesformer_cli.inference.predictor import Predictor

    stacks = []
    start = Predictor.start

    def counted(self, frames, **how):
        frame, files = sys._getframe(1), []
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(PACKAGE):
                files.append(str(path.relative_to(PACKAGE)))
            frame = frame.f_back
        stacks.append(list(dict.fromkeys(reversed(files))))
        return start(self, frames, **how)

    monkeypatch.setattr(Predictor, "start", counted)
    ran = CliRunner().invoke(app, ["classify", str(video), "--model", str(model_folder)])
    assert ran.exit_code == 0
    assert stacks == [
        [
            "cli/group.py",
            "cli/classify.py",
            "cli/progress.py",
            "inference/classify.py",
            "inference/batching.py",
        ]
    ]
