"""Errors that a user can cause, as exceptions that carry their exit code."""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What `tsf` tells the shell when it ends."""

    OK = 0
    SOME_FAILED = 1  # some videos or rows failed, or an error that is none of the others
    USAGE = 2  # also what Typer ends with
    WEIGHTS = 3
    DEVICE = 4
    HUNG_UP = 129  # 128 and SIGHUP
    INTERRUPTED = 130  # 128 and SIGINT
    BROKEN_PIPE = 141  # 128 and SIGPIPE
    TERMINATED = 143  # 128 and SIGTERM


class TsfError(Exception):
    """An error that a user can cause; its message says what, where and what to do next."""

    exit_code: ClassVar[ExitCode] = ExitCode.SOME_FAILED


class UsageError(TsfError, ValueError):
    """Options or arguments that contradict one another or the model."""

    exit_code = ExitCode.USAGE


class WeightsError(TsfError):
    """A checkpoint that is missing, unsafe, or not what its configuration says."""

    exit_code = ExitCode.WEIGHTS


class DeviceError(TsfError):
    """A device that is not there or has no memory left."""

    exit_code = ExitCode.DEVICE


class VideoError(TsfError):
    """One video that could not be read; `kind` is a stable snake_case word for programs."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def from_name(name: str, message: str) -> TsfError:
    """Make again the error that another process met, from its class's name and its message."""
    kinds = {kind.__name__: kind for kind in (UsageError, WeightsError, DeviceError)}
    return kinds.get(name, TsfError)(message)
