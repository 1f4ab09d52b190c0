"""What a server says no to, and how."""

from collections.abc import Mapping
from types import MappingProxyType

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Refused(Exception):
    """A request that gets no answer; `kind` is a stable snake_case word for programs."""

    def __init__(
        self, status: int, kind: str, message: str, headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.headers = status, kind, headers

    def to_dict(self) -> dict[str, object]:
        """As a video that could not be read is written, without a video."""
        return {"status": "error", "error": {"kind": self.kind, "message": str(self)}}
