"""Published weights: what there is, fetching it, checking it, taking it from a user's file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from timesformer_cli import cost
from timesformer_cli.errors import UsageError, WeightsError
from timesformer_cli.weights.catalogue import ASSETS, WEIGHTS, Weights, find
from timesformer_cli.weights.description import read_description
from timesformer_cli.weights.hub import locate
from timesformer_cli.weights.hub.locate import Checked
from timesformer_cli.weights.hub.stall import Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """One row of the catalogue: `bytes` of its float32 tensors, `stride` None where uniform."""

    name: str
    attention: str
    frames: int
    stride: int | None
    image_size: int
    data: str
    classes: int
    top1: float | None
    top5: float | None
    reported: str | None
    parameters: int
    gmacs: float
    bytes: int
    licence: str
    source: str
    cached: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """Weights that lie on this machine and can be used."""

    name: str
    path: str
    licence: str


def list_weights(cache_dir: Path | None = None) -> list[Listed]:
    """Every row of the catalogue; needs no network."""
    return [_listed(name, row, cache_dir) for name, row in WEIGHTS.items()]


def download(
    names: list[str],
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Iterator[Ready | WeightsError]:
    """Fetch weights by name, in order; one that cannot be had does not stop the others."""
    for name in names:
        try:
            path, row = locate.resolve(
                name, revision=revision, cache_dir=cache_dir, offline=offline, progress=progress
            )
        except WeightsError as error:
            yield error
        else:
            yield Ready(name, str(path), row.licence if row is not None else "see its model card")


def verify(names: list[str], cache_dir: Path | None = None) -> Iterator[tuple[str, Checked]]:
    """Hash what the cache holds of these weights again; a file that is not as published goes."""
    for name in names:
        for checked in locate.verify(name, cache_dir=cache_dir):
            yield name, checked


def downloadable() -> list[str]:
    """The names that can be fetched: those on the hub or at a URL."""
    return [name for name, row in WEIGHTS.items() if row.repo or row.url]


def cached_names(cache_dir: Path | None = None) -> list[str]:
    """The names whose weights were downloaded."""
    return [name for name in downloadable() if locate.cached(name, cache_dir=cache_dir) is not None]


def convert(
    path: Path, name: str | None, cache_dir: Path | None, note: Callable[[str], None]
) -> Ready:
    """Take weights from a user's checkpoint file into a hub-style folder of our own.

    With a `name` of the catalogue (or a file called as its authors called it) labels and sampling
    are that row's and the folder is where the name will be looked for; else it lies beside the
    file. Raises WeightsError.
    """
    from timesformer_cli.weights.load import load_path, save

    row = find(name or path.stem)
    if name is not None and row is None:
        raise UsageError(f"no weights named '{name}'; tsf download-weights --list shows the names")
    model, notes = load_path(path, row)
    if row is not None and replace(model.config, drop_path=0.0) != row.config:
        raise WeightsError(f"{path}: it is a model of another shape than '{name or path.stem}'")
    for text in notes:
        note(text)
    key = next((key for key, value in WEIGHTS.items() if value is row), None)
    folder = locate.own_folder(key, cache_dir) if key else path.with_suffix("")
    save(model, folder)
    return Ready(key or str(folder), str(folder), row.licence if row else "as its authors say")


def _listed(name: str, row: Weights, cache_dir: Path | None) -> Listed:
    config = read_description(ASSETS / name).config if row.bundled else row.config
    parameters = cost.parameters(config)
    return Listed(
        name=name,
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
        gmacs=round(cost.macs(config).total / 1e9, 1),
        bytes=4 * parameters,
        licence=row.licence,
        source=_source(row),
        cached=row.bundled or locate.cached(name, cache_dir=cache_dir) is not None,
    )


def _source(row: Weights) -> str:
    if row.repo is not None:
        return f"{row.repo}@{row.revision or 'main'}"
    return row.url or ("package" if row.bundled else "file only")
