"""Published weights: list them, download them, verify them, convert them from a user's file."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from timesformer_cli import cost
from timesformer_cli.callbacks import NoteCallback, TransferCallback
from timesformer_cli.cost.rate import MachineRate, expected_bytes, expected_seconds
from timesformer_cli.errors import UsageError, WeightsError
from timesformer_cli.weights.advice import advised, on_front
from timesformer_cli.weights.catalogue import ASSETS, UNKNOWN, WEIGHTS, Weights, find_weights
from timesformer_cli.weights.description import read_description
from timesformer_cli.weights.hub import locate
from timesformer_cli.weights.hub.locate import VerifiedFile


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedWeights:
    """One row of the catalogue, with its cost and whether it is on this machine."""

    name: str
    attention: str
    frames: int
    stride: int | None  # in frames at 30 fps; None spreads the frames over the video
    image_size: int
    data: str
    classes: int
    top1: float | None
    top5: float | None
    reported: str | None
    parameters: int
    gmacs: float  # per clip
    bytes: int  # of its tensors in float32
    licence: str
    source: str  # hub repository and revision, URL, "package" or "file only"
    cached: bool
    views: str | None  # clips x crops for which top-1 and top-5 are reported
    # Whether no other of its data set and views is both cheaper and better; None without a report.
    front: bool | None
    clip_seconds: float | None  # that a clip spans; None is the whole video
    words: bool  # whether it takes labels in the user's own words
    memory_bytes: int  # of weights and activations, for one clip
    seconds: float | None  # that one clip should take; None without a rate
    rate: MachineRate | None  # of the matrix products from which `seconds` comes
    best_for: tuple[str, ...]  # kinds of users for whom it is the choice: see `advice`


@dataclass(frozen=True, slots=True)
class ReadyWeights:
    """Weights that are on this machine and can be used."""

    name: str
    path: str
    licence: str


def list_weights(
    cache_dir: Path | None = None, rate: MachineRate | None = None
) -> list[ListedWeights]:
    """List every row of the catalogue, with what it should cost at that rate; needs no network."""
    return advised(on_front([_listed(row, cache_dir, rate) for row in WEIGHTS.values()]))


def download_weights(
    names: list[str],
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
    progress: TransferCallback | None = None,
) -> Iterator[ReadyWeights | WeightsError]:
    """Download weights by name, in order; yields an error for one that fails, and goes on."""
    for name in names:
        try:
            located = locate.locate(
                name, revision=revision, cache_dir=cache_dir, offline=offline, progress=progress
            )
        except WeightsError as error:
            yield error
        else:
            licence = UNKNOWN if located.row is None else located.row.licence
            yield ReadyWeights(name, str(located.path), licence)


def verify_weights(
    names: list[str], cache_dir: Path | None = None
) -> Iterator[tuple[str, VerifiedFile]]:
    """Hash the cached files of these weights again; a file that is not as published is removed."""
    for name in names:
        for checked in locate.verify_files(name, cache_dir=cache_dir):
            yield name, checked


def downloadable() -> list[str]:
    """The names that can be downloaded: those on the hub or at a URL."""
    return [name for name, row in WEIGHTS.items() if row.repo or row.url]


def cached_names(cache_dir: Path | None = None) -> list[str]:
    """The names whose weights were downloaded, also where a file is damaged."""
    return [
        name
        for name in downloadable()
        if locate.cached(name, cache_dir=cache_dir, whole=False) is not None
    ]


def convert_checkpoint(
    path: Path, name: str | None, cache_dir: Path | None, note: NoteCallback
) -> ReadyWeights:
    """Convert a user's checkpoint file to a hub-style folder.

    With a `name` of the catalogue, or a file that has its authors' name, labels and sampling come
    from that row and the folder is written where `locate` looks for the name. Otherwise it is
    written beside the file. Raises WeightsError, and UsageError for a name that is not known.
    """
    from timesformer_cli.weights.load import load_path, save_model

    row = find_weights(name or path.stem)
    if name is not None and row is None:
        raise UsageError(f"no weights named '{name}'; tsf models lists the names")
    model, notes = load_path(path, row)
    # drop_path belongs to training, and no row has it.
    if row is not None and replace(model.config, drop_path=0.0) != row.config:
        raise WeightsError(f"{path}: it is a model of another shape than '{name or path.stem}'")
    for text in notes:
        note(text)
    folder = _beside(path) if row is None else locate.own_folder(row.name, cache_dir)
    save_model(model, folder)
    if row is None:
        return ReadyWeights(str(folder), str(folder), "as its authors say")
    return ReadyWeights(row.name, str(folder), row.licence)


def _beside(path: Path) -> Path:
    """The folder for a file that was converted: the file's name without what says its format."""
    stem = re.sub(r"(\.(pth|pt|ckpt))?(\.\w+)?$", "", path.name)
    return path.with_name(stem if stem not in ("", path.name) else f"{path.name}-converted")


def _listed(row: Weights, cache_dir: Path | None, rate: MachineRate | None) -> ListedWeights:
    config = read_description(ASSETS / row.name).config if row.bundled else row.config
    work, parameters = cost.macs(config).total, cost.parameters(config)
    if row.encoder:
        work, parameters = cost.of_encoder(config)
    clip_span = None if row.stride is None else round(row.frames * row.stride / 30, 2)
    return ListedWeights(
        name=row.name,
        attention=config.attention,
        frames=row.frames,
        stride=row.stride,
        image_size=row.size,
        data=row.about,
        classes=row.classes,
        top1=row.top1,
        top5=row.top5,
        reported=row.reported,
        parameters=parameters,
        gmacs=round(work / 1e9, 1),
        bytes=4 * parameters,
        licence=row.licence,
        source=_source(row),
        cached=row.bundled or locate.cached(row.name, cache_dir=cache_dir) is not None,
        views=row.views,
        front=None,
        clip_seconds=clip_span,
        words=row.text is not None,
        memory_bytes=expected_bytes(
            config, "float32" if rate is None else rate.dtype, encoder=row.encoder
        ),
        seconds=None if rate is None else expected_seconds(work, config.dim, rate),
        rate=rate,
        best_for=(),
    )


def _source(row: Weights) -> str:
    if row.repo is not None:
        return f"{row.repo}@{row.revision or 'main'}"
    return row.url or ("package" if row.bundled else "file only")
