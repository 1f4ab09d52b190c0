"""Reading checkpoints: every layout strictly, and nothing that a file asks for is done."""

import json
import os
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.models import randomised, tiny
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import WeightsError
from timesformer_cli.schemes import SCHEMES
from timesformer_cli.weights.hub.locate import locate
from timesformer_cli.weights.layout import ATTENTION_TYPES, translate
from timesformer_cli.weights.layout_tables import (
    OFFICIAL,
    TRANSFORMERS,
    VIDEOMAE,
    VIDEOMAE_FIRST,
)
from timesformer_cli.weights.load import load_model, save_model
from timesformer_cli.weights.write_layout import layout_for

CLIP = torch.randn(1, 8, 3, 64, 64, generator=torch.Generator().manual_seed(2))


def in_layout(model, layout):
    """The model's tensors as that code base would have saved them."""
    names = translate(model.state_dict(), layout, model.config)
    tensors = {theirs: model.state_dict()[ours] for ours, theirs in names.items()}
    kernel = names["patches.proj.weight"]
    tensors[kernel] = tensors[kernel].unflatten(1, (3, 16, 16)).contiguous()
    return tensors


def same(a, b):
    """Whether two models hold the same tensors and so say the same."""
    ours, theirs = a.state_dict(), b.state_dict()
    with torch.no_grad():  # memory mapped from a file may lie so that other kernels run
        close = torch.allclose(a(CLIP), b(CLIP), rtol=0, atol=1e-5)
    return close and all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)


@pytest.mark.parametrize("wrapper", ["model_state", "model", "state_dict", None])
@pytest.mark.parametrize("prefix", ["", "model.", "module."])
@pytest.mark.parametrize("attention", ATTENTION_TYPES)
def test_an_official_file_loads_with_its_configuration_inferred(
    tmp_path, attention, prefix, wrapper
):
    model = randomised(tiny(attention=attention))
    tensors = {prefix + name: value for name, value in in_layout(model, OFFICIAL).items()}
    content = tensors if wrapper is None else {"epoch": 3, wrapper: tensors, "cfg": "TRAIN: x"}
    torch.save(content, tmp_path / "model.pyth")
    loaded, notes = load_model(str(tmp_path / "model.pyth"))
    assert loaded.config == model.config
    assert same(loaded, model)
    assert any("LABEL_" in note for note in notes)
    assert any("stride of 32" in note for note in notes)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_both_pickle_formats_of_torch_load(tmp_path, zipped):
    model = randomised(tiny())
    path = tmp_path / "model.pth"
    torch.save(in_layout(model, OFFICIAL), path, _use_new_zipfile_serialization=zipped)
    assert same(load_model(str(path))[0], model)


@pytest.mark.parametrize("attention", ATTENTION_TYPES)
def test_a_bare_transformers_file_loads_with_its_configuration_inferred(tmp_path, attention):
    model = randomised(tiny(attention=attention, frames=4, qkv_bias=False))
    save_file(in_layout(model, TRANSFORMERS), tmp_path / "model.safetensors")
    loaded, _ = load_model(str(tmp_path / "model.safetensors"))
    # Space attention leaves no trace of its frame count, and needs none.
    expected = 8 if attention == "space" else 4
    assert (loaded.config.attention, loaded.config.frames) == (attention, expected)
    assert same(loaded, model)


@pytest.mark.parametrize(("embedding", "tubelet"), [("linear", 0), ("conv-stem", 1)])
@pytest.mark.parametrize("attention", SCHEMES)
def test_our_folder_and_its_bare_file_come_back_the_same(tmp_path, attention, embedding, tubelet):
    model = randomised(tiny(attention=attention, embedding=embedding, tubelet=tubelet))
    model.labels = ("a", "b", "c", "d", "ü, é")
    model.sampling = Sampling(frames=8, stride=4)
    model.preprocessing = Preprocessing(
        resize=72, crop=(64, 64), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)
    )
    if (layout := layout_for(model.config)) in (VIDEOMAE, VIDEOMAE_FIRST):
        for name, tensor in model.named_parameters():  # their keys have no bias
            if name.endswith("qkv.bias"):
                tensor.data.chunk(3)[1].zero_()
    save_model(model, tmp_path / "m")
    loaded, notes = load_model(str(tmp_path / "m"))
    assert notes == ()
    for name in ("config", "labels", "sampling", "preprocessing"):
        assert getattr(loaded, name) == getattr(model, name), name
    assert same(loaded, model)
    if layout is None:  # else its names say what it is, and some of it is assumed
        bare, _ = load_model(str(tmp_path / "m" / "model.safetensors"))
        assert bare.config == model.config
    assert not list((tmp_path / "m").glob(".*"))


def test_uniform_sampling_survives_the_folder(tmp_path):
    model = randomised(tiny())
    model.sampling = Sampling(frames=8, stride=None)
    save_model(model, tmp_path)
    assert load_model(str(tmp_path))[0].sampling == Sampling(frames=8, stride=None)


def test_half_precision_on_disk_is_float32_in_memory(tmp_path):
    model = randomised(tiny(embedding="conv-stem"))
    save_model(model, tmp_path, torch.float16)
    on_disk = load_file(tmp_path / "model.safetensors")
    assert {t.dtype for t in on_disk.values()} == {torch.float16, torch.int64}
    assert {p.dtype for p in load_model(str(tmp_path))[0].parameters()} == {torch.float32}


def test_a_pickle_serves_where_there_is_no_safetensors_but_never_instead_of_a_bad_one(tmp_path):
    model = randomised(tiny())
    save_model(model, tmp_path)
    torch.save(in_layout(model, TRANSFORMERS), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(WeightsError, match=r"model\.safetensors: a text file"):
        load_model(str(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    assert same(load_model(str(tmp_path))[0], model)


def _without(tensors, name):
    return {key: value for key, value in tensors.items() if key != name}


HEAD = "head.weight"
FAULTS = {
    "missing": (lambda t: _without(t, "blocks.1.mlp.fc1.bias"), "missing blocks.1.mlp.fc1.bias"),
    "left over": (lambda t: t | {"ema.x": torch.ones(1)}, "left over ema.x"),
    "shape": (lambda t: t | {HEAD: torch.ones(5, 32)}, r"'head.weight' is \(5, 32\).*\(5, 64\)"),
    "not finite": (lambda t: t | {HEAD: t[HEAD] * torch.nan}, "'head.weight' is not finite"),
    "integers": (lambda t: t | {HEAD: torch.ones(5, 64, dtype=torch.int8)}, "type torch.int8"),
    "no patches": (lambda t: _without(t, "patch_embed.proj.weight"), "patch_embed.proj.weight"),
    "other keys": (lambda t: {"conv1.weight": torch.ones(1)}, "no TimeSformer layout"),
    "odd width": (
        lambda t: t | {"patch_embed.proj.weight": torch.ones(50, 3, 16, 16)},
        "width 50, for which the number of heads",
    ),
    "not tensors": (lambda t: dict.fromkeys(t, 3), "no tensors by name"),
    "nothing": (lambda t: {}, "no tensors"),
}


@pytest.mark.parametrize(("change", "words"), FAULTS.values(), ids=FAULTS)
def test_a_wrong_checkpoint_is_refused_and_told_apart(tmp_path, change, words):
    tensors = in_layout(randomised(tiny()), OFFICIAL)
    path = tmp_path / "bad.pyth"
    torch.save(change(tensors), path)
    with pytest.raises(WeightsError, match=words) as refusal:
        load_model(str(path))
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value)


class _Runs:
    """A pickle that makes a file when it is read freely."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("name", ["m.pyth", "m.pth", "m.pt", "folder/pytorch_model.bin"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_asks_to_run_code_is_refused_and_nothing_runs(tmp_path, name, zipped):
    trace = tmp_path / "ran"
    path = tmp_path / name
    if path.parent != tmp_path:
        save_model(randomised(tiny()), path.parent)
        (path.parent / "model.safetensors").unlink()
    content = {"model_state": {"cls_token": _Runs(f"touch {trace}")}}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"asks to run '\w+\.system'"):
        load_model(str(path if path.parent == tmp_path else path.parent))
    assert not trace.exists()


def test_a_compressed_pickle_is_refused_before_it_is_unpacked(tmp_path):
    stored, packed = tmp_path / "a.pth", tmp_path / "b.pth"
    torch.save({"cls_token": torch.zeros(1000, 1000)}, stored)
    with zipfile.ZipFile(stored) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    with pytest.raises(WeightsError, match="compressed"):
        load_model(str(packed))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_checkpoint_is_refused(tmp_path, suffix):
    save_model(randomised(tiny()), tmp_path / "m")
    whole = (tmp_path / "m" / "model.safetensors").read_bytes()
    if suffix == ".pth":
        torch.save(in_layout(randomised(tiny()), OFFICIAL), tmp_path / "whole.pth")
        whole = (tmp_path / "whole.pth").read_bytes()
    for length in (0, 7, len(whole) // 2):
        path = tmp_path / f"cut{suffix}"
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=r"cut\."):
            load_model(str(path))


CONFIGS = {
    "no config": (None, "no config.json"),
    "not JSON": ("{", "not readable as JSON"),
    "a list": ("[]", "not a JSON object"),
    "deep": ("[" * 100_000, "not readable as JSON"),
    "other model": ({"model_type": "vit"}, "model_type is 'vit'"),
    "other scheme": ({"attention_type": "dense"}, "attention_type is 'dense'"),
    "other activation": ({"hidden_act": "relu"}, "hidden_act"),
    "endless": ({"hidden_size": 10**12}, "dim is"),
    "text size": ({"hidden_size": "768"}, "wrong type"),
    "labels with gaps": ({"id2label": {"0": "a", "7": "b"}}, "id2label"),
    "fewer labels": ({"id2label": {"0": "a"}}, r"'classifier.weight' is \(5, 64\)"),
    "more layers": ({"num_hidden_layers": 3}, "missing timesformer.encoder.layer.2"),
    "rate": ({"frame_sample_rate": "often"}, "frame_sample_rate"),
}


@pytest.mark.parametrize(("change", "words"), CONFIGS.values(), ids=CONFIGS)
def test_a_wrong_configuration_is_refused_and_told_apart(tmp_path, change, words):
    save_model(randomised(tiny()), tmp_path)
    path = tmp_path / "config.json"
    if isinstance(change, dict):
        change = json.dumps(json.loads(path.read_text()) | change)
    path.unlink() if change is None else path.write_text(change)
    with pytest.raises(WeightsError, match=words) as refusal:
        load_model(str(tmp_path))
    assert "\n" not in str(refusal.value)


PREPROCESSING = {
    "crop": ({"crop_size": {"height": 60, "width": 64}}, "height 60 is not a multiple"),
    "resample": ({"resample": 3}, "resample"),
    "no size": ({"size": {}}, "size is {}"),
    "no resizing": ({"do_resize": False}, "do_resize is false"),
    "zero std": ({"image_std": [0.5, 0, 0.5]}, "image_std"),
}


@pytest.mark.parametrize(("change", "words"), PREPROCESSING.values(), ids=PREPROCESSING)
def test_preprocessing_that_cannot_be_done_is_refused(tmp_path, change, words):
    save_model(randomised(tiny()), tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(WeightsError, match=words):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    ("size", "resize"),
    [
        ({"shortest_edge": 80}, 80),
        (80, 80),
        ({"height": 80, "width": 96}, (80, 96)),
        ([80, 96], (80, 96)),
    ],
)
def test_the_spellings_of_a_size_are_read(tmp_path, size, resize):
    save_model(randomised(tiny()), tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"size": size}))
    assert load_model(str(tmp_path))[0].preprocessing.resize == resize


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bas-k400", "did you mean base-k400"),
        ("camera_motion", "did you mean camera-motion"),
        ("missing.pyth", "no such file"),
    ],
)
def test_an_unknown_name_is_refused_with_near_ones(name, words):
    with pytest.raises(WeightsError, match=words):
        locate(name)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(WeightsError, match=r"notes.txt: a text file"):
        load_model(str(tmp_path / "notes.txt"))
