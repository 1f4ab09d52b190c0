"""What a file is that holds no tensors we can read, judged by its content and never by its name."""

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from timesformer_cli.errors import WeightsError
from timesformer_cli.files import regular_file

START = 4096  # bytes of a file that are looked at
TEXT = frozenset(range(32, 127)) | {9, 10, 13}

# How a file begins, what it is then, and what to do.
_BEGINNINGS = (
    (b"version https://git-lfs", "a git LFS pointer, not the file itself: fetch it with git lfs pull"),
    (b"\x1f\x8b", "a gzip archive: unpack it"),
    (b"BZh", "a bzip2 archive: unpack it"),
    (b"\xfd7zXZ\0", "an xz archive: unpack it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive: unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it"),
    (b"\x89HDF\r\n\x1a\n", "a Keras or HDF5 file, which tsf does not read"),
    (b"\x93NUMPY", "a numpy array, not a model's tensors by name"),
    (b"GGUF", "a GGUF file, as llama.cpp reads them; tsf does not"),
    (b"ARROW1", "an Arrow file, not a model"),
    (b"PAR1", "a Parquet file, not a model"),
    (b"SQLite format 3\0", "an SQLite database, not a model"),
    (b"%PDF", "a PDF file, not a model"),
    (b"\x89PNG", "a PNG picture, not a model"),
    (b"\xff\xd8\xff", "a JPEG picture, not a model"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video, not a model"),
    (b"MZ", "a Windows program, not a model"),
    (b"\x7fELF", "a Linux program or library, not a model"),
    (b"model_checkpoint_path:", "the list of a TensorFlow checkpoint, which tsf does not read"),
)  # fmt: skip
_TABLE_END = bytes.fromhex("57fb808b247547db")  # of a TensorFlow checkpoint's index
FLAX = (
    "a flax (msgpack) checkpoint, as scenic's ViViT; convert it first with the script "
    "convert_vivit_flax_to_pytorch.py of transformers 4, or give google/vivit-b-16x2-kinetics400"
)


def other_kind(file: BinaryIO) -> str:
    """What an open file is, with advice; empty where it may be a torch file or safetensors."""
    file.seek(0, 2)
    size = file.tell()
    file.seek(max(0, size - 8))
    end = file.read(8)
    file.seek(0)
    start = file.read(START)
    file.seek(0)
    if not size:
        return "an empty file: fetch it again"
    if kind := _by_beginning(start):
        return kind
    if start[257:262] == b"ustar":
        return "a tar archive: unpack it"
    if start[4:8] == b"ftyp":
        return "an mp4 or mov video, not a model"
    if start[4:8] == b"TFL3":
        return "a TensorFlow Lite file, which tsf does not read"
    if end == _TABLE_END:
        return "the index of a TensorFlow checkpoint, which tsf does not read"
    if start.startswith(b"PK"):
        return _archive_kind(file)
    # A protobuf whose first field is a small number (ONNX's ir_version), then a name or the graph.
    if re.match(rb"\x08[\x01-\x20][\x12\x3a]", start):
        return "an ONNX file: give it a name that ends in .onnx"
    # A map of up to 15 entries whose first key is a short text.
    if re.match(rb"[\x81-\x8f][\xa0-\xbf]", start):
        return FLAX
    return _text_kind(start)


def require_no_stand_in(path: Path) -> None:
    """Raise WeightsError for what lies in a file's place when fetching it went wrong.

    For files that other libraries read, and cannot tell from damaged ones.
    """
    with regular_file(path) as (file, _):
        if kind := _by_beginning(file.read(START)):
            raise WeightsError(f"{path}: {kind}")


def _by_beginning(start: bytes) -> str:
    for beginning, kind in _BEGINNINGS:
        if start.startswith(beginning):
            return kind
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if re.match(rb"<(!doctype html|html|head|body)", text):
        return "an HTML page (a login or error page, saved in place of the file?): fetch it again"
    return ""


def _archive_kind(file: BinaryIO) -> str:
    if not zipfile.is_zipfile(file):
        return "half of a torch file or zip archive (its end is missing): fetch it again"
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    file.seek(0)
    if _has(names, r"archive_format|models/[^/]+\.json|data/aotinductor/.*"):
        return "a torch.export archive: give it a name that ends in .pt2"
    if _has(names, r"constants\.pkl|code/.*\.py"):
        return (
            "a TorchScript archive, which holds code: save the model's state_dict() with torch.save"
        )
    if _has(names, r"data\.pkl"):
        return ""
    if names and all(name.endswith(".npy") for name in names):
        return "a numpy archive (.npz), which tsf does not read"
    if "model.weights.h5" in names:
        return "a Keras file, which tsf does not read"
    return "a zip archive: unpack it"


def _has(names: Sequence[str], inside: str) -> bool:
    """Whether an entry is called so, in the archive's one folder or outside of it."""
    return any(re.fullmatch(rf"([^/]+/)?({inside})", name) for name in names)


def _text_kind(start: bytes) -> str:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<?xml"):
        return "an XML file, not a model"
    if not set(start) <= TEXT:
        return ""
    if text.startswith((b"{", b"[")):
        return "a JSON file; give the folder that it is in"
    return "a text file, not a model"
