"""Errors that a user can cause, as exceptions that carry their exit code and their kind."""

from enum import Enum, IntEnum
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


class ErrorKind(str, Enum):
    """What went wrong, as a word for programs, with its meaning and what to do.

    A word keeps its meaning; new ones may come.
    """

    meaning: str
    advice: str

    def __new__(cls, word: str, meaning: str = "", advice: str = "") -> "ErrorKind":
        """A member that is its word."""
        kind = str.__new__(cls, word)
        kind._value_ = word
        kind.meaning, kind.advice = meaning, advice
        return kind

    __str__ = str.__str__  # so that text shows the word alone

    # Of names and files.
    NOT_FOUND = "not_found", "nothing is at that path, or several files fit it", "correct the path"
    NO_VIDEOS = "no_videos", "the folder holds no videos", "name another, or `--fps` for pictures"
    NOT_A_FILE = "not_a_file", "a folder, a pipe or a device", "save it to a file first"
    EMPTY_FILE = "empty_file", "the file has 0 bytes", "copy or record it again"
    BAD_NAME = "bad_name", "the file's name is not UTF-8", "rename the file"
    UNSAFE_NAME = "unsafe_name", "a name in a tar file leads out of it", "make the tar file again"
    PERMISSION_DENIED = "permission_denied", "the file may not be read", "change its permissions"
    CANNOT_OPEN = "cannot_open", "the system cannot open the file", "see the reason in the message"
    NOT_READABLE = "not_readable", "the file's bytes cannot be read", "check the disk"
    CANNOT_FETCH = "cannot_fetch", "the storage does not give the file", "try again; check access"
    BAD_SHARD = "bad_shard", "it is no plain tar file", "make the tar file again, uncompressed"
    TRUNCATED_SHARD = "truncated_shard", "the tar file is cut short", "copy it again"
    # Of what is in a file.
    CANNOT_DECODE = "cannot_decode", "no decoder reads the content", "convert it with FFmpeg"
    NO_VIDEO_STREAM = "no_video_stream", "sound, or a single picture", "give a video"
    NO_FRAMES = "no_frames", "no picture is in the file, or after `--from`", "record it again"
    OUTSIDE = "outside", "the part that was asked for lies behind the end", "correct its seconds"
    TRUNCATED = "truncated", "the file is cut off and its index missing", "copy it again"
    ENCRYPTED = "encrypted", "the content is encrypted", "decrypt it first"
    PLAYLIST = "playlist", "the file only names other files", "name those files"
    TOO_LARGE = "too_large", "the file or its pictures are over the limits", "make it smaller"
    OUT_OF_MEMORY = "out_of_memory", "a decoder needs over 6 GB", "convert it to smaller pictures"
    # Of decoders.
    TIMEOUT = "timeout", "no progress for the time allowed", "raise `--timeout`"
    DECODER_CRASHED = "decoder_crashed", "the file brings its decoders down", "convert the file"
    DECODER_FAILED = "decoder_failed", "the decoder fails in an unknown way", "see `--debug`"
    DECODER_MISSING = "decoder_missing", "the decoder is not installed", "install it: `tsf doctor`"
    PARTIAL = "partial", "the video ended in a fault; what came before counts", "see the message"
    # Of live streams.
    NO_CAMERA = "no_camera", "there is no such camera", "name one of those in the message"
    STREAM_FAILED = "stream_failed", "the stream cannot be opened, or was lost", "check its address"
    SILENT = "silent", "the stream sends no picture", "check its source"
    ENDED = "ended", "the stream ended, and was to go on", "start its source again"
    HANGS = "hangs", "the decoder of the stream makes no progress", "check its source"
    CUT_SHORT = "cut_short", "the file shrank while it was followed", "follow it from its start"
    # Of requests to `tsf serve`, beside those of the video and those below.
    UNAUTHORIZED = "unauthorized", "the token is missing or wrong", "send the server's token"
    FORBIDDEN = "forbidden", "it is not for whoever asks", "see the message"
    WRONG_HOST = "wrong_host", "the server goes by another name", "use its name; `--allow-host`"
    NO_SUCH_ADDRESS = "no_such_address", "nothing is at that address", "see `/openapi.json`"
    NOT_ALLOWED = "not_allowed", "the address takes another method", "see `/openapi.json`"
    BUSY = "busy", "all places of the server are taken", "wait as `Retry-After` says"
    DEADLINE = "deadline", "the answer took longer than allowed", "raise `--deadline`"
    DRAINING = "draining", "the server is about to end", "ask it again later, or another"
    STORAGE = "storage", "the server's disk is full", "make room where `TMPDIR` leads"
    # Of the whole call: raised as exceptions from Python, and an error of the command.
    USAGE = "usage", "options contradict one another or the model", "see the message"
    WEIGHTS = "weights", "the model is missing, unsafe or damaged", "see the message"
    DEVICE = "device", "the device is not there or out of memory", "name another `--device`"
    FAILED = "failed", "an error that is none of the others", "see the message"


class TsfError(Exception):
    """An error that a user can cause; its message says what, where and what to do next."""

    exit_code: ClassVar[ExitCode] = ExitCode.SOME_FAILED
    kind: ErrorKind = ErrorKind.FAILED


class UsageError(TsfError, ValueError):
    """Options or arguments that contradict one another or the model."""

    exit_code = ExitCode.USAGE
    kind = ErrorKind.USAGE


class WeightsError(TsfError):
    """A checkpoint that is missing, unsafe, or not what its configuration says."""

    exit_code = ExitCode.WEIGHTS
    kind = ErrorKind.WEIGHTS


class DeviceError(TsfError):
    """A device that is not there or has no memory left."""

    exit_code = ExitCode.DEVICE
    kind = ErrorKind.DEVICE


class VideoError(TsfError):
    """One video that could not be read, or a stream that was lost."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def from_name(name: str, message: str) -> TsfError:
    """Make again the error that another process met, from its class's name and its message."""
    kinds = {kind.__name__: kind for kind in (UsageError, WeightsError, DeviceError)}
    return kinds.get(name, TsfError)(message)
