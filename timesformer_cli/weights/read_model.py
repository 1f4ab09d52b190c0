"""Read the tensors of one model from a file, or from the shards of an index."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.tensors import FileContent, named, read_file
from timesformer_cli.weights.weight_files import read_index
from timesformer_cli.weights.wrappers import FoundModel, find_model

ReadFile = Callable[[Path], FileContent]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadModel:
    """A model's tensors, and what its file says of them."""

    found: FoundModel
    metadata: Mapping[str, str]  # of a safetensors file
    finite: bool  # whether every number was looked at already


def read_model(files: Sequence[Path], read_one: ReadFile = read_file) -> ReadModel:
    """Read a file, or an index and its shards; raises WeightsError naming the file."""
    first, *shards = files
    read = _read_shards(first, shards, read_one) if shards else read_one(first)
    with named(first):
        found = find_model(read.content, None if read.finite else read.size)
    return ReadModel(found=found, metadata=read.metadata, finite=read.finite)


def _read_shards(index: Path, shards: Sequence[Path], read_one: ReadFile) -> FileContent:
    """All shards as one; every tensor must be where the index says, and nowhere else."""
    places = read_index(index)
    together: dict[str, Tensor] = {}
    size, finite = 0, True
    for shard in shards:
        read = read_one(shard)
        held: Any = read.content if isinstance(read.content, Mapping) else {}
        expected = {name for name, place in places.items() if place == shard.name}
        for name in sorted(expected ^ set(map(str, held))):
            fault = "has no tensor" if name in expected else "holds a tensor"
            where = "there" if name in expected else f"in {places.get(name, 'no file')}"
            raise WeightsError(f"{shard}: {fault} '{name}', which {index.name} says is {where}")
        together |= held
        size, finite = size + read.size, finite and read.finite
    return FileContent(content=together, metadata={}, size=size, finite=finite)
