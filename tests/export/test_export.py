"""Exported files: the graph, the answer, what they carry, and the command around them."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
import torch
from onnx import helper, numpy_helper
from typer.testing import CliRunner

import timesformer_cli
from tests.support.contract import require_valid
from tests.support.models import TYPED, randomised, tiny
from timesformer_cli.cli.app import app
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import DeviceError, ExitCode, UsageError, WeightsError
from timesformer_cli.export import run as task
from timesformer_cli.export import write
from timesformer_cli.export.onnx_bytes import write_inside
from timesformer_cli.inference.exported.manifest import Manifest
from timesformer_cli.inference.exported.model import normalise
from timesformer_cli.inference.exported.open import open_exported
from timesformer_cli.inference.fast.blocks import LayerFactory
from timesformer_cli.inference.fast.model import FastModel
from timesformer_cli.installing import how_to_install
from timesformer_cli.schemes import SCHEMES
from timesformer_cli.weights.description import Description
from timesformer_cli.weights.load import save_model

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "zoom_in.mp4"
WRITE = {
    "onnx": lambda *given: write.write_onnx(*given, opset=task.OPSET),
    "pt2": write.write_pt2,
}


def small(**changes):
    """A model whose answer depends on all it is given, and on how its pictures are prepared."""
    model = randomised(tiny(**changes))
    model.preprocessing = Preprocessing(
        resize=72, crop=(64, 64), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)
    )
    model.sampling = Sampling(frames=8, stride=4)
    return model


def manifest_of(model, **changes):
    described = Description(
        config=model.config,
        labels=model.labels,
        sampling=model.sampling,
        preprocessing=model.preprocessing,
    )
    given = {"dtype": "float32", "pixels": False, "batch": None, **changes}
    return Manifest(description=described, source="small", revision="abc", version="0", **given)


def frames_of(model, clips):
    height, width = model.preprocessing.crop
    shape = (clips, model.sampling.frames, height // 16, width // 16, 3)
    colours = torch.randint(0, 256, shape, dtype=torch.uint8)
    return colours.repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)


def expected(model, frames):
    prepared = model.preprocessing
    with torch.inference_mode():
        return model(torch.from_numpy(normalise(frames.numpy(), prepared.mean, prepared.std)))


def assert_same(runs, model, clips):
    frames = frames_of(model, clips)
    wanted = expected(model, frames)
    assert wanted.std() > 1e-2  # what is seen matters
    torch.testing.assert_close(runs(frames), wanted, atol=1e-5, rtol=0)


def exported(folder, model, kind, **changes):
    path = folder / f"model.{kind}"
    WRITE[kind](model, manifest_of(model, **changes), path)
    return path


@pytest.fixture(scope="module")
def model():
    return small(depth=1)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small"
    save_model(model, path)
    return path


@pytest.fixture(scope="module", params=["onnx", "pt2"])
def made(request, folder, tmp_path_factory):
    """A file that the command wrote, alone in its folder, and what it said."""
    target = tmp_path_factory.mktemp("export") / f"made.{request.param}"
    kind = {"onnx": [], "pt2": ["--pt2"]}[request.param]
    ran = tsf("export", "--model", folder, *kind, "-o", target, "--format", "json")
    assert ran.exit_code == ExitCode.OK, ran.stderr
    said = json.loads(ran.stdout)
    require_valid("export", said)
    return target, said


@pytest.fixture(scope="module")
def artefact(made):
    return made[0]


SLOW = pytest.mark.slow  # torch's ONNX exporter takes seconds a model
VARIANTS = [{"attention": name} for name in (*SCHEMES, *TYPED.values())] + [
    {"embedding": "conv-stem"},
    {"embedding": "flow-stem"},
    {"tubelet": 2},
    {"pooler_blocks": 1},
]


def check_graph(path):
    """Standard operators, and no shape computed but that of the class token, one a clip."""
    onnx.checker.check_model(path, full_check=True)
    made = onnx.load(path)
    assert [(one.domain, one.version) for one in made.opset_import] == [("", task.OPSET)]
    assert {node.domain for node in made.graph.node} == {""}
    constant = {tensor.name for tensor in made.graph.initializer}
    for node in made.graph.node:
        if node.op_type in ("Reshape", "Slice", "Split", "Unsqueeze"):
            assert set(node.input[1:]) <= constant, node
    kinds = Counter(node.op_type for node in made.graph.node)
    assert not {"ScatterND", "Range", "If", "Loop", "Constant", "Identity"} & set(kinds)
    assert kinds["Shape"] <= 1
    for value in (*made.graph.input, *made.graph.output):
        first = value.type.tensor_type.shape.dim[0]
        assert first.dim_value or first.dim_param == "batch"


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
@pytest.mark.parametrize("kind", [pytest.param("onnx", marks=SLOW), "pt2"])
def test_any_batch_gives_the_models_logits_from_a_graph_made_with_two_clips(
    tmp_path, kind, changes
):
    model = small(depth=1, **changes)
    path = exported(tmp_path, model, kind)
    if kind == "onnx":
        check_graph(path)
    for clips in (1, 2, 5):
        assert_same(open_exported(path), model, clips)


def test_the_file_gives_the_models_logits(artefact, model):
    if artefact.suffix == ".onnx":
        check_graph(artefact)
    for clips in (1, 2, 5):
        assert_same(open_exported(artefact), model, clips)


@pytest.mark.parametrize("kind", [pytest.param("onnx", marks=SLOW), "pt2"])
def test_with_preprocessing_the_graph_takes_pixels(tmp_path, kind, model):
    runs = open_exported(exported(tmp_path, model, kind, pixels=True))
    assert_same(runs, model, 3)
    with pytest.raises(UsageError, match="takes pixels"):
        runs(torch.zeros(1, 8, 3, 64, 64))


@pytest.mark.parametrize("kind", [pytest.param("onnx", marks=SLOW), "pt2"])
def test_a_fixed_batch_is_filled_up(tmp_path, kind, model):
    assert_same(open_exported(exported(tmp_path, model, kind, batch=2)), model, 5)


@pytest.mark.parametrize(
    ("dtype", "share", "near"),
    [pytest.param("float16", 0.62, 0.05, marks=SLOW), ("int8", 0.5, 0.5)],
)
def test_smaller_numbers_make_a_smaller_file_and_nearly_the_same_answer(
    tmp_path, dtype, share, near
):
    model = small(depth=1, attention="joint", embedding="conv-stem")
    path = exported(tmp_path, model, "onnx", dtype=dtype)
    weights = sum(4 * parameter.numel() for parameter in model.parameters())
    assert path.stat().st_size < share * weights
    onnx.checker.check_model(path)
    assert {node.domain for node in onnx.load(path).graph.node} == {""}
    frames = frames_of(model, 4)
    difference = (open_exported(path)(frames) - expected(model, frames)).abs().max()
    assert 0 < difference < near


def test_the_file_alone_says_what_it_is(artefact, folder, model):
    runs = open_exported(artefact)
    revision = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert (runs.config, runs.labels) == (model.config, model.labels)
    assert (runs.preprocessing, runs.sampling) == (model.preprocessing, model.sampling)
    assert (runs.manifest.source, runs.manifest.revision, runs.dtype) == (
        "small",
        f"sha256:{revision}",
        torch.float32,
    )
    assert str(ROOT).encode() not in artefact.read_bytes()  # nor where it was made


def test_another_clip_shape_dtype_or_device_is_an_error(artefact):
    with pytest.raises(UsageError, match=r"takes clips of shape \(8, 3, 64, 64\)"):
        open_exported(artefact)(torch.zeros(1, 16, 3, 64, 64))
    with pytest.raises(UsageError, match="exported in float32"):
        open_exported(artefact, dtype="int8")
    with pytest.raises(DeviceError, match="on the CPU only"):
        open_exported(artefact, device="cuda")


def test_classify_runs_it_as_it_runs_the_model(artefact, folder):
    found, wanted = (
        next(timesformer_cli.classify(EXAMPLE, model=path, dtype="float32", device="cpu"))
        for path in (artefact, folder)
    )
    assert [p.index for p in found.predictions] == [p.index for p in wanted.predictions]
    for mine, theirs in zip(found.predictions, wanted.predictions, strict=True):
        assert mine.score == pytest.approx(theirs.score, abs=1e-4)
    loaded = timesformer_cli.load_model(artefact, dtype="auto")
    assert next(timesformer_cli.classify(EXAMPLE, model=loaded)).predictions == found.predictions
    with pytest.raises(UsageError, match="--frames 16"):
        next(timesformer_cli.classify(EXAMPLE, model=artefact, frames=16))
    with pytest.raises(WeightsError, match="cannot be changed"):
        timesformer_cli.load_model(artefact)


@pytest.mark.slow
def test_above_two_gigabytes_the_tensors_lie_beside_the_file(tmp_path, model, monkeypatch):
    monkeypatch.setattr(write, "LARGEST_INSIDE", 1000)
    path = exported(tmp_path, model, "onnx")
    assert {file.name for file in tmp_path.iterdir()} == {"model.onnx", "model.onnx.data"}
    assert_same(open_exported(path), model, 2)
    (tmp_path / "model.onnx.data").rename(tmp_path / "moved")
    with pytest.raises(WeightsError, match="no plain file beside it"):
        open_exported(path)


# The command.


def tsf(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_the_report_says_what_was_proven(made):
    target, report = made
    assert report["files"] == [str(target)]
    assert report["bytes"] == target.stat().st_size
    assert report["shape"] == [None, 8, 3, 64, 64]
    assert report["revision"].startswith("sha256:")
    shown = report["proof"]
    assert (shown["clips"], shown["real"], shown["batches"]) == (5, 3, [1, 4])
    assert shown["difference"] < 1e-4
    assert shown["agreement"] == 1
    assert list(target.parent.iterdir()) == [target]


def test_a_table_shows_the_difference_and_other_clips_are_resized_for(tmp_path, folder):
    target = tmp_path / "made.pt2"
    ran = tsf("export", "--model", folder, "--pt2", "-o", target, "--frames", 4, "--image-size", 96)
    assert ran.exit_code == ExitCode.OK, ran.stderr
    assert re.search(r"logits within \d\.\de-0\d of the model's \(tolerance 0.0001\)", ran.stdout)
    assert "(batch, 4, 3, 96, 96)" in ran.stdout
    assert open_exported(target).preprocessing.resize == 108


def test_a_file_with_another_answer_is_not_kept_and_the_old_one_stays(tmp_path, folder):
    target = tmp_path / "made.pt2"
    target.write_bytes(b"old")
    ran = tsf("export", "--model", folder, "--pt2", "-o", target, "--overwrite", "--tolerance", "0")
    assert ran.exit_code == ExitCode.SOME_FAILED
    assert "more than --tolerance 0" in ran.stderr
    assert target.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["made.pt2"]


def test_exported_files_and_checkpoints_are_timed_side_by_side(artefact, folder):
    ran = tsf("benchmark", "-m", f"{artefact},{folder}", "--runs", 3, "--format", "json")
    assert ran.exit_code == ExitCode.OK, ran.stderr
    one, other = json.loads(ran.stdout)
    require_valid("benchmark-models", one)
    assert one["runtime"].startswith(
        {".onnx": "onnxruntime", ".pt2": "torch.export"}[artefact.suffix]
    )
    assert other["runtime"] == f"torch {torch.__version__}"
    assert (one["bytes"], one["runs"]) == (artefact.stat().st_size, 3)
    assert max(one["share"], other["share"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--opset", "11"], "--opset 11: torch exports 18 to"),
        (["--onnx", "--pt2"], "one of --onnx"),
        (["-o", "model.pt2"], "a file of --onnx ends in .onnx"),
        (["-o", "nowhere/model.onnx"], "cannot be written there"),
        (["--batch", "0"], "--batch is dynamic, or"),
        (["--pt2", "--dtype", "int8"], "only an .onnx is rounded to int8"),
        (["--dtype", "bfloat16"], "give float16, or --pt2"),
        (["--pt2", "--opset", "20"], "--opset is ONNX's"),
    ],
    ids=str,
)
def test_what_cannot_be_written_is_said_before_any_work(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    ran = tsf("export", "--model", "camera-motion", *arguments)
    assert ran.exit_code == ExitCode.USAGE
    assert message in ran.stderr
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_kept(tmp_path):
    (tmp_path / "model.onnx").write_text("mine")
    ran = tsf("export", "--model", "camera-motion", "-o", tmp_path / "model.onnx")
    assert (ran.exit_code, "give --overwrite" in ran.stderr) == (ExitCode.USAGE, True)
    assert (tmp_path / "model.onnx").read_text() == "mine"


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0,
    reason="root, and whoever it is on Windows, may write anywhere",
)
def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    tmp_path.chmod(0o500)
    assert tsf("export", "-o", tmp_path / "model.onnx").exit_code == ExitCode.USAGE


@pytest.mark.parametrize("module", ["onnxruntime", "onnx"])
def test_a_missing_package_is_named(tmp_path, monkeypatch, artefact, module):
    if artefact.suffix != ".onnx":
        pytest.skip("torch alone runs it")
    monkeypatch.setitem(sys.modules, module, None)
    for arguments in (
        ["export", "-o", tmp_path / "model.onnx"],
        ["classify", EXAMPLE, "-m", artefact],
    ):
        ran = tsf(*arguments)
        assert ran.exit_code == ExitCode.USAGE
        assert f"an .onnx needs {module}: {how_to_install('onnx')}\n" in ran.stderr


def test_without_a_compiler_aoti_says_so(tmp_path, folder, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    ran = tsf("export", "--model", folder, "--aoti", "-o", tmp_path / "model.pt2")
    assert ran.exit_code == ExitCode.DEVICE
    assert "there is no compiler 'no-such-compiler'" in ran.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGINT, "interrupted\n"), (signal.SIGTERM, "terminated\n")],
    ids=["ctrl-c", "sigterm"],
)
def test_an_export_that_is_told_to_end_leaves_nothing(tmp_path, folder, number, said):
    command = [sys.executable, "-m", "timesformer_cli", "export", "--model", folder, "-o", "m.onnx"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list(tmp_path.iterdir()), "it never began to write"
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        assert process.stderr.read() == said
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_compiled_package_gives_the_models_answer(tmp_path, folder):
    ran = tsf(
        "export", "--model", folder, "--aoti", "-o", tmp_path / "model.pt2", "--format", "json"
    )
    assert ran.exit_code == ExitCode.OK, ran.stderr
    assert json.loads(ran.stdout)["proof"]["difference"] < 1e-4
    with pytest.raises(WeightsError, match="machine code"):
        open_exported(tmp_path / "model.pt2")


@pytest.fixture(scope="module")
def camera_motion(tmp_path_factory):
    path = tmp_path_factory.mktemp("camera") / "camera-motion.onnx"
    task.export_model(task.ExportOptions(model="camera-motion", output=path, version="0"))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zoom_in", "pan_left", "static"])
def test_the_example_script_finds_the_label_with_nothing_of_ours(camera_motion, name):
    script, video = ROOT / "examples" / "run_onnx.py", ROOT / "examples" / f"{name}.mp4"
    assert len(script.read_text().splitlines()) < 40
    assert set(re.findall(r"^import (\w+)", script.read_text(), re.MULTILINE)) <= {
        "cv2",
        "json",
        "numpy",
        "onnxruntime",
        "sys",
    }
    ran = subprocess.run(
        [sys.executable, script, camera_motion, video], capture_output=True, text=True, timeout=60
    )
    assert ran.stdout.splitlines()[0].endswith(name.replace("_", " ")), ran.stderr


def test_tracing_does_not_note_where_operators_were_called(monkeypatch):
    noted = []

    class Noted(torch.fx.proxy.CapturedTraceback):
        @staticmethod
        def extract(*given, **more):
            noted.append(given)
            return torch.utils._traceback.CapturedTraceback.extract(*given, **more)

    monkeypatch.setattr("torch.fx.proxy.CapturedTraceback", Noted)
    before = vars(torch.fx.config).copy()
    model = small()
    write._trace(FastModel(model, LayerFactory()), manifest_of(model))
    assert not noted, "it costs a sixth of the time, and is not written"
    assert vars(torch.fx.config) == before


def test_a_file_written_a_tensor_at_a_time_is_that_of_onnx(tmp_path):
    arrays = {
        "large": np.arange(5000, dtype=np.float32).reshape(50, 100),
        "half": np.arange(5000, dtype=np.float16),
        "small": np.array([3], np.int64),
        "empty": np.zeros((0, 7), np.float32),
    }
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 100])
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 100])
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    plain = helper.make_model(helper.make_graph(nodes, "g", [value], [output], tensors))
    plain.metadata_props.add(key="tsf.version", value="1")
    write_inside(onnx_ir.from_proto(plain), tmp_path / "model.onnx")
    read = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(read)
    held = {tensor.name: tensor for tensor in read.graph.initializer}
    assert held.keys() == arrays.keys()
    for name, array in arrays.items():
        assert held[name].data_type == helper.np_dtype_to_tensor_dtype(array.dtype)
        np.testing.assert_array_equal(numpy_helper.to_array(held[name]), array)
    for model in (plain, read):
        del model.graph.initializer[:]
        del model.graph.value_info[:]  # onnx_ir tells shapes of the small ones, too
    assert read == onnx_ir.to_proto(onnx_ir.from_proto(plain))
