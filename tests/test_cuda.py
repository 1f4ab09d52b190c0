"""On a GPU: the CPU's answers. Skipped where there is none."""

from contextlib import closing

import numpy as np
import pytest
import torch
from conftest import randomised, tiny

from timesformer_cli.inference.device_pool import Devices
from timesformer_cli.inference.predictor import Predictor, make_ready
from timesformer_cli.schemes import SCHEMES
from timesformer_cli.weights.load import save

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
CUDA = torch.device("cuda", 0)


def frames(count):
    return np.random.default_rng(count).integers(0, 256, (count, 8, 64, 64, 3), np.uint8)


def predictor(model, device, dtype=torch.float32, **how):
    return Predictor(make_ready(model, torch.device(device), dtype, **how))


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-3), (torch.bfloat16, 5e-2)])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_scores_are_the_cpus_with_batches_in_flight(scheme, dtype, limit):
    model = randomised(tiny(attention=scheme))
    cpu, cuda = predictor(model, "cpu"), predictor(model, CUDA, dtype)
    assert cuda.ahead == 1
    pending = [(count, cuda.start(frames(count))) for count in (1, 4, 2, 3)]
    for count, ask in pending:
        scores, seconds = ask()
        torch.testing.assert_close(scores, cpu.start(frames(count))()[0], atol=limit, rtol=0)
        assert scores.device.type == "cpu"
        assert seconds > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_compiled_model_gives_the_same_scores_over_and_over(dtype):
    model = randomised(tiny())
    plain, compiled = (predictor(model, CUDA, dtype, compile=compile) for compile in (False, True))
    pending = [(count, compiled.start(frames(count))) for count in (2, 2, 2, 1, 2)]
    for count, ask in pending:
        torch.testing.assert_close(ask()[0], plain.start(frames(count))()[0], atol=2e-2, rtol=0)


def test_a_gpu_and_a_processor_share_the_batches(tmp_path):
    model = randomised(tiny())
    save(model, tmp_path)
    cpu = predictor(model, "cpu")
    devices = ["cuda:0", "cpu"]
    with closing(Devices(str(tmp_path), devices, "float32", compile=False, debug=True)) as both:
        assert both.device == "cuda:0,cpu"
        pending = [(count, both.start(frames(count))) for count in (1, 2, 3, 4)]
        for count, ask in pending:
            torch.testing.assert_close(ask()[0], cpu.start(frames(count))()[0], atol=1e-3, rtol=0)
