"""Measure `tsf` beside its peers: in one run, on one machine, in alternating turns.

A peer that is not installed is named and left out; `pip install '.[test]' torchcodec` brings all.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from scripts.peers.decoding import DecodeRow, compare_decoders
from scripts.peers.models import DTYPES, EXPORTED, FIELD, ModelRow, compare_models
from scripts.peers.onnx_files import write_files
from scripts.peers.processes import compare_processes, make_clip
from scripts.peers.saved import save_random
from scripts.peers.table import Report, markdown
from timesformer_cli.benchmark import machine
from timesformer_cli.cli.formats import writing
from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import TsfError
from timesformer_cli.inference.device import (
    cpu_has_amx,
    cpu_has_bfloat16,
    find_device,
    find_dtype,
)
from timesformer_cli.sizes import SIZES

PARTS = ("model", "cold", "folder", "decode", "help")
PACKAGES = (
    *("torch", "transformers", "onnxruntime", "openvino", "torchcodec", "av"),
    "timesformer-pytorch",
)


def main() -> None:
    options = _options()
    try:
        with writing(options.json) if options.json else nullcontext() as stream:
            report = compare(options)
            if stream:
                json.dump(asdict(report), stream, indent=1)
        print(markdown(report), end="")
        if options.page:
            put_section(options.page, processor_class(options.device), markdown(report))
    except (OSError, TsfError) as error:
        raise SystemExit(f"error: {error}") from None


def compare(options: argparse.Namespace) -> Report:
    """Measure the parts that were asked for."""
    config = ModelConfig.of_size(options.size)
    about = about_machine(options.device)
    models: list[ModelRow] = []
    peaks: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        save_random(config, Path(folder) / "model")
        if "model" in options.only:
            if any(name in EXPORTED for name in options.contenders):
                write_files(Path(folder) / "model", options.dtypes)
            models, peaks = compare_models(
                Path(folder) / "model",
                device=options.device,
                dtypes=options.dtypes,
                batch_sizes=options.batches,
                runs=options.runs,
                warmup=options.warmup,
                contenders={name: FIELD[name] for name in options.contenders},
            )
        decoding: list[DecodeRow] = []
        if "decode" in options.only:
            clip = options.clip or make_clip(Path(folder) / "ten-seconds.mp4")
            decoding = compare_decoders(
                clip, Path(folder), runs=options.runs, warmup=options.warmup
            )
        processes = compare_processes(
            Path(folder),
            [part for part in ("cold", "folder", "help") if part in options.only],
            device=options.device,
            clip=options.clip,
            clips=options.clips,
            runs=options.runs,
            warmup=options.warmup,
        )
    return Report(
        machine=about,
        default_dtype=str(find_dtype("auto", find_device(options.device))).removeprefix("torch."),
        size=options.size,
        classes=config.classes,
        runs=options.runs,
        warmup=options.warmup,
        products_gflops_per_second={dtype: peak / 1e9 for dtype, peak in peaks.items()},
        models=models,
        processes=processes,
        decoding=decoding,
    )


def processor_class(device: str) -> str:
    """What decides which kernels run: results of two classes are never in one table."""
    place = find_device(device)
    if place.type != "cpu":
        return machine.device_name(place)
    flags = {
        "AMX": cpu_has_amx(),
        "AVX512 with bfloat16": cpu_has_bfloat16(),
    }
    best = torch.backends.cpu.get_cpu_capability()
    return next((name for name, there in flags.items() if there), best)


def put_section(page: Path, title: str, text: str) -> None:
    """Put the text on the page under its title, in place of what an earlier run wrote there."""
    begin, end = f"<!-- measured: {title} -->", f"<!-- end of {title} -->"
    section = f"{begin}\n## Measured on {title}\n\n{text.strip()}\n{end}\n"
    before, found, after = page.read_text().partition(begin)
    if found:
        after = after.partition(f"{end}\n")[2]
    else:
        before = before.rstrip("\n") + "\n\n"
    with writing(page) as stream:
        stream.write(before + section + after)


def about_machine(device: str) -> dict[str, str | int | float]:
    place = find_device(device)
    about: dict[str, str | int | float] = {
        "machine": machine.device_name(place),
        "processors": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            about[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**about, "load at the start": round(os.getloadavg()[0], 2)}


def _options() -> argparse.Namespace:
    def some_of(known: tuple[str, ...]) -> Callable[[str], list[str]]:
        def parse(text: str) -> list[str]:
            if unknown := [name for name in text.split(",") if name not in known]:
                raise argparse.ArgumentTypeError(f"no {unknown[0]!r}; there are {', '.join(known)}")
            return text.split(",")

        return parse

    def at_least(least: int) -> Callable[[str], int]:
        def number(text: str) -> int:
            if not text.isdecimal() or int(text) < least:
                raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} up")
            return int(text)

        return number

    def there(text: str) -> Path:
        if not Path(text).is_file():  # told before minutes are spent
            raise argparse.ArgumentTypeError(f"no file {text}")
        return Path(text)

    def batch_sizes(text: str) -> list[int]:
        return [at_least(1)(number) for number in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=some_of(PARTS), default=list(PARTS), metavar="PART[,PART]")
    field = tuple(FIELD)
    parser.add_argument(
        "--contenders", type=some_of(field), default=list(field), metavar="NAME[,NAME]"
    )
    parser.add_argument("--runs", type=at_least(1), default=5)
    parser.add_argument("--warmup", type=at_least(0), default=1)
    parser.add_argument("--batches", type=batch_sizes, default=[1, 4, 8], metavar="N[,N]")
    dtypes = DTYPES["tsf"]
    parser.add_argument(
        "--dtypes", type=some_of(dtypes), default=list(dtypes), metavar="DTYPE[,DTYPE]"
    )
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--clip", type=Path, help="for cold and decode; else ten seconds of the examples"
    )
    parser.add_argument("--clips", type=Path, help="for folder; else copies of the examples")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there too")
    parser.add_argument(
        "--page",
        type=there,
        metavar="FILE",
        help="put the tables there, under this class of processors",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
