"""Find the files of a model by its name: look them up, download them, verify them."""

import difflib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from timesformer_cli.callbacks import TransferCallback
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.catalogue import ASSETS, BUNDLED, WEIGHTS, Weights, find_weights
from timesformer_cli.weights.description import CONFIG, WEIGHT_FILES
from timesformer_cli.weights.digest import SHA256, Digest
from timesformer_cli.weights.hub.download import Source, download_file, on_disk
from timesformer_cli.weights.hub.hashed_files import default_cache, remember_hashed
from timesformer_cli.weights.hub.intact import SNAPSHOTS, blob_of, damage, snapshot_damage
from timesformer_cli.weights.hub.remote_files import hf_download
from timesformer_cli.weights.hub.snapshot import cached_snapshot, fetch_snapshot
from timesformer_cli.weights.hub.stall import STALL_SECONDS, TransferState, run_watched

TIMM = "timm:"
EXPORTED = (".onnx", ".pt2")
CONVERTED = "converted"  # folder in our own cache, for what came from a user's file

HUB_ID = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?", re.ASCII)
LONGEST_REPO = 96  # characters; the hub has no longer ones, and its client raises for them
# A name with one of these suffixes means a file. Not any suffix: a repository may end in `.5`.
FILE_SUFFIXES = frozenset(
    ".bin .ckpt .h5 .json .msgpack .npz .onnx .pkl .pt .pt2 .pth .pyth .safetensors .tar .zip".split()
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """What a model's name means.

    A command locates a name once and passes this on to all that need the model.
    """

    name: str  # as the user gave it
    path: Path  # a folder or a file
    row: Weights | None = None  # of the catalogue, where it has the model
    digests: tuple[str, ...] = ()  # the weights must hash to each of these
    remedy: str = "copy it anew, or fetch it again"  # where a file is not what was published
    bare: bool = False  # an encoder will do, too, as it is: no scores are wanted

    @property
    def exported(self) -> bool:
        """Whether it is a file as `tsf export` writes them."""
        return self.path.suffix in EXPORTED

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it may be read from, none of which an answer may replace."""
        if self.path.is_dir():
            return tuple(self.path.iterdir())
        return (self.path, self.path.with_name(f"{self.path.name}.data"))  # an .onnx's tensors

    @property
    def in_cache(self) -> bool:
        """Whether its folder lies in a cache, under a name that tells the user nothing."""
        return self.path.parent.name == SNAPSHOTS or self.path.name == CONVERTED

    def in_words(self, text: str) -> str:
        """A text on the model's files with the user's name for it where a cache's folder stood."""
        return text.replace(str(self.path), self.name) if self.in_cache else text

    @property
    def image_model(self) -> str | None:
        """timm's name of the model; None where it is no image model of timm."""
        return self.name.removeprefix(TIMM) if self.name.startswith(TIMM) else None

    def to_text(self) -> str:
        """Everything as text, to hand it to another process."""
        row = None if self.row is None else self.row.name
        return json.dumps([self.name, str(self.path), row, self.digests, self.remedy, self.bare])

    @classmethod
    def from_text(cls, text: str) -> "Located":
        """The inverse of `to_text`."""
        name, path, row, digests, remedy, bare = json.loads(text)
        return cls(
            name=name,
            path=Path(path),
            row=None if row is None else WEIGHTS[row],
            digests=tuple(digests),
            remedy=remedy,
            bare=bare,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedFile:
    """The result of hashing a cached file again."""

    file: Path
    state: Literal["ok", "bad", "unknown"]  # "unknown" when no hash is published
    note: str = ""  # the reason, and what to do


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where a model comes from: the hub if there is a `repo`, else what its `row` says."""

    name: str
    row: Weights | None
    repo: str | None = None
    revision: str | None = None
    weights: Digest = SHA256  # expected of the weights file


def locate(
    name: str,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
    progress: TransferCallback | None = None,
) -> Located:
    """Find the model of a name, and download it if it is not cached (unless `offline`).

    `name` is a name of the catalogue, a path, a hub id (`org/name` or `org/name@revision`) or an
    image model (`timm:name`). Raises WeightsError with advice.
    """
    row = find_weights(name)
    path = Path(os.path.expanduser(name))  # leaves a user who is not there as he is written
    # A file or folder of the user goes before the catalogue, but for the bundled model.
    if (row is None or not row.bundled) and os.path.exists(path):  # no OSError for a long name
        return Located(name=name, path=path, row=find_weights(path.stem))
    place = _place(name, revision)
    if (local := _cached(place, cache_dir, surely=not offline)) is None:
        if offline:
            raise _offline(place, cache_dir)
        local = fetch(name, revision=revision, cache_dir=cache_dir, progress=progress)
    converted = local == own_folder(place.name, cache_dir)
    known = [] if converted else [digest.digits for digest in _known(local, place)]
    return Located(
        name=name, path=local, row=place.row, digests=tuple(known), remedy=_remedy(name, place)
    )


def as_located(model: "str | Located") -> Located:
    """Locate a name; return what is located already as it is."""
    return locate(model) if isinstance(model, str) else model


def cached(
    name: str,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    whole: bool = True,
) -> Path | None:
    """The local path of a catalogue name or hub id; None where it is not complete on this machine.

    Unless it must be `whole`, files of a wrong size will do.
    """
    return _cached(_place(name, revision), cache_dir, whole=whole)


def fetch(
    name: str,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    progress: TransferCallback | None = None,
    stall: float = STALL_SECONDS,
) -> Path:
    """Return the folder or file of a catalogue name or hub id; download it if it is not cached.

    `progress` is called in the calling thread. Gives up after `stall` seconds without a byte.
    Raises WeightsError.
    """
    place = _place(name, revision)
    if (local := _cached(place, cache_dir)) is not None:
        return local
    if (repo := place.repo) is not None:
        from huggingface_hub import constants

        work = partial(fetch_snapshot, repo, place.revision, cache_dir, place.weights)
        try:
            if constants.HF_HUB_OFFLINE:
                raise _offline(place, cache_dir)
            return run_watched(work, place.name, progress, stall)
        except WeightsError as error:
            # Weights that other tools left without a preprocessor file will do where the hub fails.
            if (local := _cached(place, cache_dir, surely=False)) is not None:
                return local
            fault = _fault(place, cache_dir)
            if constants.HF_HUB_OFFLINE or not fault:
                raise
            raise _not_again(fault, error) from error
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

    def whole(file: Path) -> bool:
        return file.exists() and not _damage(file, place)

    def transfer(watch: TransferState) -> None:
        download_file(
            source, target, part=part, lock=lock, watch=watch, record=True, is_whole=whole
        )

    try:
        run_watched(transfer, place.name, progress, stall)
    except WeightsError as error:
        if fault := _fault(place, cache_dir):
            raise _not_again(fault, error) from error
        raise
    return target


def verify_files(
    name: str, *, revision: str | None = None, cache_dir: Path | None = None
) -> tuple[VerifiedFile, ...]:
    """Hash the cached files of a catalogue name or hub id; remove those with a wrong hash."""
    place = _place(name, revision)
    local = _cached(place, cache_dir, surely=False, whole=False)
    if local is None:
        return ()
    files = sorted(local.iterdir()) if local.is_dir() else [local]
    if local == own_folder(place.name, cache_dir):
        note = "converted from a file of yours"
        return tuple(VerifiedFile(file=file, state="unknown", note=note) for file in files)
    checked = tuple(_check(file, place) for file in files if file.is_file())
    if place.repo is not None and any(file.state == "bad" for file in checked):
        with on_disk(local):  # without a config the rest is not taken for a whole model
            (local / CONFIG).unlink(missing_ok=True)
    return checked


def _check(file: Path, place: _Place) -> VerifiedFile:
    blob = blob_of(file) if place.repo is not None else None
    expected = list(_expected(file, blob, place))
    if not expected:
        return VerifiedFile(file=file, state="unknown", note="nothing says what it should hash to")
    status, found = file.stat(), [digest.of_file(file) for digest in expected]
    if all(digest.matches(digits) for digest, digits in zip(expected, found, strict=True)):
        remember_hashed({file: (status, max(found, key=len))})
        return VerifiedFile(file=file, state="ok")
    if place.row is not None and place.row.bundled:
        note = "not what came with the package: install tsf again"
        return VerifiedFile(file=file, state="bad", note=note)
    note = f"not what was published; removed: run `tsf download-weights {place.name}` again"
    real, cache = file.resolve(), file.parents[3 if blob else 0].resolve()
    with on_disk(file):
        for wrong in (file, _record(file), blob or file, real):
            # A link may lead out of the cache, to a file that is the user's own.
            if wrong is not real or real.is_relative_to(cache):
                wrong.unlink(missing_ok=True)
    return VerifiedFile(file=file, state="bad", note=note)


def _expected(file: Path, blob: Path | None, place: _Place) -> Iterator[Digest]:
    """Yield every digest that the file must have."""
    if blob is not None:
        yield Digest.of_etag(blob.name)
    if file.name in WEIGHT_FILES or (place.row is not None and place.row.url is not None):
        yield from _known(file, place)


def _known(there: Path, place: _Place) -> Iterator[Digest]:
    """What the catalogue, and the record beside a file of a URL, say of the weights' digest."""
    if place.weights.digits:
        yield place.weights
    if place.repo is None and (recorded := _recorded(there)):
        yield Digest(recorded)


def _recorded(file: Path) -> str:
    """The digits in the record beside a file, as sha256sum writes them; empty without one."""
    try:
        digits = _record(file).read_bytes()[:64].decode("ascii", "replace")
    except OSError:
        return ""
    return digits if re.fullmatch(r"[0-9a-f]{64}", digits) else ""


def _record(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _remedy(name: str, place: _Place) -> str:
    """What to do where a file is not what was published."""
    if place.row is not None and place.row.bundled:
        return "it came with the package: install tsf again"
    return f"run `tsf download-weights --verify {name}`, which removes it, then fetch it again"


def _place(name: str, revision: str | None) -> _Place:
    """Decide what a name means; raises WeightsError where it means nothing."""
    if name.startswith(TIMM):  # timm's models are on the hub, under the names that timm gives them
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
    long = match is not None and len(match["repo"]) > LONGEST_REPO
    if match is None or long or Path(match["repo"]).suffix in FILE_SUFFIXES:
        near = difflib.get_close_matches(name, WEIGHTS, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"known names: {', '.join(WEIGHTS)}"
        raise WeightsError(f"no model '{name}': no such file, folder or known name; {hint}")
    repo, revision = match["repo"], revision or match["revision"]
    if ".." in f"{repo}{revision}" or "--" in repo:
        raise WeightsError(f"'{name}' is no hub id: '..' and '--' cannot be in one")
    return _Place(name=name, row=find_weights(repo), repo=repo, revision=revision)


def _cached(
    place: _Place, cache_dir: Path | None, *, surely: bool = True, whole: bool = True
) -> Path | None:
    if place.row is not None and (own := own_folder(place.name, cache_dir) / CONFIG).exists():
        return own.parent
    if place.repo is not None:
        return cached_snapshot(place.repo, place.revision, cache_dir, surely=surely, whole=whole)
    if place.row is None or place.row.url is None:
        bundled = place.row is not None and place.row.bundled
        return ASSETS / place.name if bundled else None
    target = _target(place.name, place.row.url, cache_dir)
    if not target.exists() or (whole and _damage(target, place)):
        return None
    return target


def _damage(target: Path, place: _Place) -> str:
    """Why the file of a plain URL is not whole, as far as its size tells."""
    return damage(target, digest=next(_known(target, place), None))


def _fault(place: _Place, cache_dir: Path | None) -> str:
    """Which file that the cache has is not whole, and why; empty where there is none."""
    there = _cached(place, cache_dir, surely=False, whole=False)
    if there is None:
        return ""
    if there.is_dir():
        return snapshot_damage(there)
    fault = _damage(there, place)
    return f"{there}: {fault}" if fault else ""


def _target(name: str, url: str, cache_dir: Path | None) -> Path:
    """The local path for the file of a plain URL."""
    return own_folder(name, cache_dir).with_name(Path(unquote(urlsplit(url).path)).name)


def own_folder(name: str, cache_dir: Path | None) -> Path:
    """The folder for weights of that name that were converted from a user's file."""
    return (cache_dir or default_cache()).expanduser() / "weights" / name / CONVERTED


def _not_again(fault: str, error: WeightsError) -> WeightsError:
    """Why there is no model: the fault of what the cache has, and why nothing better came."""
    return WeightsError(f"{fault}; it cannot be fetched again: {error}")


def _offline(place: _Place, cache_dir: Path | None) -> WeightsError:
    if place.repo is not None:
        command = hf_download(place.repo, place.revision)
        how = f"run `{command}` and copy its cache folder (HF_HOME) here"
    elif place.row is not None and place.row.url is not None:
        how = f"fetch {place.row.url} and give its path here"
    else:
        return _only_a_file(place)
    fault = _fault(place, cache_dir)
    missing = f"{fault};" if fault else f"'{place.name}' is not in the cache and"
    return WeightsError(
        f"{missing} tsf is offline; where there is a network, {how}, "
        f"or use the model that comes with tsf: --model {BUNDLED}"
    )


def _only_a_file(place: _Place) -> WeightsError:
    return WeightsError(
        f"'{place.name}': its authors publish only a file, on no server that tsf can ask; "
        f"download it by hand, then `tsf download-weights {place.name} --from-file PATH`"
    )
