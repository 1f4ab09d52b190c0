"""The files that other runtimes run: `tsf export`'s, and transformers' model as torch exports it."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile

import torch

from timesformer_cli.export.quantise import quantise
from timesformer_cli.weights.description import read_description

TSF = Path(sys.executable).with_name("tsf")
SOURCES = ("tsf", "transformers")


def file_of(folder: Path, source: str, dtype: str) -> Path:
    """Where the export of the model in `folder` lies."""
    return folder / f"{source}-{dtype}.onnx"


def write_files(folder: Path, dtypes: list[str]) -> None:
    """Write what these dtypes need, in a process that ends with its memory; what fails is said."""
    command = [sys.executable, "-m", __spec__.name, str(folder), *dtypes]
    subprocess.run(command, check=True, stdout=sys.stderr)


def write_tsf(folder: Path) -> None:
    """Our export, in float32."""
    out = file_of(folder, "tsf", "float32")
    command = [str(TSF), "export", "--onnx", "-m", str(folder), "-o", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def write_transformers(folder: Path) -> None:
    """transformers' model of one clip, by torch's exporter: its own code takes no free batch."""
    from transformers import TimesformerForVideoClassification

    config = read_description(folder).config
    model = TimesformerForVideoClassification.from_pretrained(folder).eval()
    model.config.return_dict = False
    clip = torch.randn(1, config.frames, config.channels, config.height, config.width)
    torch.onnx.export(
        model,
        (clip,),
        file_of(folder, "transformers", "float32"),
        input_names=["pixel_values"],
        output_names=["logits"],
        dynamo=True,
        external_data=False,
        verbose=False,
    )


WRITERS: dict[str, Callable[[Path], None]] = {"tsf": write_tsf, "transformers": write_transformers}


def main(folder: Path, dtypes: list[str]) -> None:
    logging.disable(logging.WARNING)  # onnxruntime advises other steps before rounding
    for source in SOURCES:
        try:
            WRITERS[source](folder)
            if "int8" in dtypes:
                rounded = file_of(folder, source, "int8")
                copyfile(file_of(folder, source, "float32"), rounded)
                quantise(rounded)
        except Exception as error:  # a peer that cannot be exported is left out of the comparison
            lines = str(error).strip().splitlines() or [type(error).__name__]
            print(f"left out: {source}'s export: {lines[0]}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
