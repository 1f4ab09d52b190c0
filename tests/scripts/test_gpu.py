"""The measurement on a GPU, run on the CPU with a tiny model: that all its parts are there."""

import pytest

from scripts import gpu
from timesformer_cli.errors import TsfError
from timesformer_cli.sizes import SIZES, Size


@pytest.fixture
def small(monkeypatch):
    """What takes long is left out."""
    monkeypatch.setitem(SIZES, "tiny", Size(dim=32, depth=1, heads=2, mlp_dim=64))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name, value in {
        "CONTENDERS": ("tsf", "timm ViT"),
        "SHORT": ("float32", "bfloat16"),
        "LARGE": 2,
        "DECODED": 2,
        "compare_processes": lambda *_, **__: [],
        "checks": lambda: "3 passed",
    }.items():
        monkeypatch.setattr(gpu, name, value)


def test_the_page_has_answers_speed_training_and_decoding(small, tmp_path):
    page = tmp_path / "gpu.md"
    words = "--device cpu --size tiny --batches 1 2 --training 1 --runs 1".split()
    gpu.main(["--output", str(page), *words])
    text = page.read_text()
    for heading in ("# On a GPU", "## Answers", "## Speed", "## Training", "## Decoding"):
        assert heading in text
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    models = {(row[0], row[1], row[2]) for row in lines if len(row) == 12}
    for contender in gpu.CONTENDERS:
        assert {("1", contender, "float32"), ("2", contender, "bfloat16")} <= models
        assert ("2", contender, "float32") not in models
    steps = [row for row in lines if len(row) == 6 and row[0] == "1"]
    assert len(steps) == 4 and {row[2] for row in steps} == {"yes", "no"}
    decoded = {row[0]: row[1] for row in lines if len(row) == 2}
    assert gpu.HOW_DECODED.keys() <= decoded.keys() and "3 passed" in text
    assert int(decoded["PyAV, on the processors"]) > 0


def test_nothing_is_measured_where_the_tests_fail(monkeypatch, tmp_path, capsys):
    def checks():
        raise TsfError("1 failed")

    monkeypatch.setattr(gpu, "checks", checks)
    with pytest.raises(SystemExit, match="error: 1 failed"):
        gpu.main(["--output", str(tmp_path / "gpu.md"), "--device", "cpu"])
    assert not (tmp_path / "gpu.md").exists()
