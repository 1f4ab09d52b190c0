"""All that is known of a model before it runs: what it is, how its clips are taken, and why so.

Where headers say enough, no numbers are read. A checkpoint's names and shapes are compared with the
network that it says it is, so what is told here loads.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from timesformer_cli import cost
from timesformer_cli.config import ModelConfig, Preprocessing, Sampling
from timesformer_cli.errors import WeightsError
from timesformer_cli.inference.exported.open import read_manifest
from timesformer_cli.inference.model_facts import ModelFacts
from timesformer_cli.model import TimeSformer
from timesformer_cli.video.sample import span
from timesformer_cli.weights.catalogue import Weights, find_weights, read_labels
from timesformer_cli.weights.description import (
    CONFIG,
    PROCESSOR_FILES,
    Description,
    PartialDescription,
    read_description,
)
from timesformer_cli.weights.hub import locate
from timesformer_cli.weights.hub.locate import Located
from timesformer_cli.weights.load import read_located
from timesformer_cli.weights.revision import revision_of
from timesformer_cli.weights.tensors import read_file

CATALOGUE, ASSUMED, TENSORS = "the catalogue", "assumed", "the shapes of its tensors"
METADATA = "the file's metadata"
UNKNOWN_LICENCE = "not known to tsf; see where it came from"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Origins:
    """Where each part of a description came from."""

    architecture: str
    sampling: str
    labels: str
    preprocessing: dict[str, str]


def gather_facts(name: str) -> ModelFacts:
    """What is known of the model of that name; nothing is fetched.

    Raises WeightsError for a name that means nothing, or a model that would not load.
    """
    try:
        located = locate.locate(name, offline=True)
    except WeightsError:
        if locate.cached(name, whole=False) is not None:  # here, and not as it should be
            raise
        if (row := find_weights(name)) is not None:
            return _of_row(name, row)
        raise WeightsError(
            f"'{name}' is not on this machine, and the catalogue does not have it: "
            f"tsf download-weights {name} fetches it"
        ) from None
    return _of_export(located) if located.exported else _of_checkpoint(located)


def _of_checkpoint(located: Located) -> ModelFacts:
    checkpoint = read_located(located, read=partial(read_file, numbers=False))
    description, row = checkpoint.description, located.row
    with torch.device("meta"):
        network = TimeSformer(description.config)
    # Names and shapes only: what a pickle holds must not become numbers of another type.
    tensors = {name: tensor.to("meta") for name, tensor in checkpoint.tensors.items()}
    try:
        replace(checkpoint, tensors=tensors, finite=True).state(network.state_dict())
    except WeightsError as error:
        raise WeightsError(located.in_words(str(error))) from error
    folder = located.path if located.path.is_dir() else None
    if located.image_model is not None:
        timm = "timm"
        origins = _Origins(
            architecture=TENSORS,
            sampling=ASSUMED,
            labels=timm,
            preprocessing=dict.fromkeys(asdict(description.preprocessing), timm),
        )
    elif folder is not None:
        origins = _origins(read_description(folder), description, row, CONFIG, folder)
    else:
        told = PartialDescription(config=description.config)
        origins = _origins(told, description, row, TENSORS if checkpoint.layout else METADATA)
    beside = [] if folder is None else sorted(folder.glob("*config.json"))
    facts = _facts(
        located.name,
        description,
        origins,
        row,
        files=tuple(str(path) for path in (checkpoint.file, *beside)),
        bytes=checkpoint.file.stat().st_size,
        revision=revision_of(located),
        notes=checkpoint.notes,
    )
    return _of_encoder(facts, description.config) if checkpoint.encoder else facts


def _of_export(located: Located) -> ModelFacts:
    manifest = read_manifest(located.path)
    description = manifest.description
    origins = _Origins(
        architecture=METADATA,
        sampling=METADATA,
        labels=METADATA,
        preprocessing=dict.fromkeys(asdict(description.preprocessing), METADATA),
    )
    files = [path for path in located.files if path.is_file()]
    return _facts(
        located.name,
        description,
        origins,
        find_weights(manifest.source),
        dtype=manifest.dtype,
        input=f"{manifest.input}, {manifest.batch or 'any number of'} clips a call",
        files=tuple(str(path) for path in files),
        bytes=sum(path.stat().st_size for path in files),
        revision=manifest.revision,
        source=f"exported from {manifest.source} by tsf {manifest.version}",
    )


def _of_row(name: str, row: Weights) -> ModelFacts:
    config = row.config
    labels = read_labels(row.labels) if row.labels else ()
    description = Description(
        config=config,
        labels=labels,
        sampling=Sampling(frames=row.frames, stride=row.stride),
        preprocessing=Preprocessing(
            resize=row.resize or row.size,
            crop=(row.size, row.size),
            mean=row.mean,
            std=row.std,
            filter=row.filter,
        ),
    )
    origins = _Origins(
        architecture=CATALOGUE,
        sampling=CATALOGUE,
        labels=CATALOGUE if labels else ASSUMED,
        preprocessing=dict.fromkeys(asdict(description.preprocessing), CATALOGUE),
    )
    how = f"tsf download-weights {row.name} fetches it"
    if not row.repo and not row.url:
        how = "its authors hand out a file; then"
        how += f" tsf download-weights {row.name} --from-file PATH"
    facts = _facts(
        name,
        description,
        origins,
        row,
        here=False,
        files=(),
        bytes=4 * cost.parameters(config),
        revision=row.revision or row.sha256,
        notes=(f"not on this machine: {how}; its own files may say more",),
    )
    return _of_encoder(facts, config) if row.encoder else facts


def _of_encoder(facts: ModelFacts, config: ModelConfig) -> ModelFacts:
    """The facts without a classifier, which the model does not have yet."""
    work, parameters = cost.of_encoder(config)
    return replace(
        facts,
        parameters=parameters,
        gmacs=round(work / 1e9, 2),
        bytes=facts.bytes if facts.here else 4 * parameters,
        classes=0,
        labels=(),
        readout="nothing yet: an encoder, to which tsf train --init gives classes",
    )


def _readout(config: ModelConfig) -> str:
    if config.pooler_blocks:
        blocks = "1 block" if config.pooler_blocks == 1 else f"{config.pooler_blocks} blocks"
        return f"a pooler of {blocks}, over all tokens"
    if config.class_tokens:
        return "class token"
    if config.readout == "normed-mean":
        return "mean of all normed tokens"
    return f"{config.readout} of all tokens"


def _origins(
    told: PartialDescription,
    description: Description,
    row: Weights | None,
    config_from: str,
    folder: Path | None = None,
) -> _Origins:
    """Compare what the files tell with what came of it."""
    otherwise = ASSUMED if row is None else CATALOGUE
    labels = CONFIG if told.labels and told.labels == description.labels else otherwise
    if row is not None and not row.labels and labels != CONFIG:
        labels = ASSUMED
    names = asdict(description.preprocessing)
    if folder is not None and told.preprocessing is not None:
        file = next(name for name in PROCESSOR_FILES if (folder / name).exists())
        preprocessing = dict.fromkeys(names, file)
    else:  # sizes are the architecture's
        preprocessing = {
            name: otherwise if name in ("mean", "std") else config_from for name in names
        }
    return _Origins(
        architecture=config_from,
        sampling=CONFIG if told.sampling is not None else otherwise,
        labels=labels,
        preprocessing=preprocessing,
    )


def _facts(
    name: str, description: Description, origins: _Origins, row: Weights | None, **own: Any
) -> ModelFacts:
    config: ModelConfig = description.config
    sampling = description.sampling
    source = None
    if row is not None:
        source = row.repo or row.url or ("comes with tsf" if row.bundled else "its authors' file")
    facts: dict[str, Any] = {
        "here": True,
        "dtype": None,
        "input": None,
        "notes": (),
        "source": source,
    }
    return ModelFacts(
        name=name,
        scheme=config.scheme_name,
        about_scheme=config.scheme.summary,
        width=config.dim,
        depth=config.depth,
        heads=config.heads,
        patch=(config.tubelet, config.patch, config.patch),
        parameters=cost.parameters(config),
        gmacs=round(cost.macs(config).total / 1e9, 2),
        architecture_from=origins.architecture,
        frames=sampling.frames,
        stride=sampling.stride,
        seconds=span(sampling),
        sampling_from=origins.sampling,
        preprocessing=asdict(description.preprocessing),
        preprocessing_from=origins.preprocessing,
        recognises=None if row is None else row.about,
        classes=config.classes,
        labels=description.labels,
        labels_from=origins.labels,
        scores="sigmoid" if config.multi_label else "softmax",
        readout=_readout(config),
        text=config.text,
        licence=UNKNOWN_LICENCE if row is None else row.licence,
        top1=None if row is None else row.top1,
        top5=None if row is None else row.top5,
        reported=None if row is None else row.reported,
        **facts | own,
    )
