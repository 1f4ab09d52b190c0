"""An open video whose packets are known before it is decoded: which picture needs which of them.

There are two sources. The index of an mp4, mov or AVI file has the decoding time of every packet
and says which ones are keyframes; showing times are read off the packets around a wanted moment.
Of other containers all packets are read once, without decoding them.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from timesformer_cli.video.decoders.base import Unordered

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

Ticks = npt.NDArray[np.int64]  # of the stream's clock
NEVER = int(np.iinfo(np.int64).min)  # the time of a packet that has none, or that is not read yet
INDEXED = ("mov", "avi")  # containers whose index has every packet
SOUGHT = (*INDEXED, "matroska")  # by time; a transport stream is sought by the place in the file
BY_PLACE = ("mpegts",)
# Whose pictures may come in another order than their packets although AVI does not say so.
REORDERED = ("h264", "hevc")


class PacketRow(NamedTuple):
    """What is kept of a packet, in ticks; NEVER for a time that it does not have."""

    decoded: int
    shown: int
    duration: int
    place: int  # of its first byte in the file; -1 where that is not known
    key: bool
    hidden: bool  # by the edit list: decoded, but not shown


def row_of(packet: "Packet[VideoStream]") -> PacketRow:
    """What is kept of a packet."""
    decoded, shown, place = packet.dts, packet.pts, packet.pos
    return PacketRow(
        NEVER if decoded is None else decoded,
        NEVER if shown is None else shown,
        packet.duration or 0,
        -1 if place is None else place,
        packet.is_keyframe,
        packet.is_discard,
    )


class IndexedVideo:
    """A container, its stream, and the packets of the stream in the order of decoding.

    `first` is the time of the first picture, from which the moments of a video count.
    """

    def __init__(
        self,
        container: "InputContainer",
        stream: "VideoStream",
        first: int,
        *,
        keys: npt.NDArray[np.bool_],
        shown: Ticks,
        goals: Ticks,
        hidden: npt.NDArray[np.bool_] | None = None,
        decoded: Ticks | None = None,
    ) -> None:
        """`goals` is where to seek for a packet: a time, or a place in a transport stream.

        With `decoded`, showing times are read when they are needed; else all are in `shown`.
        """
        self.container, self.stream, self.first = container, stream, first
        self.shown, self._goals, self._decoded = shown, goals, decoded
        self._by_place = container.format.name in BY_PLACE
        self._keys = np.flatnonzero(keys)
        if decoded is None:
            seen = np.arange(len(shown)) if hidden is None else np.flatnonzero(~hidden)
            self._order = seen[np.argsort(shown[seen], kind="stable")]

    def close(self) -> None:
        """Close the container."""
        self.container.close()

    def at(self, tick: int) -> int:
        """The number of the packet whose picture is on screen then; raises Unordered."""
        if self._decoded is None:
            found = np.searchsorted(self.shown[self._order], tick, side="right") - 1
            if found < 0:
                raise Unordered
            return int(self._order[found])
        # No picture is shown before it is decoded, so no packet behind `last` is shown by then.
        last = int(np.searchsorted(self._decoded, tick, side="right")) - 1
        begin = last + 1
        for key in reversed(self._keys[: np.searchsorted(self._keys, last, side="right")]):
            self._learn(int(key), begin)
            begin = int(key)
            # All pictures before a keyframe in the order of decoding are shown before it, too.
            if self.shown[key] <= tick:
                times = self.shown[key : last + 1]
                return int(key + np.where(times <= tick, times, NEVER).argmax())
        raise Unordered

    def key_of(self, number: int) -> int:
        """The keyframe from which on a packet's picture can be decoded; raises Unordered.

        Pictures that are shown before a keyframe may need what lies before it.
        """
        for key in reversed(self._keys[: np.searchsorted(self._keys, number, side="right")]):
            if self._decoded is not None:
                self._learn(int(key), int(key) + 1)
            if self.shown[key] <= self.shown[number]:
                return int(key)
        raise Unordered

    def packets_from(self, key: int) -> Iterator["Packet[VideoStream]"]:
        """The packets from a keyframe on; the decoder is emptied. Raises Unordered."""
        known = self._decoded is None
        wanted = int(self.shown[key] if self._decoded is None else self._decoded[key])
        goal = int(self._goals[key])
        if self._by_place:
            self.container.seek(goal, unsupported_byte_offset=True)
        else:
            self.container.seek(goal, stream=self.stream)
        packets = self.container.demux(self.stream)
        for packet in packets:
            # A container may go back to an earlier keyframe than the one that was asked for.
            if wanted == (packet.pts if known else packet.dts):
                yield packet
                yield from packets
                return
            if packet.dts is not None and packet.dts > wanted:
                break
        raise Unordered

    def _learn(self, begin: int, end: int) -> None:
        """Read the showing times of packets from a keyframe on, as far as they are not known."""
        assert self._decoded is not None
        if (self.shown[begin:end] != NEVER).all():
            return
        number = begin
        for packet in self.packets_from(begin):
            decoded = int(self._decoded[number])
            if packet.pts is None or packet.dts != decoded or packet.pts < decoded:
                raise Unordered
            self.shown[number] = packet.pts
            number += 1
            if number == end:
                return
        raise Unordered

    def last_picture(self) -> tuple[int, int]:
        """When the last picture is shown and for how long, in ticks, read off the last packets."""
        assert self._decoded is not None
        latest = NEVER, 0
        number = int(self._keys[-1])
        for packet in self.packets_from(number):
            if packet.size and packet.pts is not None:
                latest = max(latest, (packet.pts, packet.duration or 0), key=lambda row: row[0])
                self.shown[number] = packet.pts
                number += 1
        if number != len(self.shown):
            raise Unordered
        return latest


def tells_order(stream: "VideoStream", keys: npt.NDArray[np.bool_]) -> bool:
    """Whether times are those of showing: AVI only has those of decoding.

    They are the same where no picture leans on a later one.
    """
    if stream.container.format.name != "avi" or keys.all():
        return True
    context = stream.codec_context
    return not context.has_b_frames and context.name not in REORDERED


def index_of_container(
    container: "InputContainer", stream: "VideoStream", first: int
) -> tuple[IndexedVideo, Ticks] | None:
    """The packets that the container's own index lists, and when they are decoded.

    None where the index may have gaps: then all packets have to be read.
    """
    entries = stream.index_entries
    count = len(entries)
    if count < 2 or count != stream.frames:
        return None
    listed = [(e.timestamp, e.is_keyframe, e.is_discard or not e.size) for e in entries]
    decoded = np.fromiter((entry[0] for entry in listed), np.int64, count)
    keys = np.fromiter((entry[1] for entry in listed), np.bool_, count)
    if any(entry[2] for entry in listed) or not keys[0] or (np.diff(decoded) <= 0).any():
        return None
    if not tells_order(stream, keys):
        return None
    shown = np.full(count, NEVER, np.int64)
    video = IndexedVideo(
        container, stream, first, keys=keys, shown=shown, goals=decoded, decoded=decoded
    )
    return video, decoded


def index_of_packets(
    container: "InputContainer", stream: "VideoStream", first: int, rows: Sequence[PacketRow]
) -> IndexedVideo | None:
    """The packets as they were read; None where a picture cannot be found by its time."""
    table = np.array(rows, np.int64).reshape(len(rows), len(PacketRow._fields))
    decoded, shown, _, places, keys, hidden = table.T
    seen = shown[hidden == 0]
    by_place = container.format.name in BY_PLACE
    if not (by_place or container.format.name.startswith(SOUGHT)) or not keys.any():
        return None
    if not tells_order(stream, keys != 0):
        return None
    if (shown == NEVER).any() or len(np.unique(seen)) < len(seen) or (by_place and min(places) < 0):
        return None
    goals = shown
    if by_place:
        goals = places
    elif container.format.name.startswith(INDEXED):  # their indexes have the times of decoding
        goals = np.where(decoded == NEVER, shown, decoded)
    return IndexedVideo(
        container,
        stream,
        first,
        keys=keys != 0,
        shown=shown,
        goals=goals,
        hidden=hidden != 0,
    )
