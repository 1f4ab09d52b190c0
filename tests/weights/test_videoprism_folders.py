"""VideoPrism folders of transformers: classifiers, encoders, and models whose classes are words."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import (
    LlavaOnevisionVideoProcessor,
    VideoPrismClipModel,
    VideoPrismConfig,
    VideoPrismForVideoClassification,
    VideoPrismVisionConfig,
    VideoPrismVisionModel,
)
from typer.testing import CliRunner

from tests.model.test_relatives import EXACT, clips
from tests.weights.test_transformers_folders import frames, rewrite
from tests.weights.test_vjepa2_folders import changed
from timesformer_cli.cli.app import app
from timesformer_cli.errors import UsageError, WeightsError
from timesformer_cli.inference.fast.model import FastModel
from timesformer_cli.training.initial_model import initial_model
from timesformer_cli.training.options import TrainOptions
from timesformer_cli.video.transform import prepare_frame
from timesformer_cli.weights.hub.locate import Located
from timesformer_cli.weights.load import load_model, load_path, save_model

__all__ = ["frames"]  # a fixture
EXAMPLES = Path(__file__).parents[2] / "examples"
VISION = {
    "hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 36, "num_spatial_layers": 2,
    "num_temporal_layers": 2, "num_auxiliary_layers": 2, "image_size": 36, "num_frames": 4,
}  # fmt: skip
TEXT = {
    "hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 36, "num_hidden_layers": 2,
    "vocab_size": 40,
}  # fmt: skip
PROCESSOR = {"size": {"height": 36, "width": 36}, "do_normalize": False, "do_sample_frames": True}


def randomised(model: torch.nn.Module) -> Any:
    """In evaluation mode, with every parameter random: logits near the cap, norms off 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2, generator=generator)
    return model.eval()


def save(folder: Path, architecture: Any = VideoPrismForVideoClassification, **changes: Any) -> Any:
    """A model as transformers saves it, with its processor."""
    labels = {} if architecture is VideoPrismVisionModel else {"num_labels": 5}
    model = randomised(architecture(VideoPrismVisionConfig(**VISION | labels | changes)))
    model.save_pretrained(folder)
    LlavaOnevisionVideoProcessor(**PROCESSOR).save_pretrained(folder)
    return model


def save_words(folder: Path, text: dict[str, Any] | None = None, **changes: Any) -> Any:
    config = VideoPrismConfig(vision_config=VISION | changes, text_config=TEXT | (text or {}))
    model = randomised(VideoPrismClipModel(config))
    model.save_pretrained(folder)
    LlavaOnevisionVideoProcessor(**PROCESSOR).save_pretrained(folder)
    return model


SHAPES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "five heads, an odd MLP": {
        "hidden_size": 60,
        "num_attention_heads": 5,
        "intermediate_size": 77,
    },
    "one block of each": {"num_spatial_layers": 1, "num_temporal_layers": 1},
    "small patches": {"tubelet_size": [1, 6, 6]},
    "coarse norm": {"layer_norm_eps": 1e-2},
}


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_a_classifier_gives_transformers_logits_at_any_length_and_size(tmp_path, changes):
    theirs = save(tmp_path, **changes)
    ours, _ = load_path(tmp_path)
    form = FastModel(ours)
    for t, h, w in ((4, 36, 36), (1, 36, 36), (3, 36, 36), (8, 36, 36), (5, 72, 54)):
        clip = clips(2, t, 3, h, w)
        other = (t, h, w) != (4, 36, 36)
        with torch.no_grad():
            expected = theirs(clip, interpolate_pos_encoding=other).logits[:, 0]
            assert expected.std(dim=0).max() > 1e-2
            assert_close(ours(clip), expected, **EXACT)
            assert_close(form(clip), expected, **EXACT)


def test_a_picture_that_is_not_square_has_a_table_of_its_own(tmp_path):
    theirs = save(tmp_path, image_size=[54, 36])
    rewrite(tmp_path / "video_preprocessor_config.json", size={"height": 54, "width": 36})
    clip = clips(2, 4, 3, 54, 36)
    with torch.no_grad():
        assert_close(load_path(tmp_path)[0](clip), theirs(clip).logits[:, 0], **EXACT)


@pytest.mark.parametrize("video", sorted(EXAMPLES.glob("*.mp4"))[:3], ids=lambda path: path.stem)
def test_pixels_of_real_clips_are_those_of_their_processor(tmp_path, video):
    import av

    with av.open(str(video)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][:4]
    save(tmp_path)
    rewrite(tmp_path / "config.json", image_size=288)
    rewrite(tmp_path / "video_preprocessor_config.json", size={"height": 288, "width": 288})
    processor = LlavaOnevisionVideoProcessor.from_pretrained(tmp_path)
    (wanted,) = processor(np.stack(shown), do_sample_frames=False, return_tensors="pt").values()
    preprocessing = load_preprocessing(tmp_path)
    made = np.stack([prepare_frame(frame, preprocessing)["center"] for frame in shown]) / 255
    assert (preprocessing.mean, preprocessing.std) == ((0, 0, 0), (1, 1, 1))
    apart = torch.from_numpy(made).permute(0, 3, 1, 2) - wanted[0]
    # torch rounds between the two directions of the filter otherwise than Pillow does.
    assert (apart.abs() <= 1.001 / 255).double().mean() > 0.9999
    assert apart.abs().max() <= 2.001 / 255


def load_preprocessing(folder: Path) -> Any:
    from timesformer_cli.weights.description import read_description

    return read_description(folder).preprocessing


def test_the_entry_of_a_processor_of_words_and_pictures_counts(tmp_path):
    save_words(tmp_path)
    file = tmp_path / "video_preprocessor_config.json"
    entry = json.loads(file.read_text())
    file.unlink()
    (tmp_path / "processor_config.json").write_text(
        json.dumps({"processor_class": "VideoPrismProcessor", "video_processor": entry})
    )
    read = load_preprocessing(tmp_path)
    assert (read.resize, read.crop, read.filter) == ((36, 36), (36, 36), "bicubic")


TEXTS = (
    torch.tensor([[5, 6, 7, 8, 9, 0, 0], [1, 0, 0, 0, 0, 0, 0], [39, 2, 3, 4, 5, 6, 7], [0] * 7]),
)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ({}, {}),
        ({"num_hidden_layers": 1, "num_attention_heads": 4}, {"num_auxiliary_layers": 0}),
        (
            {
                "hidden_size": 60,
                "num_attention_heads": 5,
                "intermediate_size": 77,
                "vocab_size": 64,
            },
            {"hidden_size": 60, "num_attention_heads": 5, "num_auxiliary_layers": 1},
        ),
        ({"max_position_embeddings": 7, "layer_norm_eps": 1e-2}, {"num_frames": 3}),
    ],
    ids=str,
)
def test_videos_and_texts_become_transformers_vectors(tmp_path, text, changes):
    theirs = save_words(tmp_path, text, **changes)
    ours, notes = load_path(tmp_path)
    assert (ours.config.classes, ours.labels) == (0, ())
    assert not any("label" in note for note in notes)
    tokens = TEXTS[0]
    mask = torch.arange(7) < torch.tensor([[5], [1], [7], [0]])
    form = FastModel(ours)
    for t in (changes.get("num_frames", 4), 1, 7):
        clip = clips(2, t, 3, 36, 36)
        with torch.no_grad():
            expected = theirs(clip, tokens, mask.long(), interpolate_pos_encoding=True)
            assert_close(ours.features(clip), expected.video_embeds, **EXACT)
            assert_close(form.features(clip), expected.video_embeds, **EXACT)
            assert_close(ours.text(tokens, mask), expected.text_embeds, **EXACT)
    with torch.no_grad():  # padding is not seen, so it may be left out
        assert_close(ours.text(tokens[:1, :5], mask[:1, :5]), expected.text_embeds[:1], **EXACT)
        assert_close(ours.text(tokens[3:, :0], mask[3:, :0]), expected.text_embeds[3:], **EXACT)
    assert_close(ours.features(clip).norm(dim=1), torch.ones(2), rtol=0, atol=1e-4)


def test_texts_that_are_not_for_the_tower_are_refused(tmp_path):
    save_words(tmp_path)
    tower = load_path(tmp_path)[0].text
    with pytest.raises(UsageError, match="a text has 65 tokens; the model takes 64"):
        tower(torch.ones(1, 65, dtype=torch.long), torch.ones(1, 65, dtype=torch.bool))
    for bad in (40, -1):
        with pytest.raises(UsageError, match="token ids must lie from 0 to 39"):
            tower(torch.tensor([[bad]]), torch.tensor([[True]]))


WITHOUT_EFFECT: dict[str, Any] = {"num_auxiliary_layers": 7, "apply_l2norm": False}


def test_what_only_models_of_words_have_changes_no_classifier(tmp_path):
    theirs = save(tmp_path, **WITHOUT_EFFECT)
    clip = clips(2, 4, 3, 36, 36)
    with torch.no_grad():
        assert_close(load_path(tmp_path)[0](clip), theirs(clip).logits[:, 0], **EXACT)


def test_fields_that_a_file_leaves_out_have_transformers_defaults(tmp_path):
    save(tmp_path)
    file = tmp_path / "config.json"
    kept = ("model_type", "architectures", "id2label", "label2id")
    file.write_text(json.dumps({name: json.loads(file.read_text())[name] for name in kept}))
    rewrite(tmp_path / "video_preprocessor_config.json", size={"height": 288, "width": 288})
    with pytest.raises(WeightsError, match="missing vision_model"):
        load_path(tmp_path)  # the tensors are those of a smaller one
    from timesformer_cli.weights.description import read_description

    config, theirs = read_description(tmp_path).config, VideoPrismVisionConfig()
    assert (config.dim, config.depth, config.heads, config.time_blocks) == (
        theirs.hidden_size,
        theirs.num_spatial_layers,
        theirs.num_attention_heads,
        theirs.num_temporal_layers,
    )
    assert (config.frames, config.height, config.patch, config.norm_eps) == (16, 288, 18, 1e-6)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "activation": ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
    "cap": ({"attn_logit_softcapping": 30.0}, "attn_logit_softcapping is 30.0"),
    "biases": ({"qkv_bias": False}, "qkv_bias is False"),
    "tubelets": ({"tubelet_size": [2, 18, 18]}, r"tubelet_size is [2, 18, 18]"),
    "oblong patches": ({"tubelet_size": [1, 18, 9]}, "tubelet_size is [1, 18, 9]"),
    "another family's": ({"num_hidden_layers": 2}, "num_hidden_layers is a field that tsf"),
    "blocks in words": ({"num_temporal_layers": "2"}, "configuration field 'time_blocks' has"),
    "no blocks": ({"num_temporal_layers": -2}, "time_blocks is -2"),
    "regression": ({"problem_type": "regression"}, "problem_type is 'regression'"),
    "another class": (
        {"architectures": ["VideoPrismVideoModel"]},
        "architectures is VideoPrismVideoModel",
    ),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_a_field_that_cannot_be_honoured_is_refused_by_name(tmp_path, changes, words):
    save(tmp_path)
    rewrite(tmp_path / "config.json", **changes)
    with pytest.raises(WeightsError) as refusal:
        load_path(tmp_path)
    assert str(refusal.value).startswith(f"{tmp_path / 'config.json'}: {words}")
    assert "\n" not in str(refusal.value)


WORDS_REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "activation": ("text_config", {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    "length kept": ("text_config", {"apply_l2norm": False}, "apply_l2norm is False"),
    "video length kept": ("vision_config", {"apply_l2norm": False}, "apply_l2norm is False"),
    "cap": ("text_config", {"attn_logit_softcapping": 30.0}, "attn_logit_softcapping is 30.0"),
    "unknown": ("text_config", {"rope_theta": 1.0}, "rope_theta is a field that tsf"),
    "layers": ("vision_config", {"num_auxiliary_layers": -1}, "num_auxiliary_layers is -1"),
}


@pytest.mark.parametrize(("entry", "changes", "words"), WORDS_REFUSED.values(), ids=WORDS_REFUSED)
def test_a_field_of_a_tower_is_refused_with_the_towers_name(tmp_path, entry, changes, words):
    save_words(tmp_path)
    file = tmp_path / "config.json"
    rewrite(file, **{entry: json.loads(file.read_text())[entry] | changes})
    with pytest.raises(WeightsError) as refusal:
        load_path(tmp_path)
    assert str(refusal.value).startswith(f"{file}: {entry}: {words}")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text_config": 3}, "text_config is 3; it must be an object"),
        ({"projection_dim": 5}, "projection_dim is a field"),
        ({"text_config": TEXT | {"hidden_size": 48}}, "the text tower's width is 48"),
        ({"text_config": TEXT | {"vocab_size": 0}}, "text vocabulary is 0"),
    ],
)
def test_a_file_of_both_towers_that_cannot_be_is_refused(tmp_path, changes, words):
    save_words(tmp_path)
    rewrite(tmp_path / "config.json", **changes)
    with pytest.raises(WeightsError) as refusal:
        load_path(tmp_path)
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        (save, {"num_temporal_layers": 1}, "left over vision_model.temporal_layers.1."),
        (save, {"num_spatial_layers": 3}, "missing vision_model.spatial_layers.2."),
        (save_words, {"num_auxiliary_layers": 1}, "left over video_model.auxiliary_layers.1."),
        (save_words, {"num_hidden_layers": 3}, "missing text_model.layers.2."),
    ],
)
def test_another_depth_of_a_part_is_one_line(tmp_path, kind, changes, words):
    kind(tmp_path)
    file = tmp_path / "config.json"
    values = json.loads(file.read_text())
    part = (
        values
        if kind is save
        else values["text_config" if "num_hidden_layers" in changes else "vision_config"]
    )
    part |= changes
    file.write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=words) as refusal:
        load_path(tmp_path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "name", ["text_model.layers.0.extra.weight", "video_model.head.extra", "logit_scale"]
)
def test_a_tensor_too_many_is_named(tmp_path, name):
    save_words(tmp_path)
    changed(tmp_path, **{name: torch.zeros(3)})
    with pytest.raises(WeightsError, match=f"left over {name}"):
        load_path(tmp_path)


def test_the_places_of_words_are_computed_whether_a_file_has_them_or_not(tmp_path):
    theirs = save_words(tmp_path)
    names = [f"text_model.embeddings.position_{part}" for part in ("embedding", "ids")]
    assert set(names) <= set(load_file(tmp_path / "model.safetensors"))
    changed(tmp_path, **dict.fromkeys(names))
    tokens, mask = TEXTS[0][2:3], torch.ones(1, 7, dtype=torch.bool)
    with torch.no_grad():
        expected = theirs.get_text_features(tokens, mask.long()).pooler_output
        assert_close(load_path(tmp_path)[0].text(tokens, mask), expected, **EXACT)


def test_bare_files_tell_all(tmp_path):
    wide = {"hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 192}
    saved = {
        "classifier": save(tmp_path / "classifier", **wide),
        "words": save_words(tmp_path / "words", wide, **wide),
    }
    for name in saved:
        bare = tmp_path / f"{name}.safetensors"
        save_file(load_file(tmp_path / name / "model.safetensors"), bare)
        ours, notes = load_path(bare)
        whole, _ = load_path(tmp_path / name)
        assert ours.config == whole.config
        assert not any("px" in note for note in notes)


def test_our_own_folder_keeps_what_was_read(tmp_path):
    for name, kind in (("classifier", save), ("words", save_words)):
        kind(tmp_path / name)
        model, _ = load_path(tmp_path / name)
        save_model(model, tmp_path / f"{name}-ours")
        again, notes = load_path(tmp_path / f"{name}-ours")
        assert (again.config, again.preprocessing, notes) == (model.config, model.preprocessing, ())
        assert again.state_dict().keys() == model.state_dict().keys()
        for key, tensor in model.state_dict().items():
            assert torch.equal(again.state_dict()[key], tensor)


@pytest.fixture
def encoder(tmp_path) -> Path:
    save(tmp_path / "encoder", VideoPrismVisionModel)
    return tmp_path / "encoder"


def test_an_encoder_as_it_is_gives_the_mean_of_its_tokens(encoder):
    model, notes = load_model(Located(name="mine", path=encoder, bare=True))
    assert not any("LABEL" in note or "are new" in note for note in notes)
    theirs = VideoPrismVisionModel.from_pretrained(encoder).eval()
    clip = clips(2, 4, 3, 36, 36)
    with torch.no_grad():
        expected = theirs(clip).last_hidden_state.mean(dim=1)
        assert_close(model.features(clip), expected, **EXACT)
        assert_close(FastModel(model).features(clip), expected, **EXACT)


def test_tsf_embed_takes_encoders_and_models_of_words_and_classify_no_encoder(encoder, tmp_path):
    video = next(iter(sorted(EXAMPLES.glob("*.mp4"))))
    arguments = ["embed", str(video), "--dtype", "float32", "-m"]
    ran = CliRunner().invoke(app, [*arguments, str(encoder)])
    assert ran.exit_code == 0, ran.stderr
    (embedding,) = json.loads(ran.stdout)["embeddings"]
    assert len(embedding["vector"]) == 24 and embedding["predictions"] == []
    ran = CliRunner().invoke(app, [*arguments, str(encoder), "-o", str(tmp_path / "v.npy")])
    assert ran.exit_code == 0 and np.load(tmp_path / "v.npy").shape == (1, 24)
    save_words(tmp_path / "words")
    ran = CliRunner().invoke(app, [*arguments, str(tmp_path / "words")])
    vector = json.loads(ran.stdout)["embeddings"][0]["vector"]
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)
    ran = CliRunner().invoke(app, ["classify", str(video), "-m", str(encoder)])
    assert ran.exit_code == 3 and "an encoder without a classifier" in ran.stderr


def test_tsf_info_tells_of_the_text_tower(tmp_path):
    theirs = save_words(tmp_path)
    facts = json.loads(CliRunner().invoke(app, ["info", str(tmp_path), "--format", "json"]).stdout)
    assert facts["parameters"] == sum(part.numel() for part in theirs.parameters())
    assert (facts["classes"], facts["text"]["vocabulary"]) == (0, 40)
    shown = CliRunner().invoke(app, ["info", str(tmp_path)]).stdout
    assert "the words that you give, in 'a video of {}.'" in shown
    ran = CliRunner().invoke(app, ["info", str(tmp_path), "--labels"])
    assert ran.exit_code == 2 and "the words that you give" in ran.stderr


def test_a_classifier_of_transformers_classifies(tmp_path):
    save(tmp_path)
    video = next(iter(sorted(EXAMPLES.glob("*.mp4"))))
    ran = CliRunner().invoke(app, ["classify", str(video), "-m", str(tmp_path), "--format", "json"])
    assert ran.exit_code == 0, ran.stderr
    assert len(json.loads(ran.stdout)[0]["predictions"]) == 5


@pytest.mark.parametrize("kind", ["encoder", "words"])
def test_training_starts_from_it(tmp_path, kind):
    if kind == "encoder":
        save(tmp_path, VideoPrismVisionModel)
    else:
        save_words(tmp_path)
    options = TrainOptions(
        data="clips", out="out", init=str(tmp_path), seed=3, frames=6, image_size=54
    )
    model = initial_model(options, ("a", "b", "c"), lambda text: None)
    assert (model.labels, model.text) == (("a", "b", "c"), None)
    kept, _ = load_model(str(tmp_path), encoder=True)
    for name, tensor in model.state_dict().items():
        if "positions" not in name and not name.startswith(("pooler.", "head.")):
            assert torch.equal(tensor, kept.state_dict()[name]), name
    # Tables of other sizes are what the source's are at that size.
    clip = clips(1, 6, 3, 54, 54)
    with torch.no_grad():
        seen = []
        for each in (model, kept):
            each.eval().norm.register_forward_hook(lambda module, given, made: seen.append(made))
            each(clip)
        assert_close(*seen, **EXACT)
    model.train()(clip).logsumexp(-1).sum().backward()
    assert all(each.grad is not None for each in model.parameters())
