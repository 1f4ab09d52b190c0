"""Folders that transformers saved mean to us what they mean to transformers: pixels and scores.

Its own pipeline is asked. It gets decoded frames, because which frames to take is another matter.
"""

import json
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    TimesformerConfig,
    TimesformerForVideoClassification,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VideoMAEImageProcessor,
    VideoMAEVideoProcessor,
    VivitConfig,
    VivitForVideoClassification,
    VivitImageProcessor,
    pipeline,
)
from transformers.models.timesformer.video_processing_timesformer import TimesformerVideoProcessor
from transformers.models.vivit.video_processing_vivit import VivitVideoProcessor

from tests.model.test_relatives import randomised
from timesformer_cli.errors import WeightsError
from timesformer_cli.inference.fast.model import make_fast
from timesformer_cli.inference.predictor import Predictor
from timesformer_cli.video.transform import prepare_frame
from timesformer_cli.weights.description import read_description
from timesformer_cli.weights.load import load_path, save_model

FRAMES, SIDE = 4, 32
FAMILIES = {
    "timesformer": (TimesformerConfig, TimesformerForVideoClassification, {"patch_size": 8}),
    "vivit": (VivitConfig, VivitForVideoClassification, {"tubelet_size": [2, 8, 8]}),
    "videomae": (VideoMAEConfig, VideoMAEForVideoClassification, {"patch_size": 8}),
}
CROPPED = {"size": {"shortest_edge": 40}, "crop_size": {"height": SIDE, "width": SIDE}}
every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """Pictures wider than high, whose corners differ, so that a wrong crop or scale is seen."""
    rows, columns = np.mgrid[0:50, 0:77] / 77
    waves = [np.sin(9 * rows * (k + 1) + 5 * columns + k) for k in range(3 * FRAMES)]
    pictures = np.stack(waves).reshape(FRAMES, 3, 50, 77).transpose(0, 2, 3, 1)
    return (127.5 + 100 * pictures + 27 * np.sign(columns - 0.4)[..., None]).astype(np.uint8)


def save(folder: Path, family: str, processor: Any = None, **changes: Any) -> Path:
    """A model with random weights as transformers saves it, with a processor or the usual one."""
    configuration, architecture, own = FAMILIES[family]
    config = configuration(
        **{
            "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3,
            "intermediate_size": 64, "num_frames": FRAMES, "image_size": SIDE, "num_labels": 5,
            **own, **changes,
        }
    )  # fmt: skip
    if "id2label" in changes:
        config.id2label = changes["id2label"]
    model = randomised(architecture(config))
    model.save_pretrained(folder)
    (processor or VideoMAEImageProcessor(**CROPPED)).save_pretrained(folder)
    return folder


def theirs(folder: Path, frames: np.ndarray) -> tuple[torch.Tensor, dict[str, float]]:
    """Pixel values `(t c h w)` and the score of each label, by transformers' own pipeline."""
    asked = pipeline("video-classification", str(folder), device="cpu")
    if asked.video_processor is not None:
        inputs = asked.video_processor(frames, return_tensors="pt")
    else:
        inputs = asked.image_processor(list(frames), return_tensors="pt")
    with torch.no_grad():
        answer = asked.postprocess(asked.model(**inputs), top_k=99)
    (pixels,) = inputs.values()  # V-JEPA 2 has another name for it
    return pixels[0], {row["label"]: row["score"] for row in answer}


def require_alike(folder: Path, frames: np.ndarray) -> None:
    """Fail where our pixels or scores are not those of transformers' pipeline."""
    model, _ = load_path(folder)
    pixels, expected = theirs(folder, frames)
    clip = np.stack([prepare_frame(frame, model.preprocessing)["center"] for frame in frames])
    mean, std = torch.tensor(model.preprocessing.mean), torch.tensor(model.preprocessing.std)
    again = pixels.permute(0, 2, 3, 1) * std + mean
    # They resize in torch, we as Pillow does: one level of 255 apart, where rounding differs.
    assert (torch.from_numpy(clip) / 255 - again).abs().max() <= 1.001 / 255
    exact = (again * 255).round().clamp(0, 255).to(torch.uint8)[None].numpy()
    fast = make_fast(model, torch.device("cpu"), torch.float32)
    scores = Predictor(fast).start(exact)().scores[0]
    assert list(expected) == [model.labels[index] for index in scores.argsort(descending=True)]
    for label, score in zip(model.labels, scores.tolist(), strict=True):
        assert abs(score - expected[label]) < 1e-5


CONFIGS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "multi-label": {"problem_type": "multi_label_classification"},
    "single-label": {"problem_type": "single_label_classification"},
    "two labels": {"num_labels": 2},
    "labels": {"id2label": {0: "ten", 1: "9", 2: "run", 3: "a, b", 4: "é"}},
    "more frames": {"num_frames": 8},
    "coarse norm": {"layer_norm_eps": 1e-2},
    "no biases": {"qkv_bias": False},
}


@every_family
@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
def test_each_field_of_a_config_that_matters_is_honoured(tmp_path, frames, family, changes):
    repeated = np.concatenate([frames] * (changes.get("num_frames", FRAMES) // FRAMES))
    require_alike(save(tmp_path, family, **changes), repeated)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("videomae", {"use_mean_pooling": False}),
        ("videomae", {"use_mean_pooling": False, "problem_type": "multi_label_classification"}),
        ("videomae", {"use_mean_pooling": False, "layer_norm_eps": 1e-2}),
        ("videomae", {"tubelet_size": 4}),
        ("vivit", {"tubelet_size": [4, 8, 8]}),
        ("vivit", {"pooler_output_size": 7}),
        ("timesformer", {"attention_type": "joint_space_time"}),
        ("timesformer", {"drop_path_rate": 0}),
    ],
    ids=str,
)
def test_each_field_of_one_family_is_honoured(tmp_path, frames, family, changes):
    require_alike(save(tmp_path, family, **changes), frames)


PROCESSORS: dict[str, Any] = {
    "short side, crop": VideoMAEImageProcessor(**CROPPED),
    "number for both": VideoMAEImageProcessor(size=40, crop_size=SIDE),
    "both sides": VideoMAEImageProcessor(size={"height": 36, "width": 44}, crop_size=SIDE),
    "both sides, no crop": VideoMAEImageProcessor(
        size={"height": SIDE, "width": SIDE}, do_center_crop=False
    ),
    "mean and std": VideoMAEImageProcessor(
        **CROPPED, image_mean=[0.1, 0.2, 0.3], image_std=[0.5, 0.7, 0.9]
    ),
    "one mean for all": VideoMAEImageProcessor(**CROPPED, image_mean=0.4, image_std=0.3),
    "no normalising": VideoMAEImageProcessor(**CROPPED, do_normalize=False),
    "no rescaling": VideoMAEImageProcessor(
        **CROPPED, do_rescale=False, image_mean=[120, 110, 100], image_std=[60, 50, 40]
    ),
    "another factor": VideoMAEImageProcessor(**CROPPED, rescale_factor=1 / 127.5),
    "VideoMAE, video": VideoMAEVideoProcessor(**CROPPED, image_mean=[0.485, 0.456, 0.406]),
    "TimeSformer, video": TimesformerVideoProcessor(**CROPPED),
    "ViViT": VivitImageProcessor(**CROPPED),
    "ViViT, video": VivitVideoProcessor(**CROPPED),
    "ViViT, no second normalising": VivitImageProcessor(**CROPPED, do_normalize=False),
}


@every_family
@pytest.mark.parametrize("processor", PROCESSORS.values(), ids=PROCESSORS)
def test_each_field_of_a_processor_is_honoured(tmp_path, frames, family, processor):
    require_alike(save(tmp_path, family, processor), frames)


def test_an_oblong_crop_is_honoured(tmp_path, frames):
    """With VideoMAE: transformers' TimeSformer and ViViT take square pictures only."""
    crop = {"height": 24, "width": 40}
    processor = VideoMAEImageProcessor(size={"shortest_edge": 40}, crop_size=crop)
    require_alike(save(tmp_path, "videomae", processor, image_size=[24, 40]), frames)


def rewrite(path: Path, **changes: Any) -> None:
    """Change fields of a JSON file; `...` removes one."""
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}))


@every_family
@pytest.mark.parametrize("field", ["image_mean", "image_std", "rescale_factor", "resample"])
def test_what_a_processor_file_leaves_out_is_its_class_default(tmp_path, frames, family, field):
    kind = {"vivit": VivitImageProcessor}.get(family, VideoMAEImageProcessor)
    save(tmp_path, family, kind(**CROPPED))
    rewrite(tmp_path / "preprocessor_config.json", **{field: ...})
    require_alike(tmp_path, frames)


def test_of_several_processor_files_the_one_that_transformers_takes_counts(tmp_path, frames):
    save(tmp_path, "videomae", VideoMAEImageProcessor(**CROPPED))
    VideoMAEVideoProcessor(**CROPPED, image_mean=[0.1, 0.2, 0.3]).save_pretrained(tmp_path)
    require_alike(tmp_path, frames)
    assert load_path(tmp_path)[0].preprocessing.mean == (0.1, 0.2, 0.3)
    nested = json.loads((tmp_path / "video_preprocessor_config.json").read_text())
    nested["image_mean"] = [0.6, 0.5, 0.4]
    (tmp_path / "processor_config.json").write_text(json.dumps({"video_processor": nested}))
    require_alike(tmp_path, frames)
    assert load_path(tmp_path)[0].preprocessing.mean == (0.6, 0.5, 0.4)


def test_a_renamed_class_of_processor_is_read_as_what_it_became(tmp_path, frames):
    save(tmp_path, "videomae")
    file = tmp_path / "preprocessor_config.json"
    for old in ("VideoMAEFeatureExtractor", "VideoMAEImageProcessorFast"):
        rewrite(file, image_processor_type=..., feature_extractor_type=old)
        assert load_path(tmp_path)[0].preprocessing.resize == 40


REFUSED_OF_PROCESSORS: dict[str, tuple[dict[str, Any], str]] = {
    "bicubic": ({"resample": 3}, "resample is 3"),
    "no resizing": ({"do_resize": False}, "do_resize is false"),
    "no crop": ({"do_center_crop": False}, "do_center_crop is false"),
    "padding": ({"do_pad": True}, "do_pad is a field that tsf does not know"),
    "channels turned": ({"do_flip_channel_order": True}, "do_flip_channel_order"),
    "sampled by rate": ({"fps": 4}, "fps is a field"),
    "crop above picture": (
        {"crop_size": {"height": 48, "width": 48}},
        "crop_size is 48x48, larger",
    ),
    "longest edge": ({"size": {"longest_edge": 40}}, "size is {'longest_edge': 40}"),
    "two edges": ({"size": {"shortest_edge": 40, "longest_edge": 60}}, "size is"),
    "size in words": ({"size": "40"}, "size is '40'"),
    "true": ({"size": True}, "a picture size is True"),
    "two means": ({"image_mean": [0.5, 0.5]}, "image_mean is"),
    "mean in words": ({"image_mean": ["a", 0.5, 0.5]}, "image_mean is"),
    "factor": ({"rescale_factor": "1/255"}, "rescale_factor is '1/255'"),
    "factor 0": ({"rescale_factor": 0}, "rescale_factor is 0"),
    "another class": ({"image_processor_type": "CLIPImageProcessor"}, "its class is 'CLIPImage"),
    "own class": ({"image_processor_type": "MyProcessor"}, "its class is 'MyProcessor'"),
    "offset": ({"offset": True}, "offset is True"),
    "no mean": ({"image_mean": None}, "image_mean is None"),
    "no factor": ({"rescale_factor": None}, "rescale_factor is None"),
    "no filter": ({"resample": None}, "resample is None"),
    "code": ({"auto_map": {"AutoImageProcessor": "mine.Mine"}}, "auto_map is a field"),
}


@pytest.mark.parametrize(
    ("changes", "words"), REFUSED_OF_PROCESSORS.values(), ids=REFUSED_OF_PROCESSORS
)
def test_a_processor_field_that_cannot_be_honoured_is_refused_by_name(tmp_path, changes, words):
    save(tmp_path, "videomae")
    file = tmp_path / "preprocessor_config.json"
    rewrite(file, **changes)
    with pytest.raises(WeightsError) as refusal:
        load_path(tmp_path)
    assert str(refusal.value).startswith(f"{file}: {words}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "changes", [{"do_pad": False}, {"pad_size": None}, {"processor_class": "X"}, {"device": "cpu"}]
)
def test_a_processor_field_without_effect_is_passed_over(tmp_path, frames, changes):
    save(tmp_path, "videomae")
    rewrite(tmp_path / "preprocessor_config.json", **changes)
    require_alike(tmp_path, frames)


REFUSED_OF_CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "activation": ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
    "grey": ({"num_channels": 1}, "num_channels is 1"),
    "regression": ({"problem_type": "regression"}, "problem_type is 'regression'"),
    "pruned": ({"pruned_heads": {"0": [1]}}, "pruned_heads is"),
    "unknown field": ({"use_registers": False}, "use_registers is a field that tsf does not know"),
    "another unknown": ({"pooling": "max"}, "pooling is a field"),
    "code": ({"auto_map": {"AutoModel": "mine.Mine"}}, "auto_map is set"),
    "quantised": ({"quantization_config": {"bits": 8}}, "quantization_config is set"),
    "no classifier": (
        {"architectures": ["VideoMAEForPreTraining"]},
        "architectures is VideoMAEFor",
    ),
    "labels without names": (
        {"id2label": ..., "label2id": ..., "num_labels": 5},
        "num_labels is 5",
    ),
    "labels as a list": ({"id2label": ["a", "b"]}, "id2label does not count from 0"),
    "labels from 1": ({"id2label": {"1": "a", "2": "b"}}, "id2label does not count from 0"),
    "labels turned": (
        {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}},
        "id2label and label2id disagree about class 1, 'a'",
    ),
    "oblong tubelet": ({"tubelet_size": [2, 8, 4]}, "tubelet_size is"),
    "two patches": ({"patch_size": [8, 8]}, "configuration field 'patch' has the wrong type"),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED_OF_CONFIGS.values(), ids=REFUSED_OF_CONFIGS)
def test_a_config_field_that_cannot_be_honoured_is_refused_by_name(tmp_path, changes, words):
    save(tmp_path, "videomae")
    file = tmp_path / "config.json"
    rewrite(file, **changes)
    with pytest.raises(WeightsError) as refusal:
        load_path(tmp_path)
    assert str(refusal.value).startswith(f"{file}: {words}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "changes",
    [{"_name_or_path": "x"}, {"torch_dtype": "float16"}, {"norm_pix_loss": False}, {"foo": None}],
    ids=str,
)
def test_a_config_field_without_effect_is_passed_over(tmp_path, frames, changes):
    save(tmp_path, "videomae")
    rewrite(tmp_path / "config.json", **changes)
    require_alike(tmp_path, frames)


@pytest.mark.parametrize(
    ("family", "mean", "stride"),
    [("timesformer", 0.45, 64), ("vivit", 0.5, 2), ("videomae", 0.485, 4)],
)
def test_without_a_processor_file_a_family_has_its_own_defaults_and_says_so(
    tmp_path, family, mean, stride
):
    save(tmp_path, family)
    (tmp_path / "preprocessor_config.json").unlink()
    model, notes = load_path(tmp_path)
    assert (model.preprocessing.mean[0], model.sampling.stride) == (mean, stride)
    said = "\n".join(notes)
    assert f"a stride of {stride} is assumed" in said and f"mean {mean:g}" in said


@pytest.mark.parametrize("multi_label", [True, False])
def test_our_own_folders_keep_what_was_read(tmp_path, frames, multi_label):
    """Also where the model has to be written in our own layout, which VideoMAE's is."""
    kind = "multi_label_classification" if multi_label else None
    processor = VideoMAEImageProcessor(size={"height": 36, "width": 44}, crop_size=SIDE)
    for family, changes in (("videomae", {"use_mean_pooling": False}), ("timesformer", {})):
        first, second = tmp_path / family, tmp_path / f"{family}-again"
        save(first, family, processor, problem_type=kind, **changes)
        model, _ = load_path(first)
        save_model(model, second)
        again, _ = load_path(second)
        assert again.config == model.config and again.config.multi_label == multi_label
        assert again.preprocessing == model.preprocessing
        clip = torch.from_numpy(frames[:, :SIDE, :SIDE]).permute(0, 3, 1, 2)[None] / 255
        with torch.no_grad():
            # Copies, for where weights lie in a file decides the last bit of a sum.
            assert torch.equal(deepcopy(again)(clip), deepcopy(model)(clip))
        if family == "timesformer":  # transformers reads that folder too
            require_alike(second, frames)


PUBLIC = Path(__file__).parents[3] / "shared" / "public_cases"


@pytest.fixture
def public() -> Path:
    if not PUBLIC.is_dir():
        pytest.skip(f"no cases at {PUBLIC}")
    return PUBLIC


def scores_of(folder: Path, video: Path) -> list[float]:
    from timesformer_cli.inference.classify import ClassifyOptions, classify_videos
    from timesformer_cli.video import VideoPath

    options = ClassifyOptions(model=str(folder), device="cpu", dtype="float32", stride=8)
    (result,) = classify_videos([VideoPath(str(video))], options)
    assert result.status == "ok", result
    return [row.score for row in sorted(result.predictions, key=lambda row: row.index)]


@pytest.mark.parametrize(
    ("model", "video", "plain"),
    [
        ("vm_squash", "wide.mkv", "squashed.mkv"),
        ("vm_squash_nocrop", "wide.mkv", "squashed.mkv"),
        ("vm_videoproc", "wide.mkv", "wide.mkv"),
    ],
)
def test_public_folders_give_the_scores_of_the_plain_one(public, model, video, plain):
    models = public / "models"
    expected = scores_of(models / "vm_plain", public / plain)
    assert np.abs(np.subtract(scores_of(models / model, public / video), expected)).max() < 2e-3


def test_the_public_folder_without_mean_pooling_reads_the_first_token(public, frames):
    from safetensors.torch import load_file

    folder = public / "models" / "vm_nomean"
    model, _ = load_path(folder)
    assert model.config.readout == "first"
    asked = VideoMAEForVideoClassification.from_pretrained(folder).float().eval()
    clip = torch.rand(1, model.config.frames, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(model(clip), asked(clip).logits, atol=1e-5)
    assert "videomae.layernorm.weight" in load_file(os.fspath(folder / "model.safetensors"))


@pytest.mark.parametrize("name", ["vm_noproc", "checkpoint-500"])
def test_public_folders_without_a_processor_file_say_what_is_assumed(public, name):
    model, notes = load_path(public / "models" / name)
    family = read_description(public / "models" / name).config.attention
    means = {"videomae": (0.485, 0.456, 0.406), "divided": (0.45,) * 3}
    assert model.preprocessing.mean == means[family]
    assert any("no preprocessor_config.json" in note for note in notes)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lab_numlabels", "num_labels is 3"),
        ("patch_list", "'patch' has the wrong type"),
        ("vm_bicubic", "resample is 3"),
    ],
)
def test_public_folders_that_cannot_be_honoured_are_refused(public, name, words):
    with pytest.raises(WeightsError, match=words):
        load_path(public / "models" / name)
