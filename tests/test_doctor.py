"""What `tsf doctor` finds, and what it says where something is broken."""

import json

import pytest
from typer.testing import CliRunner

import timesformer_cli.doctor as module
from tests.support.contract import require_valid
from tests.support.hub import serving
from timesformer_cli.cli.app import app


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Small products: how fast they are matters to no test."""
    from timesformer_cli.benchmark import machine

    monkeypatch.setattr(machine, "PRODUCT", dict.fromkeys(machine.PRODUCT, 64))
    monkeypatch.setattr(machine, "PRODUCT_SECONDS", 0.001)


@pytest.fixture
def no_decoders(monkeypatch):
    """Decoding takes worker processes; most tests are about other things."""
    read = module.CheckedDecoder(name="av", libraries=None, reads=True, fault=None)
    monkeypatch.setattr(module, "_decode", lambda broken: iter([read]))


def doctor(*arguments):
    return CliRunner().invoke(app, ["doctor", *arguments])


def test_it_finds_what_there_is(tmp_path, monkeypatch):
    monkeypatch.setenv("TSF_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "file").write_bytes(bytes(1000))
    ran = doctor("--format", "json")
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    require_valid("doctor", found)
    import torch

    versions = {package["name"]: package["version"] for package in found["packages"]}
    assert versions["torch"] == torch.__version__.split("+")[0]
    av = next(decoder for decoder in found["decoders"] if decoder["name"] == "av")
    assert av["reads"] and "libavcodec" in av["libraries"]
    assert {device["name"] for device in found["devices"]} >= {"cpu"}
    measured = {speed["dtype"]: speed for speed in found["speeds"] if speed["device"] == "cpu"}
    assert list(measured) == ["float32", "bfloat16", "int8"]
    assert measured["float32"]["gflops"] > 0
    assert all((s["gflops"] is None) == bool(s["why_not"]) for s in measured.values())
    folder = found["folders"][0]
    assert folder["path"] == str(tmp_path / "cache") and folder["bytes"] == 1000
    assert folder["free_bytes"] > 0 and folder["writable"]
    assert found["network"] is None and found["broken"] == []


def test_the_table_names_every_thing(no_decoders):
    ran = doctor()
    assert ran.exit_code == 0
    for name in ("torch", "decoder av", "device cpu", "cpu float32", "TSF_CACHE", "HF_HOME"):
        assert any(line.startswith(name) for line in ran.stdout.splitlines()), name
    assert ran.stdout.rstrip().endswith("all that is needed works")


def missing(monkeypatch, *names):
    real = module.import_module

    def imported(name):
        if name in names:
            raise ImportError(f"No module named '{name}'")
        return real(name)

    monkeypatch.setattr(module, "import_module", imported)


def test_a_package_that_is_needed_and_broken_is_exit_code_1(no_decoders, monkeypatch):
    missing(monkeypatch, "safetensors")
    ran = doctor()
    assert ran.exit_code == 1
    assert "broken: safetensors" in ran.stdout and "pip install" in ran.stdout
    assert "Traceback" not in ran.output


def test_a_package_that_only_some_need_is_advice(no_decoders, monkeypatch):
    missing(monkeypatch, "onnxruntime", "matplotlib")
    ran = doctor()
    assert ran.exit_code == 0
    assert "advice: pip install matplotlib: plots" in ran.stdout
    assert "onnxruntime" in ran.stdout


def test_without_any_decoder_it_is_broken(monkeypatch):
    none = module.CheckedDecoder(name="av", libraries=None, reads=False, fault="not installed")
    monkeypatch.setattr(module, "_decode", lambda broken: iter([none]))
    ran = doctor()
    assert ran.exit_code == 1 and "no decoder reads a video" in ran.stdout


def test_a_folder_that_cannot_be_written_to_is_said(no_decoders, monkeypatch, tmp_path):
    monkeypatch.setattr(module.os, "access", lambda path, mode: False)
    ran = doctor()
    assert "cannot be written to" in ran.stdout and "TSF_CACHE" in ran.stdout


def test_the_hub_is_asked_only_when_told_to(no_decoders, monkeypatch, tmp_path):
    from huggingface_hub import constants

    with serving(tmp_path) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        assert json.loads(doctor("--format", "json").stdout)["network"] is None
        assert not hub.asked
        assert hub.endpoint in json.loads(doctor("--network", "--format", "json").stdout)["network"]
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert (
        "cannot be reached" in json.loads(doctor("--network", "--format", "json").stdout)["network"]
    )
