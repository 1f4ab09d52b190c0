"""A folder's `problem_type` means in `tsf classify` what it means in transformers' pipeline."""

import json

import numpy as np
import pytest
import torch
from transformers import (
    TimesformerConfig,
    TimesformerForVideoClassification,
    VideoClassificationPipeline,
    VideoMAEImageProcessor,
)
from typer.testing import CliRunner

from tests.support import clips
from tests.support.contract import require_valid
from timesformer_cli.cli.app import app

SIDE, FRAMES = 32, 4


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """As many frames as the model takes, of its size: neither side chooses or resizes any."""
    random = np.random.default_rng(0)
    frames = list(random.integers(0, 256, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8))
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    return clips.write(path, frames, size=(SIDE, SIDE), pix_fmt="yuv444p")


@pytest.mark.parametrize(
    "kind", ["multi_label_classification", "single_label_classification", None]
)
def test_scores_are_those_of_transformers_pipeline(tmp_path, video, kind):
    torch.manual_seed(0)
    config = TimesformerConfig(
        image_size=SIDE,
        patch_size=8,
        num_frames=FRAMES,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        initializer_range=0.5,
        problem_type=kind,
        id2label=dict(enumerate("abcde")),
    )
    model = TimesformerForVideoClassification(config).eval()
    processor = VideoMAEImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    pipeline = VideoClassificationPipeline(model=model, image_processor=processor, device="cpu")
    expected = {one["label"]: one["score"] for one in pipeline(str(video), top_k=5)}
    words = ["classify", str(video), "-m", str(tmp_path), "--stride", "1", "--format", "json"]
    ran = CliRunner().invoke(app, [*words, "--device", "cpu", "--dtype", "float32"])
    assert ran.exit_code == 0, ran.stderr
    (result,) = json.loads(ran.stdout)
    require_valid("classify", result)
    given = {one["label"]: one["score"] for one in result["predictions"]}
    assert given == pytest.approx(expected, abs=1e-5)
    several = kind == "multi_label_classification"
    assert result["multi_label"] == several
    assert (sum(given.values()) == pytest.approx(1, abs=1e-4)) != several
    if several:
        assert set(result["labels"]) == {label for label, score in expected.items() if score >= 0.5}
