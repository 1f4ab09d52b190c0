"""From what a user calls a model to where it lies on disk."""

import difflib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from timesformer_cli.catalogue import BUNDLED, WEIGHTS, Weights, find
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.description import WEIGHT_FILES

ASSETS = Path(__file__).parent.parent / "assets"
CONFIG, OPTIONAL = "config.json", "preprocessor_config.json"
REACH_SECONDS = 10.0
HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


def resolve(name: str) -> tuple[Path, Weights | None]:
    """Folder or file of a catalogue name, a path, or a hub id (`org/name`, `org/name@revision`).

    Fetches from the hub into its own cache where needed. Raises WeightsError with what to do.
    """
    row = find(name)
    if row is not None and row.bundled:
        return ASSETS / name, row
    path = Path(name).expanduser()
    if path.exists():
        return path, find(path.stem)
    if row is not None and row.repo is not None:
        return _fetch(row.repo, row.revision), row
    if (match := HUB_ID.fullmatch(name)) and not path.suffix:
        return _fetch(match["repo"], match["revision"]), find(match["repo"])
    near = difflib.get_close_matches(name, WEIGHTS, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else f"known names: {', '.join(WEIGHTS)}"
    raise WeightsError(f"no model '{name}': no such file, folder or known name; {hint}")


def _fetch(repo: str, revision: str | None) -> Path:
    """The cached snapshot folder of a hub repository, downloaded where the cache lacks it."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    if (cached := _cached(repo, revision)) is not None:
        return cached
    with _explained(repo):
        _check_reachable()
        folder = Path(hf_hub_download(repo, CONFIG, revision=revision)).parent
        commit = folder.name  # so that all files are of one commit, whatever happens meanwhile
        with suppress(RemoteEntryNotFoundError):
            hf_hub_download(repo, OPTIONAL, revision=commit)
        for name in WEIGHT_FILES:
            with suppress(RemoteEntryNotFoundError):
                hf_hub_download(repo, name, revision=commit)
                return folder
    raise WeightsError(f"'{repo}' on the hub has no {' or '.join(WEIGHT_FILES)}")


def _cached(repo: str, revision: str | None) -> Path | None:
    """The snapshot folder, where the cache holds all that is needed."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repo, CONFIG, revision=revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if any((folder / name).exists() for name in WEIGHT_FILES) else None


def _check_reachable() -> None:
    """Fail at once where there is no network: the client itself would retry for half a minute."""
    import logging

    from huggingface_hub import constants, get_session

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if not constants.HF_HUB_OFFLINE:
        get_session().head(constants.ENDPOINT, timeout=REACH_SECONDS)


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """The hub client's errors in one line each, with what to do next."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise WeightsError(
            f"'{repo}' is gated: accept its terms on the hub, then log in with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise WeightsError(
            f"'{repo}' is not on the hub (or private: log in with `hf auth login`)"
        ) from error
    except (RevisionNotFoundError, RemoteEntryNotFoundError) as error:
        raise WeightsError(f"'{repo}' on the hub has no such revision or no {CONFIG}") from error
    except Exception as error:  # the client lets its transport library's own errors through
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        reason = f"the hub answered {status}" if status else "the hub cannot be reached"
        raise WeightsError(
            f"'{repo}' is not in the cache and {reason}; on a machine with network run "
            f"`hf download {repo}` and copy its cache folder (HF_HOME) here, "
            f"or use the model that comes with tsf: --model {BUNDLED}"
        ) from error
