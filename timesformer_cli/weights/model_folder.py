"""Read a model folder or checkpoint file into what a model needs.

Strict in both directions: a tensor that is missing or left over is an error.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import UsageError, WeightsError
from timesformer_cli.weights.assumed import NO_LABELS, complete
from timesformer_cli.weights.catalogue import Weights
from timesformer_cli.weights.description import (
    CONFIG,
    WEIGHT_FILES,
    Description,
    PartialDescription,
    read_description,
)
from timesformer_cli.weights.infer_config import REMEDY, infer_config
from timesformer_cli.weights.layout import Layout, Theirs, as_parts, translate
from timesformer_cli.weights.read_model import ReadFile, ReadModel, read_model
from timesformer_cli.weights.tensors import is_finite, read_file
from timesformer_cli.weights.weight_files import require_weight_files
from timesformer_cli.weights.write_layout import PATCH_WEIGHT

SMALL = 1 << 20  # bytes; a smaller tensor is copied, since it would keep its stretch of the file
HALVES = (torch.bfloat16, torch.float16)
CONFIG_KEY = "tsf"  # in the metadata of a safetensors file


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The content of a checkpoint, under the names of its own layout and not yet checked."""

    file: Path
    called: str  # by notes
    description: Description
    notes: tuple[str, ...]  # what had to be assumed
    tensors: Mapping[str, Tensor]
    finite: bool  # whether every number was looked at already
    layout: Layout | None  # None is our own

    @property
    def encoder(self) -> bool:
        """Whether it ends before its pooler and its classifier."""
        return self.layout is not None and self.layout.encoder

    @property
    def whole(self) -> bool:
        """Whether it has all tensors of the network: the head of words, or a readout, may lack."""
        return self.layout is None or not self.layout.lacks

    def as_it_is(self) -> "Checkpoint":
        """An encoder as a model without classes, which only gives vectors; others unchanged."""
        if not self.encoder:
            return self
        bare = self.without_pooler().description
        described = replace(bare, config=replace(bare.config, classes=0), labels=())
        said = (note for note in self.notes if NO_LABELS not in note)
        return replace(self, description=described, notes=tuple(said))

    def without_pooler(self) -> "Checkpoint":
        """The same encoder, of which a head is to read the mean of the tokens that it gives."""
        config = replace(self.description.config, pooler_blocks=0, readout="normed-mean")
        return replace(self, description=replace(self.description, config=config))

    def state(
        self, expected: Mapping[str, Tensor], *, as_stored: bool = False
    ) -> dict[str, Tensor]:
        """Return the tensors under our names, all of them checked.

        `expected` is the state dict of the built model; only its names, shapes and types are used,
        so it may be on the meta device. With `as_stored`, tensors of 16 bits keep their type, so
        that those on disk stay there until they are used. Raises one WeightsError for all tensors
        that are missing, left over, of another shape or not finite. One that is not whole has no
        tensors for the rest.
        """
        names = translate(expected, self.layout, self.description.config)
        faults = []
        needed = [
            part for theirs in names.values() for part in as_parts(theirs) if part is not None
        ]
        if missing := [theirs for theirs in needed if theirs not in self.tensors]:
            faults.append(f"missing {_listed(missing)}")
        extra = set(self.tensors) - set(needed)
        if self.layout is not None:
            extra -= self.layout.unneeded(extra, self.description.config)
        if extra:
            faults.append(f"left over {_listed(sorted(extra))}")
        state = {}
        for ours, theirs in names.items():
            if not {*as_parts(theirs)} - {None} <= self.tensors.keys():
                continue
            wanted = expected[ours]
            tensor = self._tensor(ours, theirs, wanted)
            named = ", ".join(part for part in as_parts(theirs) if part is not None)
            if tensor.shape != wanted.shape:
                shape, should = tuple(tensor.shape), tuple(wanted.shape)
                faults.append(f"'{named}' is {shape} and should be {should}")
            elif tensor.is_floating_point() != wanted.is_floating_point():
                faults.append(f"'{named}' is of type {tensor.dtype}")
            elif not self.finite and not is_finite(tensor):
                faults.append(f"'{theirs}' is not finite everywhere")
            else:
                from_zero = (
                    ours.endswith("norm.weight") and self.layout and self.layout.norms_from_zero
                )
                kept = as_stored and tensor.dtype in HALVES and not from_zero
                ready = tensor if kept else tensor.to(wanted.dtype)
                if from_zero:
                    ready = ready + 1
                state[ours] = ready.clone() if as_stored and ready.nbytes < SMALL else ready
        if faults:
            scheme = self.description.config.scheme_name
            layout = "our own" if self.layout is None else f"the {self.layout.name}"
            raise WeightsError(
                f"{self.file}: not a {scheme} model in {layout} layout: {_listed(faults)}"
            )
        return state

    def _tensor(self, ours: str, theirs: Theirs, wanted: Tensor) -> Tensor:
        """Make one of our tensors from theirs.

        Where theirs do not fit, the result has a wrong shape, which the caller reports.
        """
        parts = [None if name is None else self.tensors[name] for name in as_parts(theirs)]
        like = next(part for part in parts if part is not None)
        shapes = {part.shape for part in parts if part is not None}
        if len(parts) > 1 and len(shapes) == 1 and like.ndim:
            return torch.cat([torch.zeros_like(like) if part is None else part for part in parts])
        if ours == PATCH_WEIGHT and like.ndim > 2 and wanted.ndim == 2:
            return like.flatten(1)  # their convolution is our linear layer
        if ours == PATCH_WEIGHT and self.layout is not None and like.shape == wanted.shape:
            config = self.description.config
            lengths = {"c": config.channels, "p": config.patch, "q": config.patch}
            return rearrange(like, f"d ({self.layout.patch}) -> d (c p q)", **lengths)
        # Some code bases store tables and tokens without our leading axis of length 1.
        return like[None] if like.ndim and like.shape == wanted.shape[1:] else like


def read_checkpoint(
    path: Path, row: Weights | None = None, called: str = "", *, read: ReadFile = read_file
) -> Checkpoint:
    """Read a hub-style folder or a checkpoint file; `row` fills in what its files leave out.

    `called` is what notes call it, where that is not the path's last part. `read` may leave out the
    numbers. Raises WeightsError where it is neither, is unsafe, or belongs to no model that we know.
    """
    if path.is_dir():
        if not (path / CONFIG).exists():
            require_weight_files(path)  # says what is there instead
        described, files = read_description(path), require_weight_files(path)
    else:
        described, files = None, (path,)
    read_whole = read_model(files, read)
    found, assumed = read_whole.found, ""
    if described is None:
        try:
            described, assumed = _describe_file(path, read_whole)
        except (UsageError, WeightsError) as error:
            raise WeightsError(f"{path}: {error}") from error
    description, notes = complete(described, row, found.layout)
    notes = [*found.notes, *([assumed] if assumed else []), *notes]
    return Checkpoint(
        file=files[0],
        description=description,
        called=called or path.name,
        notes=tuple(f"{called or path.name}: {note}" for note in notes),
        tensors=found.tensors,
        finite=read_whole.finite,
        layout=found.layout,
    )


def _describe_file(path: Path, read: ReadModel) -> tuple[PartialDescription, str]:
    """What a bare file is, by its tensors, its metadata or a config.json beside it.

    Second comes what had to be assumed, or empty. A config.json is asked where the tensors do not
    say all, or where the file has the name that it has in a model folder.
    """
    found = read.found
    if found.layout is None:
        if CONFIG_KEY in read.metadata:
            config = ModelConfig.from_dict(json.loads(read.metadata[CONFIG_KEY]))
            return PartialDescription(config=config), ""
        fault = WeightsError(f"a model of tsf without its configuration; {REMEDY}")
    else:
        shapes = {name: tuple(tensor.shape) for name, tensor in found.tensors.items()}
        try:
            config, assumed = infer_config(shapes, found.layout)
            if not assumed and path.name not in WEIGHT_FILES:
                return PartialDescription(config=config), ""
            fault = None
        except WeightsError as error:
            fault = error
    if path.with_name(CONFIG).exists():
        try:
            return read_description(path.parent), ""
        except WeightsError:  # a config.json of something else
            if fault is None:
                return PartialDescription(config=config), assumed
    if fault is not None:
        raise fault
    return PartialDescription(config=config), assumed


def _listed(names: Iterable[str], most: int = 3) -> str:
    first = list(names)
    more = f" and {len(first) - most} more" if len(first) > most else ""
    return ", ".join(first[:most]) + more
