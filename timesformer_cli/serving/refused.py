"""What a server says no to, and how."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from timesformer_cli.errors import ErrorKind
from timesformer_cli.inference.classified import Fault

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Refused(Exception):
    """A request that gets no answer."""

    def __init__(
        self, status: int, kind: ErrorKind, message: str, headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.headers = status, kind, headers

    @property
    def result(self) -> "RefusedRequest":
        """What the client is told."""
        return RefusedRequest("error", Fault(self.kind, str(self)))


@dataclass(frozen=True, slots=True)
class RefusedRequest:
    """A request that could not be answered; as a video that could not be read, without a video."""

    status: Literal["error"]
    error: Fault
