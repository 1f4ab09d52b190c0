"""A file appears whole or not at all: the only place where one is put under its name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from timesformer_cli.errors import TsfError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A hidden file beside `path` to write to, which takes its name when the block ends well.

    When it ends in an exception nothing changes and the hidden file goes. Raises OSError.
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
    """Put the content where the file is, in one step that survives a power cut.

    Raises TsfError where it cannot; the file that was there before is whole then.
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
    """A folder on the target's disk that is gone, with what is in it, when the block ends.

    For several files that belong together: write them there, then `put_in_place` each. Raises
    OSError.
    """
    folder = Path(mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)


def put_in_place(part: Path, path: Path) -> Path:
    """Give a finished file its name, in the place of what has it now; raises OSError."""
    return part.replace(path)
