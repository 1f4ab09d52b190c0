"""How far int8 is from float64, beside the least that rounding to 8 bits costs, by processor class.

oneDNN can be told to use no newer instructions than a class of processors has, so one machine shows
all classes up to its own. Each runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.peers.contender import made_frames
from scripts.peers.saved import save_random
from scripts.peers.table import table
from timesformer_cli.config import ModelConfig
from timesformer_cli.inference.device import int8_pair_limit
from timesformer_cli.inference.fast.blocks import LayerFactory
from timesformer_cli.inference.fast.linear import MakeLinear, PlainLinear
from timesformer_cli.inference.fast.model import FastModel, make_fast
from timesformer_cli.sizes import SIZES
from timesformer_cli.weights.load import load_model

CLASSES = ("AVX2", "AVX512_CORE", "AVX2_VNNI", "AVX512_CORE_VNNI", "AVX512_CORE_AMX")
CPU = torch.device("cpu")


class IdealLinear(nn.Module):
    """What 8 bits can give: weights rounded per output and tokens one by one, the rest exact."""

    def __init__(self, weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> None:
        super().__init__()
        self.weight, self.bias, self.gelu = rounded(weight.double()), bias, gelu

    def forward(self, tokens: Tensor) -> Tensor:
        mapped = F.linear(rounded(tokens.double()), self.weight, self.bias)
        return F.gelu(mapped) if self.gelu else mapped


def rounded(rows: Tensor) -> Tensor:
    """Rows whose values are whole multiples, -127 to 127, of the row's greatest over 127."""
    scale = rows.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / 127
    return (rows / scale).round() * scale


def exact_logits(name: str, frames: Tensor, linear: MakeLinear = PlainLinear) -> Tensor:
    """The logits in float64, with linear maps of this kind."""
    model = load_model(name)[0]
    with torch.inference_mode():
        logits: Tensor = FastModel(model, LayerFactory(torch.float64, linear))(frames)
    return logits


def error(logits: Tensor, exact: Tensor) -> float:
    """Root mean square of the differences, in standard deviations of the exact logits."""
    spread = exact - exact.mean(dim=1, keepdim=True)
    return float((logits - exact).square().mean().sqrt() / spread.square().mean().sqrt())


def measure(name: str, clips: int) -> dict[str, float]:
    """Of this process: int8's logits, their seconds of a processor, and the greatest sum of two weights."""
    model = load_model(name)[0]
    frames = torch.from_numpy(made_frames(model.config, clips))
    form = make_fast(model, CPU, torch.int8, consume=True)
    with torch.inference_mode():
        form(frames[:1])
        began = time.process_time()
        logits = form(frames)
    seconds = (time.process_time() - began) / clips
    return {"logits": logits.tolist(), "seconds": seconds, "limit": int8_pair_limit()}


def compare(name: str, clips: int, classes: Sequence[str]) -> str:
    """A table of the classes, each measured by this file in a process of its own."""
    frames = torch.from_numpy(made_frames(load_model(name)[0].config, clips))
    exact = exact_logits(name, frames)
    ideal = error(exact_logits(name, frames, IdealLinear), exact)
    rows = []
    for isa in classes:
        told = {**os.environ, "ONEDNN_MAX_CPU_ISA": isa}
        command = [sys.executable, "-m", __spec__.name, name, "--clips", str(clips), "--one"]
        said = subprocess.run(command, env=told, check=True, stdout=subprocess.PIPE).stdout
        found = json.loads(said)
        own = error(torch.tensor(found["logits"], dtype=torch.float64), exact)
        rows.append(
            (isa, found["limit"], f"{own:.2e}", f"{own / ideal:.2f}", f"{found['seconds']:.2f}")
        )
    head = "instructions | two weights up to | error | of its ideal | CPU-seconds a clip"
    return f"ideal: {ideal:.2e}\n\n{table(head, rows)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="a model's name or folder; else random weights")
    parser.add_argument("--size", choices=SIZES, default="base", help="of random weights")
    parser.add_argument("--clips", type=int, default=2)
    parser.add_argument("--classes", nargs="+", choices=CLASSES, default=CLASSES)
    parser.add_argument("--one", action="store_true", help="measure here and print JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.model, options.clips)))
        return
    with TemporaryDirectory() as folder:
        name = options.model or folder
        if not options.model:
            save_random(ModelConfig.of_size(options.size), Path(folder))
        print(compare(name, options.clips, options.classes), end="")


if __name__ == "__main__":
    main()
