"""Messages between a process and its children: a JSON header, then raw bytes. Never pickle."""

import json
import struct
from typing import IO, Any

LENGTHS = struct.Struct(">IQ")  # of the header and of the bytes that follow it
MAX_HEADER, MAX_BYTES = 1 << 24, 1 << 33


def send(stream: IO[bytes], header: dict[str, Any], payload: memoryview | bytes = b"") -> None:
    """Write one message."""
    text = json.dumps(header).encode("ascii")
    stream.write(LENGTHS.pack(len(text), len(payload)) + text)
    stream.write(payload)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytearray]:
    """Read one message; raises EOFError when the other end is gone or sends something else."""
    header, payload = LENGTHS.unpack(_read(stream, LENGTHS.size))
    if header > MAX_HEADER or payload > MAX_BYTES:
        raise EOFError("not a message")
    try:
        decoded = json.loads(_read(stream, header))
    except ValueError:
        raise EOFError("not a message") from None
    return decoded, _read(stream, payload)


def _read(stream: IO[bytes], length: int) -> bytearray:
    data = bytearray(length)
    view, position = memoryview(data), 0
    while position < length:
        count = stream.readinto(view[position:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError("the other end is gone")
        position += count
    return data
