"""What training code puts around a model's tensors: found by content, read whole or refused."""

import argparse
import pathlib
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from tests.support.models import randomised, tiny
from tests.weights.test_weights import in_layout, same
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.layout_tables import MMACTION2, OFFICIAL, TRANSFORMERS
from timesformer_cli.weights.load import load_model

PUBLIC = Path(__file__).parents[3] / "shared" / "public_cases"


@pytest.fixture
def public() -> Path:
    """The folder of models that real people's reports led to, beside the checkout."""
    if not PUBLIC.is_dir():
        pytest.skip(f"no public cases at {PUBLIC}")
    return PUBLIC / "models"


def before(prefix: str, tensors: dict) -> dict:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def shifted(tensors: dict) -> dict:
    """Other weights of the same model."""
    return {name: tensor + 1 for name, tensor in tensors.items()}


def loaded(content: object, path: Path):
    torch.save(content, path)
    return load_model(str(path))


PLAIN = (
    "plain.pt compiled.pt compiled_ddp.pt net_prefix.pt lightning_extra.pt model_state_dict.pt "
    "ema_only.pt dict_ema_only.pt lightning.ckpt model_best.pth.tar checkpoint-500"
).split()


@pytest.mark.parametrize("name", PLAIN)
def test_a_public_file_says_what_the_plain_model_says(public, name):
    plain, _ = load_model(str(public / "tf_plain"))
    model, _ = load_model(str(public / name))
    clip = torch.randn(2, 4, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(model(clip), plain(clip), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["ema.pt", "ema_model.pt"])
def test_of_a_public_file_with_both_the_averaged_weights_are_taken(public, name, tmp_path):
    content = torch.load(public / name, weights_only=True)
    averaged = content["state_dict_ema" if name == "ema.pt" else "model_ema"]
    alone, _ = loaded(averaged, tmp_path / "alone.pt")
    model, notes = load_model(str(public / name))
    clip = torch.randn(2, 4, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(model(clip), alone(clip))
    assert "averaged weights" in notes[0] and "are taken, not" in notes[0]


def test_a_public_file_whose_tensors_are_sparse_or_boolean_is_refused(public):
    for path in (public / "boolextra.safetensors", PUBLIC / "faults" / "pth_sparse" / "model.pyth"):
        with pytest.raises(WeightsError, match=r"BOOL, not supported|only plain tensors"):
            load_model(str(path))


WRAPPERS = {
    "flat": lambda t: t,
    "model_state_dict": lambda t: {"model_state_dict": t, "epoch": 3, "optimizer_state_dict": {}},
    "net": lambda t: {"net": t, "acc": 71.0},
    "two deep": lambda t: {"state": {"model": t}, "step": torch.tensor(5)},
    "a list": lambda t: {"models": [t]},
    "five deep": lambda t: {"a": {"b": [{"c": {"module": t}}]}},
    "its own optimizer": lambda t: {
        "model": t,
        "optimizer": {"exp_avg": shifted(t), "state": {0: {"exp_avg": torch.ones(3)}}},
    },
    "lightning": lambda t: {
        "state_dict": before("model.", t) | {"criterion.weight": torch.ones(3)},
        "hyper_parameters": {"lr": 0.1},
        "callbacks": {"ModelCheckpoint": {"best": torch.tensor(0.5)}},
    },
    "the loss beside it": lambda t: t | {"criterion.weight": torch.ones(3)},
    "half in another": lambda t: {
        "backbone": {k: v for k, v in t.items() if not k.startswith("head")},
        **{k: v for k, v in t.items() if k.startswith("head")},
    },
    "raw and current": lambda t: {"current_model_state": shifted(t), "state_dict": t},
}
PREFIXES = (
    "",
    "module.",
    "_orig_mod.",
    "model._orig_mod.module.",
    "net.",
    "backbone.",
    "trunk.encoder.",
)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_model_is_found_in_whatever_is_around_it(tmp_path, wrapper, prefix):
    model = randomised(tiny())
    content = WRAPPERS[wrapper](in_layout(model, OFFICIAL))
    if prefix:
        content = WRAPPERS[wrapper](before(prefix, in_layout(model, OFFICIAL)))
    if wrapper == "half in another" and prefix:
        pytest.skip("nothing of it lies apart")
    assert same(loaded(content, tmp_path / "model.tar")[0], model)


@pytest.mark.parametrize("layout", [TRANSFORMERS, OFFICIAL, MMACTION2], ids=lambda one: one.name)
@pytest.mark.parametrize("prefix", ["module.", "model.net."])
def test_prefixes_are_taken_off_by_what_each_layout_knows(tmp_path, layout, prefix):
    """mmaction2's own names begin with `backbone.`, and keep it."""
    model = randomised(tiny(attention="joint"))
    tensors = before(prefix, in_layout(model, layout))
    assert same(loaded({"state_dict": tensors}, tmp_path / "model.pt")[0], model)
    save_file(tensors, tmp_path / "model.safetensors")
    assert same(load_model(str(tmp_path / "model.safetensors"))[0], model)


def test_wrappers_in_the_middle_of_names_are_taken_off(tmp_path):
    """torch.compile of single blocks, and DDP around a part."""
    model = randomised(tiny())
    tensors = {
        name.replace("blocks.0.", "blocks.0._orig_mod.").replace("blocks.1.", "blocks.1.module."): t
        for name, t in in_layout(model, OFFICIAL).items()
    }
    assert same(loaded(tensors, tmp_path / "model.pt")[0], model)


def dotless(prefix: str, tensors: dict) -> dict:
    return {prefix + name.replace(".", ""): tensor for name, tensor in tensors.items()}


BOTH = {
    "state_dict_ema": lambda raw, ema: {"state_dict": raw, "state_dict_ema": before("module.", ema)},
    "model_ema": lambda raw, ema: {"model": raw, "model_ema": ema},
    "ema first": lambda raw, ema: {"ema": {"module": ema, "updates": 7}, "model": raw},
    "ema_model": lambda raw, ema: (
        before("ema_model.", ema)
        | before("online_model.", raw)
        | {"initted": torch.tensor(1.0), "step": torch.tensor(9)}
    ),
    "lightning": lambda raw, ema: {
        "state_dict": before("net.", raw) | before("ema_model.module.", ema)
    },
    "a callback's": lambda raw, ema: {"state_dict": raw, "callbacks": {"EMA": {"ema_weights": ema}}},
    "params_ema": lambda raw, ema: {"params": raw, "params_ema": ema},
    "teacher": lambda raw, ema: {"student": raw, "teacher": before("module.", ema)},
    "shadow": lambda raw, ema: {"model": raw, "shadow": ema},
    "without dots": lambda raw, ema: before("model.", raw) | dotless("model_ema.", ema),
    "swa": lambda raw, ema: {"model": raw, "swa_state_dict": before("module.", ema)},
    "both in the averaged": lambda raw, ema: {
        "model": raw,
        "ema": before("ema_model.", ema) | before("online_model.", raw),
    },
    "mmengine, which swaps them": lambda raw, ema: {
        "meta": {"mmengine_version": "0.10.4", "epoch": 3},
        "state_dict": ema,
        "ema_state_dict": before("module.", raw) | {"steps": torch.tensor(3)},
    },
    "inside the raw": lambda raw, ema: raw | before("ema.", ema),
}  # fmt: skip


@pytest.mark.parametrize("form", BOTH)
@pytest.mark.parametrize("layout", [TRANSFORMERS, OFFICIAL], ids=lambda one: one.name)
def test_of_raw_and_averaged_weights_the_averaged_are_taken_and_that_is_said(
    tmp_path, form, layout
):
    model = randomised(tiny())
    averaged = in_layout(model, layout)
    found, notes = loaded(BOTH[form](shifted(averaged), averaged), tmp_path / "model.pt")
    assert same(found, model)
    assert any("averaged weights" in note and "are taken, not" in note for note in notes)


def test_torchs_own_averaged_model_loads(tmp_path):
    holder = nn.Module()
    model = randomised(tiny())
    for number, tensor in enumerate(in_layout(model, OFFICIAL).values()):
        holder.register_parameter(f"p{number}", nn.Parameter(tensor))
    state = AveragedModel(holder).state_dict()
    renamed = {
        f"module.{name}": state[f"module.p{number}"]
        for number, name in enumerate(in_layout(model, OFFICIAL))
    }
    assert set(state) - {f"module.p{number}" for number in range(len(renamed))} == {"n_averaged"}
    found, notes = loaded(renamed | {"n_averaged": state["n_averaged"]}, tmp_path / "swa.pt")
    assert same(found, model)
    assert any("left: n_averaged" in note for note in notes)


def test_what_lies_beside_the_model_is_named_and_left(tmp_path):
    model = randomised(tiny())
    extra = {f"loss.table{number}": torch.ones(2) for number in range(5)}
    content = {"state_dict": before("model.", in_layout(model, OFFICIAL)) | extra}
    found, notes = loaded(content, tmp_path / "model.ckpt")
    assert same(found, model)
    assert notes[0].endswith(
        "left: state_dict.loss.table0, state_dict.loss.table1, state_dict.loss.table2 and 2 more"
    )


INSIDE = {
    "left over": (lambda t: t | {"blocks.0.gate.weight": torch.ones(2)}, "left over blocks.0.gate"),
    "at the top": (lambda t: t | {"aux_head.weight": torch.ones(2)}, "left over aux_head.weight"),
    "missing": (
        lambda t: {k: v for k, v in t.items() if k != "blocks.1.mlp.fc2.bias"},
        "missing blocks.1.mlp.fc2.bias",
    ),
}


@pytest.mark.parametrize("prefix", ["", "model.", "model._orig_mod."])
@pytest.mark.parametrize("fault", INSIDE)
def test_a_models_own_tensors_must_all_be_known_and_there(tmp_path, fault, prefix):
    change, words = INSIDE[fault]
    tensors = before(prefix, change(in_layout(randomised(tiny()), OFFICIAL)))
    with pytest.raises(WeightsError, match=words):
        loaded({"state_dict": tensors}, tmp_path / "model.pt")


SEVERAL = {
    "best and last": lambda t: {"model": t, "best_model": shifted(t)},
    "two averages": lambda t: {"ema_0.99": t, "ema_0.999": shifted(t)},
    "a teacher of another size": lambda t: {
        "student": t,
        "teacher": {name: torch.cat([tensor, tensor]) for name, tensor in t.items()},
    },
}


@pytest.mark.parametrize("form", SEVERAL)
def test_several_models_in_one_file_are_refused(tmp_path, form):
    tensors = in_layout(randomised(tiny()), OFFICIAL)
    with pytest.raises(WeightsError, match=r"holds several models \(.*, .*\)"):
        loaded(SEVERAL[form](tensors), tmp_path / "model.pt")


def test_mappings_that_hold_one_another_many_times_take_no_time(tmp_path):
    model = randomised(tiny())
    many: object = {"x": torch.ones(1)}
    for _ in range(10):
        many = [many] * 100
    content = {"model": in_layout(model, OFFICIAL), "many": many}
    content["itself"] = content
    content["." * 1_000_000] = torch.ones(1)
    assert same(loaded(content, tmp_path / "model.pt")[0], model)


def test_one_model_under_two_names_loads(tmp_path):
    model = randomised(tiny())
    tensors = in_layout(model, OFFICIAL)
    content = {"model": tensors, "best": dict(tensors)}
    assert same(loaded(content, tmp_path / "model.pt")[0], model)


HARMLESS = {
    "Namespace": argparse.Namespace(lr=0.1, inner=argparse.Namespace(a=1)),
    "path": pathlib.PurePosixPath("/data/run"),
    "windows path": pathlib.PureWindowsPath("C:/data"),
    "numpy number": np.float64(71.5),
    "numpy array": np.arange(5, dtype=np.int64),
    "defaultdict": defaultdict(list, {"a": [1]}),
    "ordered": OrderedDict(a=1),
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", HARMLESS)
def test_options_of_harmless_classes_beside_the_weights_load(tmp_path, kind, zipped):
    model = randomised(tiny())
    path = tmp_path / "model.pth"
    content = {"model": in_layout(model, OFFICIAL), "args": HARMLESS[kind], "epoch": 3}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert same(load_model(str(path))[0], model)


def test_the_options_are_never_made_into_their_class(tmp_path, monkeypatch):
    monkeypatch.setattr(argparse.Namespace, "__init__", lambda *_: pytest.fail("it was called"))
    args = argparse.Namespace.__new__(argparse.Namespace)
    args.__dict__["lr"] = 0.1
    model = randomised(tiny())
    assert same(
        loaded({"model": in_layout(model, OFFICIAL), "args": args}, tmp_path / "m")[0], model
    )


@pytest.mark.parametrize("name", "m.ckpt m.pth.tar m.tar m.pt m.pyth m.bin m.weights m".split())
def test_any_suffix_will_do(tmp_path, name):
    model = randomised(tiny())
    assert same(loaded(in_layout(model, OFFICIAL), tmp_path / name)[0], model)
    save_file(in_layout(model, OFFICIAL), tmp_path / name)
    assert same(load_model(str(tmp_path / name))[0], model)


def test_the_content_says_what_a_file_is_and_not_its_suffix(tmp_path):
    model = randomised(tiny())
    path = tmp_path / "model.safetensors"
    assert same(loaded(in_layout(model, OFFICIAL), path)[0], model)


def archive(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        for name in names:
            packed.writestr(name, b"content")


def scripted(path: Path) -> None:
    module = torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2))
    torch.jit.save(module, str(path))


OTHER = {
    "empty": (lambda path: path.write_bytes(b""), "an empty file"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b\x08\0abc"), "a gzip archive: unpack it"),
    "tar": (lambda path: path.write_bytes(b"a".ljust(257, b"\0") + b"ustar\0"), "a tar archive"),
    "zip": (lambda path: archive(path, "model.pth"), "a zip archive: unpack it"),
    "npz": (lambda path: np.savez(path.open("wb"), a=np.ones(2)), "a numpy archive"),
    "npy": (lambda path: np.save(path.open("wb"), np.ones(2)), "a numpy array"),
    "keras": (lambda path: archive(path, "config.json", "model.weights.h5"), "a Keras file"),
    "hdf5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "Keras or HDF5"),
    "script": (scripted, "a TorchScript archive"),
    "pt2": (lambda path: archive(path, "m/archive_format", "m/data/x"), r"a torch\.export archive"),
    "onnx": (lambda path: path.write_bytes(b"\x08\x08\x12\x07pytorch"), "an ONNX file"),
    "html": (lambda path: path.write_bytes(b"\n<!DOCTYPE html><p>Sign in"), "an HTML page"),
    "lfs": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "git lfs pull",
    ),
    "tensorflow": (
        lambda path: path.write_bytes(bytes(range(200)) + bytes.fromhex("57fb808b247547db")),
        "the index of a TensorFlow checkpoint",
    ),
    "json": (lambda path: path.write_text('{"model_type": "vit"}'), "a JSON file; give the folder"),
    "text": (lambda path: path.write_text("hello"), "a text file"),
    "flax": (lambda path: path.write_bytes(b"\x83\xa9optimizer\x81"), "a flax"),
    "half": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(500)), "half of a torch file"),
    "noise": (lambda path: path.write_bytes(bytes([0x91, 3, 200] * 200)), "not a readable"),
}


@pytest.mark.filterwarnings("ignore")  # torch says that TorchScript will go
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".ckpt"])
@pytest.mark.parametrize("kind", OTHER)
def test_a_file_of_another_kind_is_named_for_what_it_is(tmp_path, kind, suffix):
    write, words = OTHER[kind]
    path = tmp_path / f"model{suffix}"
    write(path)
    if kind == "noise" and suffix == ".safetensors":
        words = "not a whole safetensors file"
    with pytest.raises(WeightsError, match=words) as refusal:
        load_model(str(path))
    assert str(refusal.value).startswith(f"{path}: ") and "\n" not in str(refusal.value)


STRANGERS = {
    "ResNet": {"conv1.weight", "layer1.0.conv1.weight", "layer1.0.bn1.running_mean"},
    "SlowFast": {"s1.pathway0_stem.conv.weight", "s2.pathway1_res0.branch1.weight"},
    "language model": {"model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight"},
    "image model of transformers": {"vit.embeddings.cls_token", "classifier.weight"},
    "LoRA adapter": {"base_model.layer.0.query.lora_A.weight"},
    "Swin": {"layers.0.blocks.0.attn.relative_position_bias_table", "norm.weight", "a.b", "c"},
    "a Swin transformer": {  # six of its names are a TimeSformer's too
        *(
            f"{part}.{leaf}"
            for part in ("patch_embed.proj", "norm", "head")
            for leaf in ("weight", "bias")
        ),
        *(f"layers.{stage}.blocks.0.attn.relative_position_bias_table" for stage in range(4)),
        *(f"layers.{stage}.downsample.reduction.weight" for stage in range(4)),
    },
    "pictures and text": {"logit_scale", "text_model.embeddings.weight"},
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_model_of_another_kind_is_described_and_not_listed(tmp_path, kind):
    tensors = {name: torch.ones(2) for name in STRANGERS[kind]}
    with pytest.raises(WeightsError, match=kind) as refusal:
        loaded({"state_dict": tensors}, tmp_path / "model.pt")
    assert "missing" not in str(refusal.value)


def test_heads_that_cannot_be_read_off_are_taken_from_a_config_json_beside(tmp_path):
    from timesformer_cli.weights.load import save_model

    model = randomised(tiny(dim=96, heads=3))
    save_model(model, tmp_path / "m")
    tensors = load_file(tmp_path / "m" / "model.safetensors")
    with pytest.raises(WeightsError, match=r"as transformers names it, width 96, .* config\.json"):
        loaded(tensors, tmp_path / "model.pt")
    assert same(loaded(tensors, tmp_path / "m" / "other.pt")[0], model)


def test_a_config_json_of_something_else_beside_a_file_is_nothing_to_it(tmp_path):
    model = randomised(tiny())
    (tmp_path / "config.json").write_text('{"lr": 0.1}')
    assert same(loaded(in_layout(model, OFFICIAL), tmp_path / "pytorch_model.bin")[0], model)


@pytest.mark.parametrize("name", ["weights.pth", "epoch=3.ckpt"])
def test_a_folder_without_weights_says_what_is_there(tmp_path, name):
    from timesformer_cli.weights.load import save_model

    model = randomised(tiny())
    save_model(model, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    torch.save(tensors, tmp_path / name)
    torch.save({"state": {}}, tmp_path / "optimizer.pt")
    with pytest.raises(WeightsError, match=rf"there is {name}: give that instead"):
        load_model(str(tmp_path))
    assert same(load_model(str(tmp_path / name))[0], model)


def test_a_run_folder_names_its_checkpoints(tmp_path):
    for step in (500, 1000):
        (tmp_path / f"checkpoint-{step}").mkdir()
    with pytest.raises(WeightsError, match=r"checkpoint-1000, checkpoint-500: give one of them"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("best.pth.tar", "best"),
        ("last.ckpt", "last"),
        ("v1.2.pt", "v1.2"),
        ("plain", "plain-converted"),
    ],
)
def test_a_file_is_converted_to_a_folder_beside_it(tmp_path, name, folder):
    from timesformer_cli.weights.published import convert_checkpoint

    model = randomised(tiny())
    torch.save({"state_dict": before("module.", in_layout(model, OFFICIAL))}, tmp_path / name)
    ready = convert_checkpoint(tmp_path / name, None, None, lambda note: None)
    assert ready.path == str(tmp_path / folder)
    assert same(load_model(ready.path)[0], model)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
@pytest.mark.parametrize("kind", ["lfs", "html", "gzip"])
def test_what_was_saved_in_place_of_an_exported_file_is_named(tmp_path, kind, suffix):
    from timesformer_cli.inference.open import open_model

    write, words = OTHER[kind]
    write(tmp_path / f"model{suffix}")
    with pytest.raises(WeightsError, match=words):
        open_model(str(tmp_path / f"model{suffix}"), "cpu", "float32")
