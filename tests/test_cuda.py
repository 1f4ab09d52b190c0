"""On a GPU: the CPU's answers. Skipped where there is none."""

from contextlib import closing

import numpy as np
import pytest
import torch

from tests.support.models import randomised, tiny
from timesformer_cli.inference.device_pool import DevicePool
from timesformer_cli.inference.fast.model import make_fast
from timesformer_cli.inference.predictor import Predictor
from timesformer_cli.schemes import SCHEMES
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
