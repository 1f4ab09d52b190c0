"""Which weights a model has."""

from timesformer_cli.weights.digest import SHA256, update
from timesformer_cli.weights.hub.intact import SNAPSHOTS
from timesformer_cli.weights.hub.locate import Located
from timesformer_cli.weights.weight_files import require_weight_files


def revision_of(located: Located) -> str:
    """Say which weights these are: the commit on the hub, or else the SHA-256 of their file."""
    path = located.path
    if path.parent.name == SNAPSHOTS:
        return path.name
    hasher = SHA256.start(0)  # of a file, or of all files of a sharded model in their order
    for file in require_weight_files(path) if path.is_dir() else (path,):
        update(hasher, file)
    return f"sha256:{hasher.hexdigest()}"
