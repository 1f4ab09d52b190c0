"""What the hub tells of a repository's files: asked, explained, checked."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.catalogue import BUNDLED
from timesformer_cli.weights.description import WEIGHT_FILES
from timesformer_cli.weights.hub import download
from timesformer_cli.weights.hub.https import require_secure
from timesformer_cli.weights.hub.stall import TransferState

if TYPE_CHECKING:
    from huggingface_hub.file_download import HfFileMetadata

CONFIG, OPTIONAL = "config.json", "preprocessor_config.json"
COMMIT = re.compile(r"[0-9a-f]{40}")
ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# The client's transport has errors of its own, under names that its versions share.
UNREACHABLE = ("ConnectError", "ConnectTimeout", "ProxyError", "UnsupportedProtocol")


@dataclass(frozen=True, kw_only=True, slots=True)
class HubFile:
    """What the hub tells of a file; `etag` is its digest, and its name in the cache."""

    name: str
    commit: str
    etag: str
    size: int | None


def list_files(repo: str, revision: str, watch: TransferState) -> Sequence[HubFile]:
    """The files that make a model, weights last, of one commit whatever becomes of the branch.

    Raises WeightsError in one line, with what to do next.
    """
    from huggingface_hub import constants

    require_secure(constants.ENDPOINT)
    with _explained(repo, revision):
        return _list(repo, revision, watch)


def _list(repo: str, revision: str, watch: TransferState) -> Sequence[HubFile]:
    from huggingface_hub.errors import RemoteEntryNotFoundError

    files = [_ask(repo, CONFIG, revision, watch)]
    commit = files[0].commit
    with suppress(RemoteEntryNotFoundError):
        files.append(_ask(repo, OPTIONAL, commit, watch))
    for name in WEIGHT_FILES:
        with suppress(RemoteEntryNotFoundError):
            return [*files, _ask(repo, name, commit, watch)]
    raise WeightsError(f"'{repo}' on the hub has no {' or '.join(WEIGHT_FILES)}")


def _ask(repo: str, name: str, revision: str, watch: TransferState) -> HubFile:
    """What the hub says of a file. The cache's paths are made of it: refused unless it is hex."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repo, name, revision=revision)
    found: HfFileMetadata | None = None
    for pause in (*download.PAUSES, None):
        try:
            found = get_hf_file_metadata(url)
            break
        except Exception as error:
            if pause is None or not _passing(error):
                raise
            watch.pause(pause)
    assert found is not None
    watch.alive()
    commit, etag = found.commit_hash or "", found.etag or ""
    if not (COMMIT.fullmatch(commit) and ETAG.fullmatch(etag)):
        which = f"commit {commit!a}" if not COMMIT.fullmatch(commit) else f"ETag {etag!a}"
        raise WeightsError(
            f"'{repo}': the server names {name} by the {which}, which is no hash; nothing is "
            "written (HF_ENDPOINT says which server that is)"
        )
    if COMMIT.fullmatch(revision) and commit != revision:
        raise WeightsError(f"'{repo}': asked for {revision}, the server answers with {commit}")
    return HubFile(name=name, commit=commit, etag=etag, size=found.size)


def _passing(error: Exception) -> bool:
    """Whether a failure to answer may be over in a second."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in download.BUSY
    kind = type(error)
    return kind.__module__.startswith("httpx") and kind.__name__ not in UNREACHABLE


@contextmanager
def _explained(repo: str, revision: str) -> Iterator[None]:
    """The hub client's errors in one line each, with what to do next."""
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
            f"'{repo}' is not in the cache and {reason}; on a machine with network run "
            f"`{hf_download(repo, revision)}` and copy its cache folder (HF_HOME) here, "
            f"or use the model that comes with tsf: --model {BUNDLED}"
        ) from error


def hf_download(repo: str, revision: str | None) -> str:
    """The client's own command for filling the cache with a repository."""
    pinned = f" --revision {revision}" if revision not in (None, "main") else ""
    return f"hf download {repo}{pinned}"
