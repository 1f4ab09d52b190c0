"""The published weights on the clip their converter was checked with; needs the hub."""

import numpy as np
import pytest
import torch
from einops import rearrange

from timesformer_cli import cost
from timesformer_cli.model import TimeSformer
from timesformer_cli.video.transform import prepare_frame
from timesformer_cli.weights.catalogue import WEIGHTS
from timesformer_cli.weights.load import load_model

# The five best classes that fcakyon's conversion of the weights gave for `archery.mp4`.
GOLDEN = {
    "base-k400": [5, 356, 240, 134, 219],
    "hr-k400": [5, 356, 134, 219, 240],
    "large-k400": [5, 134, 356, 142, 87],
    "base-k600": [9, 189, 527, 198, 74],
    "hr-k600": [9, 527, 327, 305, 74],
    "large-k600": [9, 527, 189, 305, 366],
    "base-ssv2": [56, 17, 125, 15, 126],
    "hr-ssv2": [98, 112, 160, 56, 66],
    "large-ssv2": [15, 139, 14, 146, 151],
}


# The best class and its score that transformers' conversion of V-JEPA 2 checks for `bowling`.
BOWLING = {
    "vjepa2-large-ssv2": (145, 0.30867),
    "vjepa2-giant-ssv2": (112, 0.26408),
    "vjepa2-large-diving48": (35, 0.32875),
    "vjepa2-giant-diving48": (22, 0.35351),
}


def logits(model: TimeSformer, path: str, wanted: np.ndarray) -> torch.Tensor:
    """The model's answer to these frames of a video."""
    import av

    with av.open(path) as container:
        pictures = [
            frame.to_ndarray(format="rgb24")
            for number, frame in enumerate(container.decode(video=0))
            if number <= wanted[-1]
        ]
    frames = [prepare_frame(pictures[number], model.preprocessing)["center"] for number in wanted]
    clip = rearrange(torch.from_numpy(np.stack(frames)), "t h w c -> 1 t c h w") / 255
    mean, std = (
        torch.tensor(values).view(3, 1, 1)
        for values in (model.preprocessing.mean, model.preprocessing.std)
    )
    with torch.inference_mode():
        return model((clip - mean) / std)[0]


@pytest.mark.network
@pytest.mark.parametrize("name", GOLDEN)
def test_the_published_weights_name_the_published_classes(name):
    from huggingface_hub import hf_hub_download

    path = hf_hub_download("nateraw/video-demo", "archery.mp4", repo_type="dataset")
    model, _ = load_model(name)
    count = model.sampling.frames
    wanted = np.linspace(0, 2 * count - 1, count).astype(int)  # as the conversion was checked
    assert logits(model, path, wanted).topk(5).indices.tolist() == GOLDEN[name]


@pytest.mark.network
@pytest.mark.parametrize("name", BOWLING)
def test_a_published_vjepa_2_gives_the_published_score(name):
    from huggingface_hub import hf_hub_download

    clip = "val/bowling/-WH-lxmGJVY_000005_000015.mp4"
    path = hf_hub_download("nateraw/kinetics-mini", clip, repo_type="dataset")
    model, _ = load_model(name)
    scores = logits(model, path, np.arange(0, 128, 128 // model.sampling.frames)).softmax(dim=-1)
    index, score = BOWLING[name]
    assert scores.argmax().item() == index
    assert scores[index].item() == pytest.approx(score, abs=5e-3)  # resized in torch there


@pytest.mark.network
@pytest.mark.parametrize(
    "name", [name for name, row in WEIGHTS.items() if row.repo and row.encoder]
)
def test_a_published_encoder_has_the_tensors_of_its_row(name):
    model, _ = load_model(name, encoder=True)
    assert cost.of_encoder(model.config) == cost.of_encoder(WEIGHTS[name].config)


@pytest.mark.network
@pytest.mark.parametrize("name", [name for name, row in WEIGHTS.items() if row.text])
def test_a_published_model_of_words_has_the_tensors_of_its_row(name):
    model, _ = load_model(name)
    assert model.config == WEIGHTS[name].config
