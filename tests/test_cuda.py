"""On a GPU: the CPU's answers. Skipped where there is none."""

from contextlib import closing

import numpy as np
import pytest
import torch

from tests.support.clips import write
from tests.support.models import randomised, tiny
from tests.video.test_decode import usable
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.inference.device_pool import DevicePool
from timesformer_cli.inference.fast.model import make_fast
from timesformer_cli.inference.predictor import Predictor
from timesformer_cli.schemes import SCHEMES
from timesformer_cli.video import DecodePool
from timesformer_cli.weights.hub.locate import as_located
from timesformer_cli.weights.load import save_model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
CUDA = torch.device("cuda", 0)


def frames(count):
    return np.random.default_rng(count).integers(0, 256, (count, 8, 64, 64, 3), np.uint8)


def predictor(model, device, dtype=torch.float32, **how):
    return Predictor(make_fast(model, torch.device(device), dtype, **how))


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-3), (torch.bfloat16, 5e-2)])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_scores_are_the_cpus_with_batches_in_flight(scheme, dtype, limit):
    model = randomised(tiny(attention=scheme))
    cpu, cuda = predictor(model, "cpu"), predictor(model, CUDA, dtype)
    assert cuda.ahead == 1
    pending = [(count, cuda.start(frames(count))) for count in (1, 4, 2, 3)]
    for count, ask in pending:
        outputs = ask()
        expected = cpu.start(frames(count))().scores
        torch.testing.assert_close(outputs.scores, expected, atol=limit, rtol=0)
        assert outputs.scores.device.type == "cpu"
        assert outputs.seconds > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_compiled_model_gives_the_same_scores_over_and_over(dtype):
    model = randomised(tiny())
    plain, compiled = (predictor(model, CUDA, dtype, compile=compile) for compile in (False, True))
    pending = [(count, compiled.start(frames(count))) for count in (2, 2, 2, 1, 2)]
    for count, ask in pending:
        torch.testing.assert_close(
            ask().scores, plain.start(frames(count))().scores, atol=2e-2, rtol=0
        )


def test_a_gpu_and_a_processor_share_the_batches(tmp_path):
    model = randomised(tiny())
    save_model(model, tmp_path)
    cpu = predictor(model, "cpu")
    devices = ["cuda:0", "cpu"]
    with closing(
        DevicePool(as_located(str(tmp_path)), devices, "float32", compile=False, debug=True)
    ) as both:
        assert both.device == "cuda:0,cpu"
        pending = [(count, both.start(frames(count))) for count in (1, 2, 3, 4)]
        for count, ask in pending:
            torch.testing.assert_close(
                ask().scores, cpu.start(frames(count))().scores, atol=1e-3, rtol=0
            )


def moving(size):
    """Pictures that can be told apart, and are as smooth as footage."""
    width, height = size
    down, along = np.meshgrid(np.arange(height) / height, np.arange(width) / width, indexing="ij")
    waves = [np.sin(6 * down + step / 3) * np.cos(9 * along - step / 2) for step in range(60)]
    return [np.stack([127 + 90 * w, 127 - 90 * w, 255 * along], -1).astype(np.uint8) for w in waves]


@pytest.mark.skipif(not usable("torchcodec"), reason="torchcodec cannot be imported")
@pytest.mark.parametrize(
    ("suffix", "how"),
    [
        ("mp4", {"options": {"g": "15", "bf": "2"}}),
        ("mp4", {"options": {"g": "15", "bf": "2"}, "rotation": 90}),
        ("mp4", {"pix_fmt": "yuvj420p"}),
        ("mkv", {"codec": "libx265", "options": {"x265-params": "log-level=none:open-gop=1"}}),
        ("webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}}),
    ],
    ids=["groups", "turned", "full range", "open groups", "vp9"],
)
@pytest.mark.parametrize("crops", [0, 1, 3])
def test_a_card_decodes_the_pictures_that_the_processor_decodes(crops, suffix, how, tmp_path):
    path = str(write(tmp_path / f"a.{suffix}", moving((640, 360)), size=(640, 360), **how))
    asked = Sampling(frames=8, stride=None), Preprocessing(resize=224, crop=(224, 224)), 2, crops
    both = []
    for decoder in ("torchcodec", "av"):
        with DecodePool(decoder=decoder) as pool:
            (decoded,) = pool.decode([path], *asked)
        both.append(decoded)
    card, processor = both
    assert card.decoder == "torchcodec" and card.views == processor.views
    for ours, theirs in zip(card.frames, processor.frames, strict=True):
        # apart[i, j]: our i-th picture from the j-th of the processor
        apart = np.abs(ours[:, None].astype(int) - theirs[None]).mean((2, 3, 4))
        assert (apart.argmin(1) == np.arange(8)).all() and apart.diagonal().max() < 2
