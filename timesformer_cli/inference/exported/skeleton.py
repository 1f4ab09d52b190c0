"""An ONNX file without the bytes of its tensors, so that a large one is checked in little memory.

A protobuf message is a row of fields: a number and a kind, in one varint, and then the content. The
fields on the way to the tensors' bytes are walked, and all others copied as they are.
"""

from collections.abc import Iterator
from mmap import mmap

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9  # fields of ModelProto, GraphProto and TensorProto
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5  # kinds of fields
LONGEST_VARINT = 10  # bytes

Content = bytes | mmap


def without_tensor_bytes(content: Content) -> bytes:
    """The same ONNX model, none of whose initializers has raw data; raises ValueError for no message."""
    return _copied(content, 0, len(content), (GRAPH, INITIALIZER))


def _copied(content: Content, start: int, end: int, path: tuple[int, ...]) -> bytes:
    """The fields between two places; those of the path's first number are walked further."""
    kept = bytearray()
    for number, kind, begin, body, stop in _fields(content, start, end):
        if not path and number == RAW_DATA:
            continue
        if path and number == path[0] and kind == LENGTH:
            inner = _copied(content, body, stop, path[1:])
            kept += varint_of(number << 3 | LENGTH) + varint_of(len(inner)) + inner
        else:
            kept += content[begin:stop]
    return bytes(kept)


def _fields(content: Content, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Number and kind of each field, where it begins, where its content begins, and where it ends."""
    at = start
    while at < end:
        key, body = _varint(content, at, end)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            stop = _varint(content, body, end)[1]
        elif kind == LENGTH:
            length, body = _varint(content, body, end)
            stop = body + length
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            stop = body + (8 if kind == EIGHT_BYTES else 4)
        else:
            raise ValueError(f"a field of kind {kind}")
        if stop > end or not number:
            raise ValueError("a field beyond the end")
        yield number, kind, at, body, stop
        at = stop


def _varint(content: Content, at: int, end: int) -> tuple[int, int]:
    """A number, seven bits a byte, and where it ends."""
    value = 0
    for place in range(at, min(end, at + LONGEST_VARINT)):
        byte = content[place]
        value |= (byte & 0x7F) << 7 * (place - at)
        if not byte & 0x80:
            return value, place + 1
    raise ValueError("a number without an end")


def varint_of(value: int) -> bytes:
    """A number as protobuf writes it."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
