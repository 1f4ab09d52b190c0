"""What an exported file says of itself, as strings in its metadata, so that one file is enough."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from timesformer_cli.errors import WeightsError
from timesformer_cli.inference.device_names import DTYPE_NAMES
from timesformer_cli.weights.description import Description, description_files, parse_description

INPUT, OUTPUT = "clip", "logits"
PIXELS, NORMALISED = "uint8 RGB (b t h w c)", "float32 RGB (b t c h w), normalised"
DYNAMIC = "dynamic"
# The metadata's entry with the SHA-256 of all else that the file holds.
DIGEST = "tsf.sha256"
LARGEST_BATCH = 65536  # short batches are padded to a fixed size, which a file must not inflate


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What the model is, what its graph takes, and where it came from."""

    description: Description
    dtype: str  # in which the graph computes
    pixels: bool  # whether it takes pixels; otherwise it takes normalised clips
    batch: int | None  # clips per call; None means any number
    source: str  # name of the model that was exported
    revision: str  # of its weights
    version: str  # of the tsf that wrote the file
    digest: str = ""  # empty in files that were exported before there were digests

    @property
    def input(self) -> str:
        """The kind of clip that the graph takes, in words."""
        return PIXELS if self.pixels else NORMALISED

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape of the input; its first number is None for a batch of any size."""
        height, width = self.description.preprocessing.crop
        frames, channels = self.description.sampling.frames, self.description.config.channels
        if self.pixels:
            return (self.batch, frames, height, width, channels)
        return (self.batch, frames, channels, height, width)

    def to_strings(self) -> dict[str, str]:
        """The JSON files of a model folder by name, and the keys that begin with `tsf.`."""
        return {
            **{
                name: json.dumps(values)
                for name, values in description_files(self.description).items()
            },
            "tsf.version": self.version,
            "tsf.source": self.source,
            "tsf.revision": self.revision,
            "tsf.scheme": self.description.config.attention,
            "tsf.dtype": self.dtype,
            "tsf.input": self.input,
            "tsf.batch": DYNAMIC if self.batch is None else str(self.batch),
            **({DIGEST: self.digest} if self.digest else {}),
        }

    @classmethod
    def from_strings(cls, strings: Mapping[str, str], path: Path) -> "Manifest":
        """The inverse of `to_strings`; raises WeightsError for a file that tsf did not write."""
        if "tsf.version" not in strings:
            raise WeightsError(f"{path}: not exported by tsf; only what `tsf export` wrote can run")
        try:
            files = {
                name: json.loads(text) for name, text in strings.items() if name.endswith(".json")
            }
            batch = strings["tsf.batch"]
            described = parse_description(files, path)
            if described.sampling is None or described.preprocessing is None:
                raise ValueError("it does not say how clips are taken")
            if not described.labels:
                raise ValueError(f"no labels for its {described.config.classes} classes")
            manifest = cls(
                description=Description(
                    config=described.config,
                    labels=described.labels,
                    sampling=described.sampling,
                    preprocessing=described.preprocessing,
                ),
                dtype=strings["tsf.dtype"],
                pixels={PIXELS: True, NORMALISED: False}[strings["tsf.input"]],
                batch=None if batch == DYNAMIC else int(batch),
                source=strings["tsf.source"],
                revision=strings["tsf.revision"],
                version=strings["tsf.version"],
                digest=strings.get(DIGEST, ""),
            )
        # The strings are the file's: JSON of any type and depth, and keys that may be missing.
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise WeightsError(f"{path}: damaged metadata ({error}); export it again") from error
        sane_batch = manifest.batch is None or 1 <= manifest.batch <= LARGEST_BATCH
        if manifest.dtype not in DTYPE_NAMES or not sane_batch:
            raise WeightsError(f"{path}: incomplete metadata; export it again")
        return manifest


def changed_since_export(path: Path) -> WeightsError:
    """The error for a file whose digest says that its bytes have changed."""
    return WeightsError(
        f"{path}: its weights or graph are not those that were exported; export it again or copy "
        f"it anew"
    )
