"""What a processor can: asked in one place, and every answer leads to something that runs."""

import numpy as np
import pytest
import torch

from tests.support.commands import run_command
from tests.support.models import randomised, tiny
from timesformer_cli.inference import device as module
from timesformer_cli.inference.device import (
    cpu_has_bfloat16,
    find_dtype,
    has_int8_maps,
    int8_pair_limit,
    multiplies_int8,
    packs_weights,
)
from timesformer_cli.inference.fast.model import make_fast
from timesformer_cli.inference.predictor import Predictor

CPU = torch.device("cpu")


@pytest.fixture
def fresh():
    """What is known of this processor is forgotten, before the test and after it."""
    asked = (packs_weights, multiplies_int8, int8_pair_limit)
    for question in asked:
        question.cache_clear()
    yield
    for question in asked:
        question.cache_clear()


def refuse(*arguments, **options):
    raise RuntimeError("mkldnn_reorder_linear_weight: bf16 path needs the cpu support")


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16", "int8"])
def test_a_model_runs_whether_or_not_there_is_bfloat16(has, dtype, monkeypatch):
    """With and without the packed products: nearly the scores of float32."""
    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: has)
    monkeypatch.setattr(module, "packs_weights", lambda kind: kind != torch.bfloat16 or has)
    auto = torch.bfloat16 if has else torch.float32
    assert find_dtype("auto", CPU) == auto
    model = randomised(tiny(heads=2))
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 64, 64, 3), np.uint8)
    exact = Predictor(make_fast(model, CPU, torch.float32)).start(frames)().scores
    scores = Predictor(make_fast(model, CPU, find_dtype(dtype, CPU))).start(frames)().scores
    torch.testing.assert_close(scores, exact, atol=0.02, rtol=0)


@pytest.mark.parametrize("instructions", [True, False])
@pytest.mark.parametrize("packs", [True, False])
def test_bfloat16_takes_the_instructions_and_a_library_that_uses_them(
    instructions, packs, monkeypatch, fresh
):
    for check in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, check, lambda: instructions, raising=False)
    if packs:  # whatever the processor is that runs this
        monkeypatch.setattr(module, "packs_weights", lambda dtype: True)
    else:
        monkeypatch.setattr(module, "pack_weight", refuse)
    assert cpu_has_bfloat16() == (instructions and packs)


def test_a_torch_without_the_questions_has_no_bfloat16(monkeypatch, fresh):
    for check in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, check, raising=False)
    assert not cpu_has_bfloat16()


def test_a_product_that_the_processor_refuses_is_not_there(monkeypatch, fresh):
    monkeypatch.setattr(module, "pack_weight", refuse)
    monkeypatch.setattr(torch, "_int_mm", refuse)
    assert not packs_weights(torch.bfloat16)
    assert not multiplies_int8(CPU)


def test_int8_maps_are_onednns(monkeypatch, fresh):
    assert not has_int8_maps(torch.device("cuda"))
    monkeypatch.setattr(torch.ops.onednn, "qlinear_prepack", refuse)
    assert not has_int8_maps(CPU)


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16", "float16", "int8"])
def test_a_dtype_that_this_processor_lacks_is_told(dtype, has, monkeypatch, model_folder, tmp_path):
    """By classify and evaluate alike, and in the report of an export."""
    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: has)
    monkeypatch.setattr(module, "packs_weights", lambda kind: kind != torch.bfloat16 or has)
    slow = dtype in ("bfloat16", "float16") and not has
    for command in (["classify", "VIDEO"], ["evaluate", "TABLE"]):
        words = [*command, "--model", "MODEL", "--device", "cpu", "--dtype", dtype]
        ran = run_command(words, str(model_folder), tmp_path)
        assert ran.exit_code == 0, ran.stderr
        said = f"note: this processor has no {dtype} and computes in it many times slower"
        assert (said in ran.stderr) == slow


@pytest.mark.parametrize("has", [True, False])
def test_an_export_in_a_dtype_that_this_processor_lacks_is_told(
    has, monkeypatch, model_folder, tmp_path
):
    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: has)
    words = ["export", "--model", "MODEL", "--pt2", "--dtype", "bfloat16", "--output", "OUT"]
    ran = run_command([*words, "--tolerance", "100"], str(model_folder), tmp_path)
    assert ran.exit_code == 0, ran.stderr
    assert ("warning  this processor has no bfloat16" in ran.stdout) == (not has)
    words = ["classify", "VIDEO", "--model", str(tmp_path / "model.pt2")]
    ran = run_command(words, str(model_folder), tmp_path)
    assert ("export it again without --dtype" in ran.stderr) == (not has)
