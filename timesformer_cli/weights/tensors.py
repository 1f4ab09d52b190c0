"""Read tensors from files of unknown origin: nothing is executed, sizes are checked first.

safetensors or pickle is decided by the suffix alone; a bad safetensors file never falls back to
pickle, which can carry code.
"""

import json
import mmap
import os
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from timesformer_cli.errors import WeightsError
from timesformer_cli.files import regular_file

PICKLES = (".bin", ".pth", ".pyth", ".pt")
SUFFIXES = (".safetensors", *PICKLES)

# Training code puts the tensors under one of these keys, and one of these before their names.
WRAPPERS = ("model_state", "state_dict", "model", "module")
PREFIXES = ("module.", "model.")

# The types that we support, as safetensors calls them.
STORED = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
}
STRETCH = 32 << 20  # bytes of a file that are mapped together, about one block of a base model


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a checkpoint file: its tensors by name (on the CPU, mapped from disk) and its metadata.

    The file is safetensors, or a pickle that holds only tensors (`torch.load(weights_only=True)`).
    Raises WeightsError for everything else.
    """
    with _named(path):
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        if path.suffix in PICKLES:
            return _read_pickle(path), {}
    raise WeightsError(f"{path}: not a checkpoint; its name must end in {', '.join(SUFFIXES)}")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the name of the file in front of its errors."""
    try:
        yield
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}") from error
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    with regular_file(path) as (file, name):
        try:
            with safe_open(name, framework="pt") as whole:  # checks that header and file fit
                metadata = whole.metadata() or {}
        except SafetensorError as error:
            raise WeightsError(f"not a whole safetensors file ({error}); fetch it again") from error
        return _map_tensors(file), metadata


def _map_tensors(file: BinaryIO) -> dict[str, Tensor]:
    """Map the tensors of a sound safetensors file, one stretch of the file at a time.

    The pages of a stretch leave memory once they are checked, and its mapping ends with the last of
    its tensors. So a model that is being converted is never in memory twice.
    """
    start = 8 + (length := int.from_bytes(file.read(8), "little"))
    entries = json.loads(file.read(length))
    entries.pop("__metadata__", None)
    tensors: dict[str, Tensor] = {}
    first = end = 0
    whole = os.fstat(file.fileno()).st_size
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        if (dtype := STORED.get(entry["dtype"])) is None:
            raise WeightsError(f"'{name}' in it is of type {entry['dtype']}, not supported")
        begin, stop = (start + offset for offset in entry["data_offsets"])
        if begin == stop:
            tensors[name] = torch.empty(entry["shape"], dtype=dtype)
            continue
        if stop > end:
            first = begin - begin % mmap.ALLOCATIONGRANULARITY
            end = min(whole, max(stop, first + STRETCH))
            stretch = mmap.mmap(file.fileno(), end - first, offset=first, access=mmap.ACCESS_COPY)
        size = prod(entry["shape"])
        flat = torch.frombuffer(stretch, dtype=dtype, count=size, offset=begin - first)
        tensors[name] = flat.view(entry["shape"])
        if not is_finite(flat):
            raise WeightsError(f"'{name}' is not finite everywhere")
        _forget(stretch)
    return tensors


def is_finite(tensor: Tensor) -> bool:
    """Whether no element is infinite or NaN."""
    # An infinity or NaN makes the sum one too. A sum can also overflow by itself: look then.
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def _forget(stretch: mmap.mmap) -> None:
    """Free the pages of a stretch; nobody has written to them, so they can be read again."""
    if hasattr(mmap, "MADV_DONTNEED"):
        stretch.madvise(mmap.MADV_DONTNEED)


def _read_pickle(path: Path) -> dict[str, Tensor]:
    with regular_file(path) as (file, name):
        tensors = _unwrap(_load_pickle(file, name))
        for key, tensor in tensors.items():
            # Of sparse, quantised and meta tensors the rest of the program knows nothing.
            if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
                kind = str(tensor.layout).removeprefix("torch.")
                kind = "without data" if tensor.is_meta else kind
                kind = "quantised" if tensor.is_quantized else kind
                raise WeightsError(f"'{key}' in it is {kind}; only plain tensors load")
        if sum(tensor.nbytes for tensor in tensors.values()) > os.fstat(file.fileno()).st_size:
            raise WeightsError("its tensors claim more bytes than the file has; refused")
        return tensors


def _load_pickle(file: BinaryIO, name: str) -> Any:
    """What torch unpickles of an open file, which it opens by name once more."""
    zipped = zipfile.is_zipfile(file)
    if zipped:
        with zipfile.ZipFile(file) as archive:
            # torch stores, never compresses: a compressed entry would only hide its size.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise WeightsError("compressed entries, which torch never writes; refused")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of sparse tensors, which are refused
            return torch.load(name, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # torch.load raises whatever a damaged pickle leads it to
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        if asked:
            raise WeightsError(
                f"refused: it asks to run '{asked[1]}', and a checkpoint must hold tensors only; "
                f"ask its author for a .safetensors file"
            ) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"not a readable checkpoint ({reason:.120})") from error


def _unwrap(content: Any) -> dict[str, Tensor]:
    """Return the tensors of a training checkpoint, without wrappers and prefixes."""
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise WeightsError("no tensors by name in it")
    strange = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise WeightsError(f"'{strange[0]}' in it is no tensor")
    tensors = {str(name): value for name, value in content.items()}
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
