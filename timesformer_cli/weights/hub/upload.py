"""A model folder put on the hub."""

import re
from pathlib import Path

from timesformer_cli.errors import UsageError, WeightsError

# What a model is; a checkpoint to resume from is nobody else's concern.
REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
FILES = ["*.json", "*.jsonl", "*.png", "README.md", "model.safetensors"]


def require_upload_rights(repo: str) -> None:
    """Raise what would forbid the upload, before hours of training: a bad name, no login."""
    from huggingface_hub import HfApi

    if not REPO.fullmatch(repo):
        raise UsageError(f"'{repo}' is no name on the hub; give ORG/NAME")
    try:
        HfApi().whoami()
    except Exception as error:  # no token, one that is refused, no network
        raise WeightsError(f"the hub lets nobody in: hf auth login first ({error})") from error


def upload(folder: Path, repo: str) -> str:
    """Create the repository where there is none, and put the folder there; its address."""
    from huggingface_hub import HfApi

    try:
        address = HfApi().create_repo(repo, exist_ok=True)
        HfApi().upload_folder(folder_path=folder, repo_id=repo, allow_patterns=FILES)
    except Exception as error:
        raise WeightsError(f"{repo}: not uploaded ({error}); the model is in {folder}") from error
    return str(address)
