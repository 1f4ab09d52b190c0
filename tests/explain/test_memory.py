"""A long clip of a large model is explained in little memory."""

import json
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from timesformer_cli.inference.process_tuning import keep_freed_memory, large_tensors_apart

PROGRAM = """
import json, resource, sys, time
import numpy as np, torch
torch.set_num_threads(1)
from timesformer_cli.config import ModelConfig
from timesformer_cli.explain.maps import map_by
from timesformer_cli.explain.options import ExplainOptions
from timesformer_cli.inference.fast.model import make_fast
from timesformer_cli.model import TimeSformer

frames, depth = map(int, sys.argv[1:])
torch.manual_seed(0)
model = TimeSformer(ModelConfig(frames=frames, depth=depth)).eval().requires_grad_(False)
for parameter in model.parameters():
    if parameter.ndim > 1 and not parameter.any():  # passes that begin at nothing
        parameter.normal_(0, 0.02)
clip = np.random.default_rng(0).integers(0, 256, (frames, 224, 224, 3), np.uint8)
fast = make_fast(model, torch.device("cpu"), torch.float32)  # that gives the score, as in tsf explain
with torch.inference_mode():
    fast(torch.from_numpy(clip)[None])
began = time.process_time()
map = map_by(model, clip, 0, ExplainOptions())
seconds = time.process_time() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"peak": peak, "seconds": seconds, "sum": float(map.sum())}))
"""


def left_of_a_gap():
    """Bytes that stay in this process when a tensor of 64 MiB below another one is freed."""
    before = resident()
    large = torch.ones(16 << 20)
    above = torch.ones(1 << 10)
    del large
    return resident() - before, above


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_what_is_freed_goes_back_to_the_kernel_at_once_and_is_kept_afterwards():
    keep_freed_memory()
    with large_tensors_apart():
        given_back, _ = left_of_a_gap()
    kept, above = left_of_a_gap()
    assert given_back < 8 << 20 < 56 << 20 < kept
    assert above.any()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_96_frames_of_base_are_explained_in_4_gb():
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, "96", "12"], capture_output=True, text=True, check=True
    )
    found = json.loads(ran.stdout)
    print(f"{found['peak'] / 1e9:.2f} GB at most, {found['seconds']:.0f} s of a processor")
    assert found["peak"] < 4e9
    assert found["sum"] > 0
