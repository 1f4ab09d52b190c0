"""The published weights on the clip their converter was checked with; needs the hub."""

import numpy as np
import pytest
import torch
from einops import rearrange

from timesformer_cli.video.transform import prepare_frame
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


@pytest.mark.network
@pytest.mark.parametrize("name", GOLDEN)
def test_the_published_weights_name_the_published_classes(name):
    import av
    from huggingface_hub import hf_hub_download

    path = hf_hub_download("nateraw/video-demo", "archery.mp4", repo_type="dataset")
    model, _ = load_model(name)
    count = model.sampling.frames
    wanted = np.linspace(0, 2 * count - 1, count).astype(int)  # as the conversion was checked
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
        best = model((clip - mean) / std)[0].topk(5).indices.tolist()
    assert best == GOLDEN[name]
