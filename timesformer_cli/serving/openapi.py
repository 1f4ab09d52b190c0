"""The contract as OpenAPI 3.1."""

from collections.abc import Sequence
from typing import Any

from timesformer_cli.serving.options import RequestReader


def contract(reader: RequestReader, verbs: Sequence[str]) -> dict[str, Any]:
    """What each address takes and answers."""
    return {"openapi": "3.1.0"}
