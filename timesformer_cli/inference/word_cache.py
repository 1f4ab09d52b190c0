"""The vectors of texts, kept on disk: the same words cost the text tower once.

An entry is a file of our own cache folder, named by all that its vectors depend on. It carries that,
and a hash of its numbers: one that is damaged, or was made by another program, is made again. The
entries that were used last stay; a cache that cannot be written is none.
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from timesformer_cli.files import regular_file, replacing
from timesformer_cli.weights.hub.hashed_files import default_cache

if TYPE_CHECKING:
    from torch import Tensor

FOLDER, SUFFIX = "words", ".safetensors"
VERSION = 1  # of what an entry is; another one is not read
MOST_ENTRIES = 64
MOST_BYTES = 256 * 2**20  # of all entries
VECTORS, NAME, HASH = "vectors", "key", "sha256"


@dataclass(frozen=True, kw_only=True, slots=True)
class WordKey:
    """All that the vectors of texts depend on."""

    digest: str  # of the model's weights
    tokenizer: bytes  # the content of its file
    length: int  # the most tokens of a text
    texts: list[str]

    @property
    def digits(self) -> str:
        """A hash of it all."""
        tokenizer = hashlib.sha256(self.tokenizer).hexdigest()
        parts = [VERSION, self.digest, tokenizer, self.length, self.texts]
        return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()


def kept_vectors(key: WordKey, width: int) -> "Tensor | None":
    """The vectors of these texts, where they are kept whole; else None."""
    from safetensors import SafetensorError, safe_open

    path = _place(key)
    try:
        with regular_file(path) as (_, name), safe_open(name, "pt") as entry:
            said, vectors = entry.metadata(), entry.get_tensor(VECTORS)
        whole = said == {NAME: key.digits, HASH: _hash(vectors)}
        os.utime(path)  # it is used now
    except (OSError, RuntimeError, TypeError, ValueError, SafetensorError):
        return None
    return vectors if whole and vectors.shape == (len(key.texts), width) else None


def keep_vectors(key: WordKey, vectors: "Tensor") -> None:
    """Keep the vectors, and forget those that were not used for the longest time."""
    from safetensors.torch import save

    if vectors.nbytes > MOST_BYTES // 2:
        return
    path = _place(key)
    content = save({VECTORS: vectors.contiguous()}, {NAME: key.digits, HASH: _hash(vectors)})
    with suppress(OSError, RuntimeError):  # then they are made again
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_bytes(content)
        _forget(path.parent)


def _forget(folder: Path) -> None:
    """Remove the entries that are too many or too large together, the oldest first."""
    entries = [(path, path.stat()) for path in folder.glob(f"*{SUFFIX}")]
    entries.sort(key=lambda entry: -entry[1].st_mtime_ns)
    size = 0
    for number, (path, status) in enumerate(entries, 1):
        size += status.st_size
        if number > MOST_ENTRIES or size > MOST_BYTES:
            path.unlink(missing_ok=True)


def _place(key: WordKey) -> Path:
    return default_cache().expanduser() / FOLDER / f"{key.digits}{SUFFIX}"


def _hash(vectors: "Tensor") -> str:
    return hashlib.sha256(vectors.contiguous().numpy().tobytes()).hexdigest()
