"""Write files that appear whole or not at all; nothing else gives a file its final name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from timesformer_cli.errors import TsfError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A hidden file beside `path` to write to; it takes that name when the block ends well.

    After an exception nothing is changed and the hidden file is removed. Raises OSError.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.touch()
        mode = part.stat().st_mode  # what the user's umask gives; safetensors would give 0600
        yield part
        part.chmod(mode)
        with part.open("rb") as written:
            os.fsync(written.fileno())  # or a power cut could leave a whole name and half a file
        put_in_place(part, path)
    finally:
        part.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes | memoryview) -> None:
    """Replace a file's content in one step that survives a power cut.

    Raises TsfError where it cannot be written; the earlier file is then still whole.
    """
    try:
        with replacing(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise TsfError(
            f"{path}: cannot be written ({error.strerror}); what was there before is whole"
        ) from error


@contextmanager
def hidden_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target that is removed, with all that is in it, when the block ends.

    For several files that belong together: write them there, then `put_in_place` each. A rename is
    one step only on the target's own disk. Raises OSError.
    """
    folder = Path(mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)


def put_in_place(part: Path, path: Path) -> Path:
    """Give a finished file its name and replace what has it now; raises OSError."""
    return part.replace(path)
