"""From what a user calls a model to where it lies on disk: looked up, fetched, verified."""

import difflib
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from timesformer_cli.callbacks import TransferCallback
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.catalogue import ASSETS, BUNDLED, WEIGHTS, Weights, find_weights
from timesformer_cli.weights.description import WEIGHT_FILES
from timesformer_cli.weights.digest import SHA256, Digest
from timesformer_cli.weights.hub.download import Source, download_file, on_disk
from timesformer_cli.weights.hub.remote_files import CONFIG, hf_download
from timesformer_cli.weights.hub.snapshot import blob_of, cached_snapshot, fetch_snapshot
from timesformer_cli.weights.hub.stall import STALL_SECONDS, run_watched

TIMM = "timm:"
EXPORTED = (".onnx", ".pt2")


HUB_ID = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?", re.ASCII)
# What ends like this was meant as a file; a repository's name may end in a `.5`.
FILE_SUFFIXES = frozenset(".bin .ckpt .json .onnx .pkl .pt .pt2 .pth .pyth .safetensors".split())


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """What a model's name means: the folder or file, and the catalogue row that speaks for it.

    A name is located once a command; whoever needs the model is handed this.
    """

    name: str
    path: Path
    row: Weights | None = None

    @property
    def exported(self) -> bool:
        """Whether it is a file that `tsf export` wrote."""
        return self.path.suffix in EXPORTED

    @property
    def image_model(self) -> str | None:
        """timm's name of it, where it is an image model of timm."""
        return self.name.removeprefix(TIMM) if self.name.startswith(TIMM) else None

    def to_text(self) -> str:
        """All of it for another process."""
        row = None if self.row is None else self.row.name
        return json.dumps([self.name, str(self.path), row])

    @classmethod
    def from_text(cls, text: str) -> "Located":
        """The inverse of `to_text`."""
        name, path, row = json.loads(text)
        return cls(name=name, path=Path(path), row=None if row is None else WEIGHTS[row])


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedFile:
    """A cached file hashed again; a bad one has been removed. `note` says what to do."""

    file: Path
    state: Literal["ok", "bad", "unknown"]
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where a model comes from: with the package, from the hub, or from a URL (the row's)."""

    name: str
    row: Weights | None
    repo: str | None = None
    revision: str | None = None
    weights: Digest = SHA256


def locate(
    name: str,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
    progress: TransferCallback | None = None,
) -> Located:
    """Where the model of that name lies: a catalogue name, a path, a hub id (`org/name`,
    `org/name@revision`), or an image model (`timm:name`).

    Fetches what is not cached unless `offline`. Raises WeightsError with what to do.
    """
    row = find_weights(name)
    path = Path(name).expanduser()
    if (row is None or not row.bundled) and path.exists():
        return Located(name=name, path=path, row=find_weights(path.stem))
    place = _place(name, revision)
    if (there := _cached(place, cache_dir, surely=not offline)) is None:
        if offline:
            raise _offline(place)
        there = fetch(name, revision=revision, cache_dir=cache_dir, progress=progress)
    return Located(name=name, path=there, row=place.row)


def as_located(model: "str | Located") -> Located:
    """What was located already as it is; a name is located now."""
    return locate(model) if isinstance(model, str) else model


def cached(name: str, *, revision: str | None = None, cache_dir: Path | None = None) -> Path | None:
    """Where a catalogue name or hub id lies already, complete; None where it would be fetched."""
    return _cached(_place(name, revision), cache_dir)


def fetch(
    name: str,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    progress: TransferCallback | None = None,
    stall: float = STALL_SECONDS,
) -> Path:
    """Folder or file of a catalogue name or hub id, downloaded where the cache lacks it.

    `progress` is called in this thread. Gives up after `stall` seconds without a byte. Raises
    WeightsError.
    """
    place = _place(name, revision)
    if (there := _cached(place, cache_dir)) is not None:
        return there
    if (repo := place.repo) is not None:
        from huggingface_hub import constants

        work = partial(fetch_snapshot, repo, place.revision, cache_dir, place.weights)
        try:
            if constants.HF_HUB_OFFLINE:
                raise _offline(place)
            return run_watched(work, place.name, progress, stall)
        except WeightsError:
            if (there := _cached(place, cache_dir, surely=False)) is None:
                raise
            return there
    row = place.row
    if row is None or row.url is None:
        raise _only_a_file(place)
    target = _target(place.name, row.url, cache_dir)
    source = Source(
        name=target.name,
        url=row.url,
        digest=place.weights,
        instead=f"where there is a network, fetch {row.url}, and give its path here",
    )
    part, lock = (target.with_name(f"{target.name}.{end}") for end in ("part", "lock"))
    run_watched(
        lambda watch: download_file(source, target, part=part, lock=lock, watch=watch, record=True),
        place.name,
        progress,
        stall,
    )
    return target


def verify_files(
    name: str, *, revision: str | None = None, cache_dir: Path | None = None
) -> tuple[VerifiedFile, ...]:
    """Hash what is cached of a catalogue name or hub id; remove what is not what it should be."""
    place = _place(name, revision)
    there = _cached(place, cache_dir, surely=False)
    if there is None:
        return ()
    files = sorted(there.iterdir()) if there.is_dir() else [there]
    if there == own_folder(place.name, cache_dir):
        note = "converted from a file of yours"
        return tuple(VerifiedFile(file=file, state="unknown", note=note) for file in files)
    checked = tuple(_check(file, place) for file in files if file.is_file())
    if place.repo is not None and any(file.state == "bad" for file in checked):
        with on_disk(there):  # without it the rest is not taken for a whole model
            (there / CONFIG).unlink(missing_ok=True)
    return checked


def _check(file: Path, place: _Place) -> VerifiedFile:
    blob = blob_of(file) if place.repo is not None else None
    expected = list(_expected(file, blob, place))
    if not expected:
        return VerifiedFile(file=file, state="unknown", note="nothing says what it should hash to")
    if all(digest.matches(digest.of_file(file)) for digest in expected):
        return VerifiedFile(file=file, state="ok")
    if place.row is not None and place.row.bundled:
        note = "not what came with the package: install tsf again"
        return VerifiedFile(file=file, state="bad", note=note)
    note = f"not what was published; removed: run `tsf download-weights {place.name}` again"
    real, cache = file.resolve(), file.parents[3 if blob else 0].resolve()
    with on_disk(file):
        for wrong in (file, _record(file), blob or file, real):
            if wrong is not real or real.is_relative_to(cache):  # or it is the user's own
                wrong.unlink(missing_ok=True)
    return VerifiedFile(file=file, state="bad", note=note)


def _expected(file: Path, blob: Path | None, place: _Place) -> Iterator[Digest]:
    """All that is known of the file's digest."""
    if blob is not None:
        yield Digest.of_etag(blob.name)
    if place.weights.digits and (place.repo is None or file.name in WEIGHT_FILES):
        yield place.weights
    if place.repo is None and _record(file).exists():
        yield Digest(_record(file).read_text(encoding="utf-8").split(" ")[0].strip())


def _record(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _place(name: str, revision: str | None) -> _Place:
    """What the name means. Raises WeightsError where it means nothing that can be had."""
    if name.startswith(TIMM):  # its models lie on the hub under their own names
        name = f"timm/{name.removeprefix(TIMM)}"
    row = find_weights(name)
    if row is not None:
        return _Place(
            name=row.name,
            row=row,
            repo=row.repo,
            revision=revision or row.revision,
            weights=Digest(row.sha256 or "") if revision in (None, row.revision) else SHA256,
        )
    match = HUB_ID.fullmatch(name)
    if match is None or Path(match["repo"]).suffix in FILE_SUFFIXES:
        near = difflib.get_close_matches(name, WEIGHTS, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"known names: {', '.join(WEIGHTS)}"
        raise WeightsError(f"no model '{name}': no such file, folder or known name; {hint}")
    repo, revision = match["repo"], revision or match["revision"]
    if ".." in f"{repo}{revision}" or "--" in repo:
        raise WeightsError(f"'{name}' is no hub id: '..' and '--' cannot be in one")
    return _Place(name=name, row=find_weights(repo), repo=repo, revision=revision)


def _cached(place: _Place, cache_dir: Path | None, *, surely: bool = True) -> Path | None:
    if place.row is not None and (own := own_folder(place.name, cache_dir) / CONFIG).exists():
        return own.parent
    if place.repo is not None:
        return cached_snapshot(place.repo, place.revision, cache_dir, surely=surely)
    if place.row is None or place.row.url is None:
        bundled = place.row is not None and place.row.bundled
        return ASSETS / place.name if bundled else None
    target = _target(place.name, place.row.url, cache_dir)
    return target if target.exists() else None


def _target(name: str, url: str, cache_dir: Path | None) -> Path:
    """Where the file of a plain URL lies, or will."""
    return own_folder(name, cache_dir).with_name(Path(unquote(urlsplit(url).path)).name)


def own_folder(name: str, cache_dir: Path | None) -> Path:
    """Where weights of that name lie once they were converted from a user's file."""
    return (cache_dir or default_cache()).expanduser() / "weights" / name / "converted"


def default_cache() -> Path:
    """Our own cache, for what is not from the hub: TSF_CACHE, or the platform's place for it."""
    if given := os.environ.get("TSF_CACHE"):
        return Path(given)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base) / "timesformer_cli"


def _offline(place: _Place) -> WeightsError:
    if place.repo is not None:
        command = hf_download(place.repo, place.revision)
        how = f"run `{command}` and copy its cache folder (HF_HOME) here"
    elif place.row is not None and place.row.url is not None:
        how = f"fetch {place.row.url} and give its path here"
    else:
        return _only_a_file(place)
    return WeightsError(
        f"'{place.name}' is not in the cache and tsf is offline; where there is a network, {how}, "
        f"or use the model that comes with tsf: --model {BUNDLED}"
    )


def _only_a_file(place: _Place) -> WeightsError:
    return WeightsError(
        f"'{place.name}': its authors publish only a file, on no server that tsf can ask; "
        f"download it by hand, then `tsf download-weights {place.name} --from-file PATH`"
    )
