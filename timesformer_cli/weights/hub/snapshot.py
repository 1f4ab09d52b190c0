"""Find and fill a repository's files in the cache of huggingface_hub.

The client tells where the cache is, who the user is and what the server says about a file. The
bytes come through our own downloader, for four faults seen in the client: it writes where a hostile
server's ETag says, it keeps bytes that it has not hashed, it starts again after a kill, and a
silent server can hold it for minutes.
"""

import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from timesformer_cli.errors import WeightsError
from timesformer_cli.files import put_in_place, replacing
from timesformer_cli.weights.description import CONFIG, LARGEST_JSON, PROCESSOR_FILES
from timesformer_cli.weights.digest import Digest
from timesformer_cli.weights.hub import download
from timesformer_cli.weights.hub.intact import damage, snapshot_damage
from timesformer_cli.weights.hub.remote_files import HubFile, list_files, list_shards
from timesformer_cli.weights.hub.stall import TransferState
from timesformer_cli.weights.weight_files import weight_files


def cached_snapshot(
    repo: str,
    revision: str | None,
    cache_dir: Path | None,
    *,
    surely: bool = True,
    whole: bool = True,
) -> Path | None:
    """Return the snapshot folder if the cache has all that a model needs.

    Other tools may have downloaded a model without its preprocessor file. With `surely` there must
    be one, or the repository must be known to have none. With `whole` no file may be known
    to be of a wrong size.
    """
    from huggingface_hub import try_to_load_from_cache

    def look(name: str) -> object:
        cache = None if cache_dir is None else cache_dir.expanduser()
        return try_to_load_from_cache(repo, name, cache_dir=cache, revision=revision)

    config = look(CONFIG)
    if not isinstance(config, str):
        return None
    described = [look(name) for name in PROCESSOR_FILES]
    if surely and None in described and not any(isinstance(file, str) for file in described):
        return None
    folder = Path(config).parent
    weights = weight_files(folder)
    if not weights or not all(file.exists() for file in weights):
        return None
    return None if whole and snapshot_damage(folder) else folder


def fetch_snapshot(
    repo: str, revision: str | None, cache_dir: Path | None, weights: Digest, watch: TransferState
) -> Path:
    """Download the files that the snapshot folder lacks; returns the folder.

    `weights` is the digest that the hub must name for the weights. Raises WeightsError.
    """
    from huggingface_hub import constants

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    cache = Path(cache_dir or constants.HF_HUB_CACHE).expanduser().absolute()
    storage = cache / f"models--{repo.replace('/', '--')}"
    revision = revision or "main"
    files = list_files(repo, revision, watch)
    if not weights.matches(files[-1].etag):
        raise WeightsError(
            f"'{repo}': the hub's {files[-1].name} is not the one that tsf knows (its hash is "
            f"{files[-1].etag[:16]}…, not {weights.digits[:16]}…); to use it all the same, "
            "give the revision yourself with --revision"
        )
    folder = storage / "snapshots" / files[0].commit
    _fill(repo, folder, files, cache, watch)
    if shards := weight_files(folder)[1:]:  # the index came; it says what else there is
        _fill(repo, folder, list_shards(repo, files[-1], shards, watch), cache, watch)
    blobs = storage / "blobs"
    with download.on_disk(storage):
        _forget_stale(blobs, watch.stall)
        # The client's own way to remember that a repository has no such file.
        for name in set(PROCESSOR_FILES) - {file.name for file in files}:
            _write(storage / ".no_exist" / folder.name / name, "")
        # Last, so that a branch never points to a snapshot that is not complete.
        if revision != folder.name:
            _write(storage / "refs" / revision, folder.name)
    return folder


def _fill(
    repo: str, folder: Path, files: Sequence[HubFile], cache: Path, watch: TransferState
) -> None:
    """Download those of the files that the snapshot folder lacks."""
    storage = folder.parent.parent
    blobs, locks = storage / "blobs", cache / ".locks" / storage.name
    missing = [file for file in files if not _is_whole(folder / file.name, file)]
    wanted = sum(
        max(0, (file.size or 0) - download.size_of(_part(blobs / file.etag)))
        for file in missing
        if not _is_whole(blobs / file.etag, file)
    )
    download.require_room(storage, wanted, repo)
    for file in missing:
        blob = blobs / file.etag
        download.download_file(
            _source(repo, file),
            blob,
            part=_part(blob),
            lock=locks / f"{file.etag}.lock",  # the client's too, so both wait for each other
            watch=watch,
            is_whole=partial(_is_whole, file=file),
        )
        with download.on_disk(folder):
            _point(folder / file.name, blob)


def _is_whole(path: Path, file: HubFile) -> bool:
    """Whether the file is there, as far as its size tells."""
    digest = Digest.of_etag(file.etag)
    return path.exists() and not damage(path, name=file.name, digest=digest, size=file.size)


def _source(repo: str, file: HubFile) -> download.Source:
    from huggingface_hub import constants, get_token, hf_hub_url

    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    return download.Source(
        name=file.name,
        url=hf_hub_url(repo, file.name, revision=file.commit),
        digest=Digest.of_etag(file.etag),
        size=file.size,
        largest=LARGEST_JSON if file.name.endswith(".json") else download.LARGEST,
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )


def _part(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.incomplete")


def _point(pointer: Path, blob: Path) -> None:
    """Make the snapshot's file a link to the blob; where links are impossible, move the blob."""
    pointer.parent.mkdir(parents=True, exist_ok=True)
    link = pointer.with_name(f".{pointer.name}.{os.getpid()}")
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:  # Windows allows symbolic links only with a privilege
        try:
            link.hardlink_to(blob)
        except OSError:
            link = blob
    put_in_place(link, pointer)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def _forget_stale(blobs: Path, age: float) -> None:
    """Remove partial files that nothing was written to for `age` seconds: other tools left them."""
    for part in blobs.glob("*.incomplete"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > age:
                part.unlink()
