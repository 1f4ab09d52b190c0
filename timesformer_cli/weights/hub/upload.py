"""Upload a model folder to the hub."""

import re
from pathlib import Path

from timesformer_cli.errors import UsageError, WeightsError

REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
# The files of a model. Checkpoints to resume training from stay here.
FILES = ["*.json", "*.jsonl", "*.png", "README.md", "model.safetensors"]


def require_upload_rights(repo: str) -> None:
    """Raise for a bad repository name or a missing login, before hours of training.

    Raises UsageError or WeightsError.
    """
    from huggingface_hub import HfApi

    if not REPO.fullmatch(repo):
        raise UsageError(f"'{repo}' is no name on the hub; give ORG/NAME")
    try:
        HfApi().whoami()
    except Exception as error:  # no token, one that is refused, no network
        raise WeightsError(f"the hub lets nobody in: hf auth login first ({error})") from error


def upload(folder: Path, repo: str) -> str:
    """Upload the folder, creating the repository if needed; returns the repository's address.

    Raises WeightsError.
    """
    from huggingface_hub import HfApi

    try:
        address = HfApi().create_repo(repo, exist_ok=True)
        HfApi().upload_folder(folder_path=folder, repo_id=repo, allow_patterns=FILES)
    except Exception as error:
        raise WeightsError(f"{repo}: not uploaded ({error}); the model is in {folder}") from error
    return str(address)
