"""Whether files of a model are what they should be: of the right size, and of the digest known."""

import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.description import (
    CONFIG,
    LARGEST_JSON,
    PROCESSOR_FILES,
    WEIGHT_FILES,
)
from timesformer_cli.weights.digest import Digest
from timesformer_cli.weights.hub.hashed_files import remember_hashed, size_of_hashed, was_hashed
from timesformer_cli.weights.weight_files import weight_files

if TYPE_CHECKING:
    from timesformer_cli.weights.hub.locate import Located

ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
LARGEST_HEADER = 100 * 10**6  # bytes; safetensors' own limit
SNAPSHOTS = "snapshots"  # of a repository, one a commit, in the hub's cache
ZIP = b"PK\x03\x04"


def model_files(folder: Path) -> list[Path]:
    """The files of a model folder that loading it reads."""
    described = [folder / name for name in (CONFIG, *PROCESSOR_FILES) if (folder / name).exists()]
    return [*described, *(file for file in weight_files(folder) if file.exists())]


def blob_of(file: Path) -> Path | None:
    """The cache's own file behind a snapshot's, which is named by its digest."""
    blobs = file.parent.parent.parent / "blobs"
    if file.is_symlink():  # not followed further: a blob may itself lead to a store of all models
        blob = blobs / Path(os.readlink(file)).name
        return blob if ETAG.fullmatch(blob.name) else None
    same = (blob for blob in blobs.glob("*") if blob.exists() and blob.samefile(file))
    return next(same, None)


def snapshot_damage(folder: Path) -> str:
    """The first file of a snapshot that is not whole, and why; empty where none is known to be."""
    for file in model_files(folder):
        blob = blob_of(file)
        digest = None if blob is None else Digest.of_etag(blob.name)
        if fault := damage(file, digest=digest):
            return f"{file}: {fault}"
    return ""


def damage(
    file: Path, *, name: str | None = None, digest: Digest | None = None, size: int | None = None
) -> str:
    """Why a cached file is not whole, as far as its size tells without a network; or nothing.

    What tells is the `size` that the hub says, what a file of that kind says of itself (`name`
    has its suffix, where the file's own name has none), and the size that it had when it was found
    to have the `digest`.
    """
    try:
        found = file.stat().st_size
        own = _own_size(file, Path(name or file.name).suffix, found)
        known = None if digest is None else size_of_hashed(file, digest)
        if known not in (None, found) and digest is not None:
            # A memory can be wrong too, and is no reason to give up a good file.
            known = found if digest.matches(digest.of_file(file)) else known
    except OSError:
        return ""  # not there, or not to be read: whoever reads it says so
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return f"{found:,} bytes, which are no whole file"
    wrong = [right for right in (size, own, known) if right not in (None, found)]
    return f"{found:,} bytes, not {wrong[0]:,}" if wrong else ""


def _own_size(file: Path, suffix: str, found: int) -> int | None:
    """The size that the file itself tells, where it does; raises ValueError for half a file."""
    if suffix == ".json" and found <= LARGEST_JSON:
        json.loads(file.read_bytes())
        return None
    with file.open("rb") as opened:
        start = opened.read(8)
        if suffix == ".safetensors":
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > min(LARGEST_HEADER, found):
                raise ValueError
            header = json.loads(opened.read(length))
            ends = [one["data_offsets"][1] for key, one in header.items() if key != "__metadata__"]
            return 8 + length + int(max(ends, default=0))
    if not start or (start.startswith(ZIP) and not zipfile.is_zipfile(file)):
        raise ValueError
    return None


def require_intact(located: "Located") -> None:
    """Raise WeightsError where a file of the model has another digest than is known of it.

    Each file is hashed once, and again only when it has changed.
    """
    hashed = {}
    files = model_files(located.path) if located.path.is_dir() else [located.path]
    try:
        for file in files:
            digests = [one for one in _known(file, located) if not was_hashed(file, one)]
            status = file.stat()
            found = {git: Digest("", git).of_file(file) for git in {one.git for one in digests}}
            for digest in digests:
                digits = found[digest.git]
                if not digest.matches(digits):
                    raise WeightsError(
                        f"{file}: not what was published (its hash is {digits[:16]}…, not "
                        f"{digest.digits[:16]}…); {located.remedy}"
                    )
                hashed[file] = (status, digits)
    except OSError as error:
        raise WeightsError(f"{located.path}: {error.strerror or error}") from error
    remember_hashed(hashed)


def _known(file: Path, located: "Located") -> Iterator[Digest]:
    """All that is known of a file's digest: its name in the hub's cache, and what was located."""
    if file.parent.parent.name == SNAPSHOTS and (blob := blob_of(file)) is not None:
        yield Digest.of_etag(blob.name)
    if file == located.path or file.name in WEIGHT_FILES:
        yield from map(Digest, located.digests)
