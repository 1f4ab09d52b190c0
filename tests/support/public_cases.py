"""The small inputs beside the checkout that real people's reports led to."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "shared" / "public_cases"


def public_case(name: str) -> Path:
    """One of them; the test is skipped where they are not there."""
    if not FOLDER.is_dir():
        pytest.skip(f"no public cases at {FOLDER}")
    return FOLDER / name
