"""Ask the hub for the files of a repository, check its answers, explain its errors."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.catalogue import BUNDLED
from timesformer_cli.weights.description import CONFIG, PROCESSOR_FILES, TOKENIZER, WEIGHT_FILES
from timesformer_cli.weights.hub import download
from timesformer_cli.weights.hub.https import require_secure
from timesformer_cli.weights.hub.intact import ETAG
from timesformer_cli.weights.hub.stall import TransferState
from timesformer_cli.weights.weight_files import ANY_WEIGHTS

if TYPE_CHECKING:
    from huggingface_hub.file_download import HfFileMetadata

COMMIT = re.compile(r"[0-9a-f]{40}")
# Errors of the client's transport (httpx) after which another try would not help. By name, because
# its versions share the names.
UNREACHABLE = ("ConnectError", "ConnectTimeout", "ProxyError", "UnsupportedProtocol")


@dataclass(frozen=True, kw_only=True, slots=True)
class HubFile:
    """One file as the hub describes it."""

    name: str
    commit: str
    etag: str  # its digest, which is also its name in the cache
    size: int | None  # bytes


def list_files(repo: str, revision: str, watch: TransferState) -> Sequence[HubFile]:
    """List the files that make a model, the weights last.

    All are of the commit of the first one, even if the branch moves meanwhile. Raises WeightsError
    in one line, with advice.
    """
    from huggingface_hub import constants

    require_secure(constants.ENDPOINT)
    with _explained(repo, revision):
        return _list(repo, revision, watch)


def _list(repo: str, revision: str, watch: TransferState) -> Sequence[HubFile]:
    from huggingface_hub.errors import RemoteEntryNotFoundError

    files = [_ask(repo, CONFIG, revision, watch)]
    commit = files[0].commit
    for name in (*PROCESSOR_FILES, TOKENIZER):
        with suppress(RemoteEntryNotFoundError):
            files.append(_ask(repo, name, commit, watch))
    for name in ANY_WEIGHTS:
        with suppress(RemoteEntryNotFoundError):
            return [*files, _ask(repo, name, commit, watch)]
    raise WeightsError(f"'{repo}' on the hub has no {' or '.join(WEIGHT_FILES)}")


def list_shards(
    repo: str, index: HubFile, shards: Sequence[Path], watch: TransferState
) -> Sequence[HubFile]:
    """List the weight files that an index names, of its commit; raises WeightsError."""
    from huggingface_hub.errors import RemoteEntryNotFoundError

    files = []
    with _explained(repo, index.commit):
        for shard in shards:
            try:
                files.append(_ask(repo, shard.name, index.commit, watch))
            except RemoteEntryNotFoundError as error:
                raise WeightsError(
                    f"'{repo}' on the hub has no {shard.name}, which its {index.name} names"
                ) from error
    return files


def _ask(repo: str, name: str, revision: str, watch: TransferState) -> HubFile:
    """Ask the hub about one file.

    Commit and ETag become paths in the cache, so they are refused unless they are hashes: an ETag
    such as `../../` made the hub's own client write outside its cache.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repo, name, revision=revision)
    metadata: HfFileMetadata | None = None
    for pause in (*download.PAUSES, None):
        try:
            metadata = get_hf_file_metadata(url)
            break
        except Exception as error:
            if pause is None or not _passing(error):
                raise
            watch.pause(pause)
    assert metadata is not None
    watch.alive()
    commit, etag = metadata.commit_hash or "", metadata.etag or ""
    if not (COMMIT.fullmatch(commit) and ETAG.fullmatch(etag)):
        which = f"commit {commit!a}" if not COMMIT.fullmatch(commit) else f"ETag {etag!a}"
        raise WeightsError(
            f"'{repo}': the server names {name} by the {which}, which is no hash; nothing is "
            "written (HF_ENDPOINT says which server that is)"
        )
    if COMMIT.fullmatch(revision) and commit != revision:
        raise WeightsError(f"'{repo}': asked for {revision}, the server answers with {commit}")
    return HubFile(name=name, commit=commit, etag=etag, size=metadata.size)


def _passing(error: Exception) -> bool:
    """Whether a failure may be gone at the next try."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in download.BUSY
    kind = type(error)
    return kind.__module__.startswith("httpx") and kind.__name__ not in UNREACHABLE


@contextmanager
def _explained(repo: str, revision: str) -> Iterator[None]:
    """Turn each error of the hub's client into one line with advice."""
    from huggingface_hub import errors

    try:
        yield
    except WeightsError:
        raise
    except errors.GatedRepoError as error:
        raise WeightsError(
            f"'{repo}' is gated: accept its terms on the hub, then log in with `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise WeightsError(
            f"'{repo}' is not on the hub (or private: log in with `hf auth login`)"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise WeightsError(f"'{repo}' on the hub has no such revision as {revision!a}") from error
    except errors.RemoteEntryNotFoundError as error:
        raise WeightsError(f"'{repo}' on the hub has no {CONFIG}, so it is no model") from error
    except Exception as error:  # the client lets its transport library's own errors through
        http = isinstance(error, errors.HfHubHTTPError)
        status = error.response.status_code if http else None  # type: ignore[attr-defined]
        if status in (401, 403):
            raise WeightsError(
                f"the hub refuses '{repo}' ({status}): log in with `hf auth login`, or unset a "
                "token that has expired (HF_TOKEN)"
            ) from error
        reason = f"the hub answered {status}" if status else "the hub cannot be reached"
        reason += "; try again later" if status in download.BUSY else ""
        raise WeightsError(
            f"'{repo}' must be fetched and {reason}; on a machine with network run "
            f"`{hf_download(repo, revision)}` and copy its cache folder (HF_HOME) here, "
            f"or use the model that comes with tsf: --model {BUNDLED}"
        ) from error


def hf_download(repo: str, revision: str | None) -> str:
    """The command of the hub's client that downloads a repository into the cache."""
    pinned = f" --revision {revision}" if revision not in (None, "main") else ""
    return f"hf download {repo}{pinned}"
