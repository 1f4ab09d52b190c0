"""Exported files from strangers: refused before a runtime opens them."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from typer.testing import CliRunner

from tests.support.models import randomised, tiny
from timesformer_cli.cli.app import app
from timesformer_cli.errors import ExitCode, WeightsError
from timesformer_cli.export import write
from timesformer_cli.inference.exported import onnx_file, pt2_file
from timesformer_cli.inference.exported.manifest import DIGEST, Manifest
from timesformer_cli.inference.exported.model import ExportedModel
from timesformer_cli.inference.exported.open import open_exported
from timesformer_cli.weights.description import Description

EXAMPLE = Path(__file__).parents[2] / "examples" / "static.mp4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One model as both files, its ONNX tensors beside it as well."""
    path = tmp_path_factory.mktemp("ours")
    model = randomised(tiny(depth=1, attention="space"))
    described = Description(
        config=model.config,
        labels=model.labels,
        sampling=model.sampling,
        preprocessing=model.preprocessing,
    )
    manifest = Manifest(
        description=described,
        dtype="float32",
        pixels=False,
        batch=None,
        source="small",
        revision="abc",
        version="0",
    )
    # Any number of clips would double the work of the exporter.
    write.write_onnx(model, replace(manifest, batch=2), path / "model.onnx", opset=20)
    write.write_pt2(model, manifest, path / "model.pt2")
    return path


@pytest.fixture
def never_opened(monkeypatch):
    """No runtime may see the file."""

    def opened(*given):
        raise AssertionError("it was opened")

    monkeypatch.setattr(onnx_file, "start_session", opened)
    monkeypatch.setattr(torch.export, "load", opened)


def external(graph, location, **where):
    """The graph's largest tensor, said to lie elsewhere."""
    tensor = max(graph.initializer, key=lambda tensor: len(tensor.raw_data))
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "length": len(data), **where}.items():
        tensor.external_data.add(key=key, value=str(value))
    return data


def outside(model, path):
    (path.parent / "secret").write_bytes(external(model.graph, "../secret"))


def absolute(model, path):
    (path.parent / "data").write_bytes(external(model.graph, str(path.parent / "data")))


def through_a_symlink(model, path):
    (path.parent / "secret").write_bytes(external(model.graph, "data"))
    (path.parent / "data").symlink_to("secret")


def through_a_hard_link(model, path):
    (path.parent / "secret").write_bytes(external(model.graph, "data"))
    os.link(path.parent / "secret", path.parent / "data")


def beyond_the_end(model, path):
    (path.parent / "data").write_bytes(external(model.graph, "data", offset=64))


def gigantic(model, path):
    model.graph.initializer[0].dims[:] = [2**31, 2**31]


def gigantic_clip(model, path):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**40


def another_input(model, path):
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))


def another_output(model, path):
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def own_operator(model, path):
    model.graph.node.append(helper.make_node("Run", [], ["made"], domain="com.example"))


def own_graph(model, path):
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node.append(
        helper.make_node("If", ["clip"], ["made"], then_branch=inner, else_branch=inner)
    )


def own_function(model, path):
    model.functions.add(name="Run", domain="com.example")


def not_ours(model, path):
    del model.metadata_props[:]


def no_configuration(model, path):
    (entry,) = (one for one in model.metadata_props if one.key == "config.json")
    entry.value = json.dumps(["no", "configuration"])


FOREIGN = {
    outside: "no plain file beside it",
    absolute: "no plain file beside it",
    through_a_symlink: "no plain file beside it",
    through_a_hard_link: "a link to another file",
    beyond_the_end: "beyond the end",
    gigantic: "claims more than the file holds",
    gigantic_clip: "its input is",
    another_input: "its input is",
    another_output: "its output is",
    own_operator: "no standard one",
    own_graph: "a graph or tensor of its own",
    own_function: "functions",
    not_ours: "not exported by tsf",
    no_configuration: "damaged metadata",
}


@pytest.mark.parametrize("change", FOREIGN, ids=lambda change: change.__name__)
def test_a_foreign_onnx_file_is_refused(folder, tmp_path, change, never_opened):
    model, path = onnx.load(folder / "model.onnx"), tmp_path / "deep" / "model.onnx"
    path.parent.mkdir()
    change(model, path)
    path.write_bytes(model.SerializeToString())
    onnx_file.seal_onnx(path)  # a digest that is right makes a stranger's file no better
    ran = CliRunner().invoke(app, ["classify", str(EXAMPLE), "--model", str(path)])
    assert ran.exit_code == ExitCode.WEIGHTS, ran.stderr
    assert FOREIGN[change] in ran.stderr
    assert ran.stderr.count("\n") == 1


def rewritten(source, path, changes, added=None):
    """The archive with some of its records changed, each by a function of its bytes.

    It carries no digest: a stranger makes one that is right, or leaves it out.
    """
    changes = {f"extra/{pt2_file.MANIFEST}": without_digest, **changes}
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        root = old.namelist()[0].split("/")[0]
        for name in old.namelist():
            change = changes.get(name.removeprefix(f"{root}/"), lambda data: data)
            new.writestr(name, change(old.read(name)))
        for name, data in (added or {}).items():
            new.writestr(f"{root}/{name}", data)


def without_digest(data):
    strings = json.loads(data)
    del strings[DIGEST]
    return json.dumps(strings)


def graph(change):
    """A change of the graph's JSON."""

    def changed(data):
        values = json.loads(data)
        change(values)
        return json.dumps(values)

    return {pt2_file.GRAPH: changed}


def node(values):
    return values["graph_module"]["graph"]["nodes"][-1]


STRANGE = {
    "a call": (graph(lambda v: node(v).update(target="torch.load")), "none of a model's"),
    "a file's operator": (
        graph(lambda v: node(v).update(target="torch.ops.aten.from_file.default")),
        "none of a model's",
    ),
    "a method of an operator": (
        graph(lambda v: node(v).update(target="torch.ops.aten.add.Tensor.__init__")),
        "none of a model's",
    ),
    "an expression": (
        graph(
            lambda v: v["graph_module"]["graph"]["sym_int_values"].update(
                s={"as_expr": {"expr_str": "__import__('os').system('true')", "hint": None}}
            )
        ),
        "is no size",
    ),
    "code": (graph(lambda v: v.update(guards_code=["1"])), "not as tsf writes it"),
    "a class": (
        graph(lambda v: node(v).update(metadata={"source_fn_stack": "a,torch.load"})),
        "not as tsf writes it",
    ),
    "an operator as an argument": (
        graph(lambda v: node(v)["inputs"][0].update(arg={"as_operator": "torch.load"})),
        "no argument",
    ),
    "a type of its own": (
        graph(
            lambda v: v["graph_module"]["module_call_graph"][0]["signature"].update(in_spec="[]")
        ),
        "not as tsf writes it",
    ),
    "a pickled sample": ({pt2_file.SAMPLES: lambda data: b"cos\nsystem\n"}, "holds a pickle"),
    "a pickled weight": (
        {
            pt2_file.TABLES[0]: lambda data: data.replace(
                b'"use_pickle": false', b'"use_pickle": true'
            )
        },
        "no plain tensor",
    ),
    "an object for a constant": (
        {
            pt2_file.TABLES[1]: lambda data: json.dumps(
                {
                    "config": {
                        "c": {
                            "path_name": "custom_obj_0",
                            "is_param": False,
                            "use_pickle": False,
                            "tensor_meta": None,
                        }
                    }
                }
            )
        },
        "no plain tensor",
    ),
    "a gigantic weight": (
        {pt2_file.TABLES[0]: lambda data: data.replace(b'"as_int": 64', b'"as_int": 99999999999')},
        "claims more",
    ),
    "no metadata of ours": (
        {f"extra/{pt2_file.MANIFEST}": lambda data: b"{}"},
        "not exported by tsf",
    ),
    "not JSON": ({pt2_file.GRAPH: lambda data: b"{"}, "damaged"),
}


def tables(change):
    """A change of the table of weights."""

    def changed(data):
        values = json.loads(data)
        return json.dumps(change(values["config"]) or values)

    return {pt2_file.TABLES[0]: changed}


def swapped(config):
    first, *_, last = config.values()
    first["path_name"], last["path_name"] = last["path_name"], first["path_name"]


def in_form(values):
    """A table of the wrong form."""
    return lambda config: values


WRONG = {
    "a list": in_form([1]),
    "no table": in_form({"config": [1]}),
    "a number for a tensor": in_form({"config": {"a": 1}}),
    "a number for a name": in_form(
        {"config": {"a": {"path_name": 3, "use_pickle": False, "tensor_meta": None}}}
    ),
    "a number for a size": in_form(
        {
            "config": {
                "a": {"path_name": "weight_0", "use_pickle": False, "tensor_meta": {"sizes": [1]}}
            }
        }
    ),
    "no tensors": in_form({"config": {}}),
    "weights of one another": swapped,
    "an unknown dtype": lambda config: config["head.weight"]["tensor_meta"].update(dtype=99),
    "a negative size": lambda config: config["head.weight"]["tensor_meta"].update(
        sizes=[{"as_int": -5}]
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_tables_of_the_wrong_form_are_one_line(folder, tmp_path, name):
    """In a process, for torch writes tracebacks past us."""
    path = tmp_path / "model.pt2"
    rewritten(folder / "model.pt2", path, tables(WRONG[name]))
    ran = process("classify", str(EXAMPLE), "--model", str(path))
    assert ran.returncode == ExitCode.WEIGHTS
    assert ran.stderr.count("\n") == 1 and str(path) in ran.stderr, ran.stderr


def process(*arguments):
    command = [sys.executable, "-m", "timesformer_cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("shape", [[], {"graph_module": {"graph": {"outputs": []}}}, "text", None])
def test_a_graph_of_the_wrong_form_is_refused(folder, tmp_path, shape, never_opened):
    path = tmp_path / "model.pt2"
    rewritten(folder / "model.pt2", path, {pt2_file.GRAPH: lambda data: json.dumps(shape)})
    with pytest.raises(WeightsError, match="not of the form that torch"):
        open_exported(path)


def relabelled(strings, labels):
    """Metadata that names so many classes, where the weights have five."""
    config = json.loads(strings["config.json"])
    config["id2label"] = {str(number): f"class {number}" for number in range(labels)}
    if "tsf" in config:
        config["tsf"]["classes"] = labels
    return {**strings, "config.json": json.dumps(config)}


@pytest.mark.parametrize("labels", [3, 9])
@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_labels_that_are_not_as_many_as_the_scores_are_refused(folder, tmp_path, suffix, labels):
    path = tmp_path / f"model{suffix}"
    if suffix == ".onnx":
        model = onnx.load(folder / "model.onnx")
        strings = {entry.key: entry.value for entry in model.metadata_props if entry.key != DIGEST}
        onnx.helper.set_model_props(model, relabelled(strings, labels))
        onnx.save(model, path)
    else:
        change = {
            f"extra/{pt2_file.MANIFEST}": lambda data: json.dumps(
                relabelled(json.loads(without_digest(data)), labels)
            )
        }
        rewritten(folder / "model.pt2", path, change)
    with pytest.raises(WeightsError, match=f"gives 5 scores and names {labels} classes"):
        open_exported(path)


def test_a_graph_that_lies_about_its_scores_is_found_out_when_it_runs(folder):
    manifest = open_exported(folder / "model.pt2").manifest
    liar = ExportedModel(manifest, lambda clip: np.zeros((len(clip), 9), np.float32))
    with pytest.raises(WeightsError, match="gives 9 scores and names 5 classes"):
        liar(torch.zeros(1, 8, 3, 64, 64))


@pytest.mark.parametrize("name", STRANGE)
def test_a_foreign_torch_export_file_is_refused(folder, tmp_path, name, never_opened):
    changes, message = STRANGE[name]
    rewritten(folder / "model.pt2", tmp_path / "model.pt2", changes)
    with pytest.raises(WeightsError, match=message):
        open_exported(tmp_path / "model.pt2")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("data/aotinductor/model/model.so", "machine code"),
        ("data/constants/custom_obj_0", "no part of an exported model"),
        ("data/weights/model.pt", "no part of an exported model"),
        ("models/other.json", "no part of an exported model"),
        (pt2_file.GRAPH, "not exported by tsf"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_record_that_tsf_does_not_write_is_refused(
    folder, tmp_path, record, message, never_opened
):
    rewritten(folder / "model.pt2", tmp_path / "model.pt2", {}, {record: b"\x7fELF"})
    with pytest.raises(WeightsError, match=message):
        open_exported(tmp_path / "model.pt2")


def test_the_untouched_archive_written_anew_runs(folder, tmp_path):
    rewritten(folder / "model.pt2", tmp_path / "model.pt2", {})
    assert open_exported(tmp_path / "model.pt2")(torch.zeros(1, 8, 3, 64, 64)).shape == (1, 5)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x03\x04"], ids=str)
def test_what_is_no_model_is_refused(tmp_path, suffix, content, never_opened):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        open_exported(path)
    with pytest.raises(WeightsError, match="no such file"):
        open_exported(tmp_path / f"other{suffix}")
