"""Read tensors from files of unknown origin: nothing is executed, sizes are checked first.

The content says what a file is, not its suffix. A pickle is never read freely: torch makes tensors
and plain values of it, stand-ins for a few harmless classes, and refuses every other name.
"""

import json
import mmap
import os
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from timesformer_cli.errors import WeightsError
from timesformer_cli.files import regular_file
from timesformer_cli.weights.file_kinds import other_kind
from timesformer_cli.weights.safe_globals import STAND_INS

ZIP, PICKLE = b"PK\x03\x04", b"\x80"  # how the two formats of torch begin

# The types that we support, as safetensors calls them.
STORED = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
}
STRETCH = (
    8 << 20
)  # bytes of a file that are mapped together; a stretch stays as long as one of its tensors


@dataclass(frozen=True, kw_only=True, slots=True)
class FileContent:
    """What a checkpoint file holds; its tensors are on the CPU, mapped from disk."""

    content: Any  # mappings with tensors somewhere in them
    metadata: Mapping[str, str]  # of a safetensors file
    size: int  # bytes
    finite: bool  # whether every number was looked at already


def read_file(path: Path, *, numbers: bool = True) -> FileContent:
    """Read a checkpoint file: safetensors, or a pickle that holds only tensors and plain values.

    Without `numbers`, only the header of a safetensors file is read, and its tensors are on the meta
    device. Raises WeightsError for everything else, with what the file is.
    """
    with named(path), regular_file(path) as (file, name):
        size = os.fstat(file.fileno()).st_size
        start = file.read(9)
        if not start.startswith(ZIP) and start[8:] == b"{":
            tensors, metadata = _read_safetensors(file, name, numbers)
            return FileContent(content=tensors, metadata=metadata, size=size, finite=True)
        if kind := other_kind(file):
            raise WeightsError(f"{kind}")
        if path.suffix == ".safetensors" and not start.startswith((ZIP, PICKLE)):
            raise WeightsError("not a whole safetensors file; fetch it again")
        content = _load_pickle(file, name)
        return FileContent(content=content, metadata={}, size=size, finite=False)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Put the name of the file in front of its errors."""
    try:
        yield
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}") from error
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _read_safetensors(
    file: BinaryIO, name: str, numbers: bool
) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(name, framework="pt") as whole:  # checks that header and file fit
            metadata = whole.metadata() or {}
    except SafetensorError as error:
        raise WeightsError(f"not a whole safetensors file ({error}); fetch it again") from error
    file.seek(0)
    return _map_tensors(file, numbers), metadata


def _map_tensors(file: BinaryIO, numbers: bool) -> dict[str, Tensor]:
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
        if not numbers:
            tensors[name] = torch.empty(entry["shape"], dtype=dtype, device="meta")
            continue
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


def require_plain(tensors: Mapping[str, Tensor], room: int) -> None:
    """Raise WeightsError for tensors that are not plain, or claim more than `room` bytes.

    Only a pickle's can be so.
    """
    for key, tensor in tensors.items():
        # Of sparse, quantised and meta tensors the rest of the program knows nothing.
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            kind = str(tensor.layout).removeprefix("torch.")
            kind = "without data" if tensor.is_meta else kind
            kind = "quantised" if tensor.is_quantized else kind
            raise WeightsError(f"'{key}' in it is {kind}; only plain tensors load")
    if sum(tensor.nbytes for tensor in tensors.values()) > room:
        raise WeightsError("its tensors claim more bytes than the file has; refused")


def _load_pickle(file: BinaryIO, name: str) -> Any:
    """What torch unpickles of an open file, which it opens by name once more."""
    file.seek(0)
    zipped = file.read(len(ZIP)) == ZIP  # as torch decides
    if zipped:
        with zipfile.ZipFile(file) as archive:
            # torch stores, never compresses: a compressed entry would only hide its size.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise WeightsError("compressed entries, which torch never writes; refused")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of sparse tensors, which are refused
            with torch.serialization.safe_globals(STAND_INS):
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
