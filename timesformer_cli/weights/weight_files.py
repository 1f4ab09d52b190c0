"""The weight files of a model folder: a single one, or several (shards) that an index lists."""

import re
from collections.abc import Mapping
from pathlib import Path

from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.description import WEIGHT_FILES, read_json

INDEX = ".index.json"
ANY_WEIGHTS = tuple(name + end for name in WEIGHT_FILES for end in ("", INDEX))  # the first counts
MOST_SHARDS = 1000
# Of a checkpoint, as training code names it.
LIKE_WEIGHTS = re.compile(r".*\.(safetensors|bin|ckpt|pth?|pyth|th|pkl|tar|msgpack|h5|onnx|pt2)")
# What a trainer writes beside the weights.
NO_WEIGHTS = re.compile(r"(optimizer|scheduler|scaler|rng_state.*|training_args)\.\w+")


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The folder's weight file, or an index and its shards, which may be missing; empty for none.

    Raises WeightsError for an index that is no index.
    """
    for name in ANY_WEIGHTS:
        if (file := folder / name).exists():
            shards = sorted(set(read_index(file).values())) if name.endswith(INDEX) else ()
            return (file, *(folder / shard for shard in shards))
    return ()


def require_weight_files(folder: Path) -> tuple[Path, ...]:
    """As `weight_files`; raises WeightsError where one is missing, and says what is there."""
    files = weight_files(folder)
    for file in files:
        if not file.exists():
            raise WeightsError(f"{folder}: no {file.name} in it, which {files[0].name} names")
    if files:
        return files
    there = sorted(path.name for path in folder.iterdir())
    like = [name for name in there if LIKE_WEIGHTS.fullmatch(name.lower())]
    like = [name for name in like if not NO_WEIGHTS.fullmatch(name)]
    steps = [name for name in there if re.fullmatch(r"checkpoint-\d+", name)]
    reason = f"{folder}: no {' or '.join(WEIGHT_FILES)} in it"
    if like or steps:
        more = f" and {len(like + steps) - 3} more" if len(like + steps) > 3 else ""
        one = "that" if len(like + steps) == 1 else "one of them"
        reason += f"; there is {', '.join((like + steps)[:3])}{more}: give {one} instead"
    raise WeightsError(reason)


def read_index(file: Path) -> Mapping[str, str]:
    """Which shard, a name in the index's own folder, holds which tensor; raises WeightsError."""
    try:
        places = read_json(file)["weight_map"]
        shards = {str(shard) for shard in places.values()}
    except (LookupError, AttributeError) as error:
        raise WeightsError(f"{file}: no weight_map in it that names a file per tensor") from error
    for shard in sorted(shards):
        if not re.fullmatch(r"\w[\w.-]*", shard, re.ASCII) or shard in ANY_WEIGHTS:
            raise WeightsError(f"{file}: it names {shard!r:.80}; shards must be files beside it")
    if not 1 <= len(shards) <= MOST_SHARDS:
        raise WeightsError(f"{file}: it names {len(shards)} files; 1 to {MOST_SHARDS} load")
    return {str(name): str(shard) for name, shard in places.items()}
