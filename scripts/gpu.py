"""Check and measure `tsf` on a GPU, in one command of under ten minutes; writes `docs/gpu.md`.

`tests/test_cuda.py` comes first: numbers of a wrong model are no numbers. Then, on one card, in turns,
each contender a process of its own: models alone, whole processes, training steps, and how many
clips a second are decoded, which a fast card waits for: by the processors, and by the card.

    python -m scripts.gpu --output docs/gpu.md
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch

from scripts.peers.compare import about_machine, save_random
from scripts.peers.models import compare_models
from scripts.peers.processes import EXAMPLES, compare_processes
from scripts.peers.table import Report, markdown, table
from timesformer_cli.benchmark.machine import product_flops
from timesformer_cli.benchmark.measure import Job, measure
from timesformer_cli.cli.formats import writing
from timesformer_cli.config import ModelConfig, Preprocessing, Sampling
from timesformer_cli.errors import TsfError, VideoError
from timesformer_cli.inference.device import find_device, find_dtype
from timesformer_cli.sizes import SIZES
from timesformer_cli.video import DecodePool

COMMAND = "python -m scripts.gpu --output docs/gpu.md"
SHORT = (
    "float32",
    "bfloat16",
    "float16",
)  # dtypes of small batches; of large ones those of 16 bits
CONTENDERS = ("tsf", "tsf --compile", "transformers", "transformers compiled", "timm ViT")
DECODED = 200  # clips
# Who decodes: the decoder, and whether it may see the card.
HOW_DECODED = {
    "PyAV, on the processors": ("av", True),
    "torchcodec, on the processors": ("torchcodec", False),
    "torchcodec, on the card": ("torchcodec", True),
}
LARGE = 32  # clips of a batch, from which float32 is left out: so many processes share the card


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options().parse_args(arguments)
    try:
        device = find_device(options.device)
        with writing(options.output) as stream:
            for part in report(options, device):
                print(part, end="\n\n", file=stream)
    except (OSError, TsfError) as error:
        raise SystemExit(f"error: {error}") from None


def report(options: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """The parts of the page, as they are measured."""
    yield f"# On a GPU\n\nWritten by `{COMMAND}`; random weights, so that only time and memory count."
    yield f"## Answers\n\n`tests/test_cuda.py`: {checks()}."
    config = ModelConfig.of_size(options.size)
    short = [size for size in options.batches if size < LARGE]
    large = [size for size in options.batches if size >= LARGE]
    with TemporaryDirectory() as folder:
        save_random(config, Path(folder) / "model")
        models, peaks = [], dict[str, float]()
        for batches, dtypes in ((short, SHORT), (large, SHORT[1:])):
            rows, fastest = compare_models(
                Path(folder) / "model",
                device=options.device,
                dtypes=dtypes,
                batch_sizes=batches,
                runs=options.runs,
                warmup=3,
                contenders=dict.fromkeys(CONTENDERS, dtypes),
            )
            models += rows
            peaks = {name: max(peaks.get(name, 0.0), rate) for name, rate in fastest.items()} | {
                name: rate for name, rate in peaks.items() if name not in fastest
            }
        processes = compare_processes(
            Path(folder),
            ["cold", "folder"],
            device=options.device,
            clip=None,
            clips=None,
            runs=3,
            warmup=1,
        )
    about = Report(
        machine=about_machine(options.device),
        default_dtype=str(find_dtype("auto", device)).removeprefix("torch."),
        size=options.size,
        classes=config.classes,
        runs=options.runs,
        warmup=3,
        products_gflops_per_second={dtype: peak / 1e9 for dtype, peak in peaks.items()},
        models=models,
        processes=processes,
    )
    yield "## Speed\n\n" + markdown(about).strip()
    yield "## Training\n\n" + training(config, device, options.training)
    yield f"## Decoding\n\n{decoding()}"


def checks() -> str:
    """What pytest says of the tests that need a GPU; raises TsfError where one fails."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/test_cuda.py"]
    ran = subprocess.run(command, cwd=EXAMPLES.parent, capture_output=True, text=True)
    last = (ran.stdout.strip().splitlines() or ["it said nothing"])[-1]
    if ran.returncode:
        raise TsfError(f"tests/test_cuda.py: {last}; nothing is measured on a wrong answer")
    return last


def training(config: ModelConfig, device: torch.device, batches: Sequence[int]) -> str:
    """Forward and backward of a batch, without the optimizer and without decoding."""
    rows = []
    for batch_size in batches:
        for dtype in (torch.float32, torch.bfloat16):
            for checkpointed in (False, True):
                job = Job(
                    config=config,
                    device=device,
                    dtype=dtype,
                    batch_size=batch_size,
                    kernel="auto",
                    runs=None,
                    warmup=None,
                    train=True,
                    checkpoint_gradients=checkpointed,
                    compile=False,
                )
                done = measure(job, product_flops(device, dtype))
                rows.append(
                    (
                        batch_size,
                        str(dtype).removeprefix("torch."),
                        "yes" if checkpointed else "no",
                        f"{done.median:,.0f} ({done.p10:,.0f} to {done.p90:,.0f})",
                        f"{1000 / done.median:.2f}",
                        "" if done.peak_bytes is None else f"{done.peak_bytes / 1e6:,.0f}",
                    )
                )
    return table("batch | dtype | checkpointing | ms a step | steps/s | MB", rows)


def decoding() -> str:
    """Clips a second that so many workers as there are processors decode together."""
    workers = os.cpu_count() or 1
    rows = [(title, decoded_a_second(workers, *how)) for title, how in HOW_DECODED.items()]
    return (
        f"Of the examples (2 to 3 s, 8 frames at 224 px), in {workers} processes; a model that is"
        f" faster waits for them.\n\n{table('decoded by | clips/s', rows)}"
    )


def decoded_a_second(workers: int, decoder: str, card: bool) -> str:
    """Clips a second, or why there are none."""
    videos = list(islice(cycle(map(str, sorted(EXAMPLES.glob("*.mp4")))), DECODED))
    how = Sampling(frames=8, stride=8), Preprocessing(resize=224, crop=(224, 224))
    hidden = {} if card else {"CUDA_VISIBLE_DEVICES": ""}
    with patch.dict(os.environ, hidden), DecodePool(workers, decoder=decoder) as pool:
        for _ in pool.decode(videos[:workers], *how):  # starts the decoders
            pass
        began = time.perf_counter()
        errors = [one for one in pool.decode(videos, *how) if isinstance(one, VideoError)]
        seconds = time.perf_counter() - began
    return str(errors[0]) if errors else f"{DECODED / seconds:.0f}"


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--training", type=int, nargs="+", default=[8, 32], help="batch sizes")
    parser.add_argument("--runs", type=int, default=20)
    return parser


if __name__ == "__main__":
    main()
