"""Read with PyAV by the index: from the keyframe that serves a picture to that picture, no further.

1. For each moment, find the packet whose picture is on screen then, and its keyframe.
2. Packets are fed in runs, each from a keyframe to the last packet that is wanted of it. A run goes
   on over the next keyframe only where nothing is saved by a seek.
3. In H.264, packets that no other picture refers to are passed over unless they are wanted.
4. A picture counts only where it carries the time of its packet. Whatever is missing, damaged or
   out of place raises Unordered: then the file is read in order, from its beginning.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from timesformer_cli.video.decoders.base import EPSILON, Reading, ReadJob, Unordered
from timesformer_cli.video.decoders.container import ONE_PICTURE_A_PACKET
from timesformer_cli.video.decoders.frame_index import IndexedVideo
from timesformer_cli.video.decoders.pyav import aspect_of, prepared_picture, read_in_order

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

# Packets before the next keyframe from which on a seek is made instead of decoding them. A seek took
# 0.01 to 0.12 ms and a picture of 640x480 to 720p 0.3 to 1.6 ms on a Xeon (November 2026).
WORTH_A_SEEK = 2
SLICES, PARTITIONS = (1, 5), (2, 3, 4)  # kinds of NAL units (ITU-T H.264, table 7-1)


def read_av(job: ReadJob) -> Reading:
    """Read with PyAV: by the index where there is one, else in order."""
    if job.indexed is not None and job.follow is None:
        import av

        with suppress(Unordered, av.error.FFmpegError):
            return read_by_index(job, job.indexed)
    return read_in_order(job)


def read_by_index(job: ReadJob, video: IndexedVideo) -> Reading:
    """The pictures on screen at the wanted moments; raises Unordered where one is not certain."""
    numbers = numbers_on_screen(job, video)
    reading = Reading([], numbers)
    pictures: dict[int, Any] = {}
    for key, wanted in _runs(video, sorted(set(numbers))):
        pictures |= _decode_run(job, video, key, wanted, reading)
    reading.pictures = [pictures[number] for number in numbers]
    return reading


def numbers_on_screen(job: ReadJob, video: IndexedVideo) -> list[int]:
    """The packets whose pictures are on screen at the wanted moments; raises Unordered."""
    if job.wanted[-1] >= job.probe.duration + 1 / job.probe.fps:  # as where frames are offered
        raise Unordered
    return [video.at(_last_tick(video, moment)) for moment in job.wanted]


def _last_tick(video: IndexedVideo, moment: float) -> int:
    """The last tick of the clock at which a picture may begin and be on screen at the moment.

    It is reckoned as for pictures that come in order: a tick is as long as what is forgiven where
    containers keep milliseconds.
    """
    assert video.stream.time_base is not None
    base = float(video.stream.time_base)

    def late(tick: int) -> bool:
        return moment < tick * base - video.first * base - EPSILON

    tick = video.first + int((moment + EPSILON) / base) + 1
    while late(tick):
        tick -= 1
    return tick


def _runs(video: IndexedVideo, numbers: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Keyframes, and the wanted packets that are decoded in one go from each."""
    begin, run = -1, list[int]()
    for number in numbers:
        key = video.key_of(number)
        if run and key - run[-1] > WORTH_A_SEEK:
            yield begin, run
            run = []
        if not run:
            begin = key
        # A picture shown before a later keyframe may need what lies before the run's own.
        begin = min(begin, key)
        run.append(number)
    yield begin, run


def _decode_run(
    job: ReadJob, video: IndexedVideo, key: int, wanted: list[int], reading: Reading
) -> Mapping[int, Any]:
    """The wanted pictures of one run, prepared."""
    import av

    stream = video.stream
    shown = {int(video.shown[number]): number for number in wanted}
    numbers = set(wanted)
    begins = int(video.shown[key])
    reference = _References(stream)
    first_aspect = aspect_of(stream)
    found: dict[int, Any] = {}
    expected = 0  # pictures that must come out
    latest = None

    def take(frames: list[Any]) -> None:
        nonlocal latest
        for frame in frames:
            job.beat()
            # Times that go back are no times of showing.
            if frame.pts is None or (latest is not None and frame.pts <= latest):
                raise Unordered
            latest = frame.pts
            if frame.pts < begins:  # it leans on what lies before the keyframe
                continue
            reading.decoded += 1
            if frame.is_corrupt:
                raise Unordered
            if (number := shown.get(frame.pts)) is not None:
                aspect = job.probe.pixel_aspect * aspect_of(stream) / first_aspect
                found[number] = prepared_picture(frame, aspect, job)

    before = reading.decoded
    try:
        for number, packet in enumerate(video.packets_from(key), start=key):
            if packet.pts is None or packet.is_corrupt:
                raise Unordered
            if packet.pts in shown and shown[packet.pts] != number:
                raise Unordered
            if number in numbers or reference(packet):
                expected += packet.pts >= begins and not packet.is_discard
                take(packet.decode())
            if number == wanted[-1]:
                break
        take(stream.codec_context.decode(None))
    except av.error.EOFError:
        pass
    except av.error.FFmpegError:
        raise Unordered from None
    # A decoder passes over some damage in silence.
    lost = stream.codec_context.name in ONE_PICTURE_A_PACKET and (
        reading.decoded - before != expected
    )
    if lost or len(found) != len(wanted):
        raise Unordered
    return found


class _References:
    """Whether other pictures may refer to that of a packet; yes wherever it is not certain.

    H.264 says so of each picture (`nal_ref_idc`, ITU-T H.264, 7.4.1). What HEVC says holds within
    one layer of time only.
    """

    def __init__(self, stream: "VideoStream") -> None:
        context = stream.codec_context
        self.known = context.name == "h264"
        extra = context.extradata or b""
        # The bytes of a unit's length, where units have one (ISO 14496-15); else start codes.
        self.length = (extra[4] & 3) + 1 if len(extra) > 4 and extra[0] == 1 else 0

    def __call__(self, packet: "Packet[VideoStream]") -> bool:
        if not self.known:
            return True
        slices = 0
        for head in self._heads(bytes(packet)):
            kind, referred = head & 31, head >> 5 & 3
            if kind in PARTITIONS or (kind in SLICES and referred):
                return True
            slices += kind in SLICES
        return not slices

    def _heads(self, content: bytes) -> Iterator[int]:
        """The first byte of each unit."""
        place = 0
        if not self.length:
            while (place := content.find(b"\0\0\1", place) + 3) >= 3 and place < len(content):
                yield content[place]
            return
        while place + self.length < len(content):
            length = int.from_bytes(content[place : place + self.length], "big")
            place += self.length
            yield content[place]
            place += length
