"""One connection to a live source: opened, read and decoded by a thread of the child process."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from timesformer_cli.config import Preprocessing
from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.video.decoders.base import first_line
from timesformer_cli.video.decoders.container import best_stream
from timesformer_cli.video.decoders.pyav import small_picture, whole_picture
from timesformer_cli.video.facts import Orientation, Pixels, require_pixels_within_limit
from timesformer_cli.video.live.backlog import Backlog, HeldFrame, HeldFrames
from timesformer_cli.video.live.bytes import GrowingBytes, PipeBytes
from timesformer_cli.video.live.clock import LiveClock, Moment
from timesformer_cli.video.live.source import LiveSource
from timesformer_cli.video.probe import orientation_of
from timesformer_cli.video.sample import span
from timesformer_cli.video.transform import prepare_frame
from timesformer_cli.video.windows import WindowPicker, WindowPlan

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

THREADS = 2  # of the decoder: each more is a frame of delay
LOOK = "3000000"  # microseconds of a stream that are looked at before it is read
FAULTS = 100  # packets in a row that cannot be told apart, then the stream is given up
USUAL = 25.0  # frames a second, where a stream does not say
RATES = 0.2, 240.0  # what else a stream says is no rate of frames
PATIENCE = 2.0  # times the time limit, without a sign of the decoder, and it hangs
GRACE = 5.0  # seconds on top
# The end of a lost stream gives no window that is shorter than this share of a whole one.
WORTH_A_WINDOW = 0.5
OPTIONS = {
    "udp": {"overrun_nonfatal": "1", "fifo_size": "50000"},
    "rtsp": {"rtsp_flags": "prefer_tcp"},  # over UDP, pictures arrive with holes
}


class Connection:
    """Opens a source, then makes windows of it once it has a plan; `run` is the thread's.

    All that the other thread may ask for is an attribute, and changes at once.
    """

    def __init__(self, source: LiveSource, descriptor: int) -> None:
        self.source, self._descriptor = source, descriptor
        self.opened = threading.Event()  # or failed
        self.facts: dict[str, Any] = {}
        self.fault: VideoError | None = None
        self.ended = False  # by its own end, or by the fault
        self.frames = self.damaged = 0
        self.began: float | None = None  # when the first frame came, as `time.monotonic` says
        self.backlog: Backlog | None = None
        self._work: tuple[WindowPlan, Preprocessing] | None = None
        self._planned = threading.Event()
        self._sign, self._resting = time.monotonic(), False
        self._arrived = 0.0

    @property
    def hangs(self) -> bool:
        """Whether the decoder has made no progress for long, though there is something to read."""
        limit = PATIENCE * self.source.timeout + GRACE
        return not self._resting and time.monotonic() - self._sign > limit

    @property
    def work(self) -> tuple[WindowPlan, Preprocessing, Backlog]:
        """What windows are made, and where they go; only after `begin`."""
        assert self._work is not None and self.backlog is not None
        return *self._work, self.backlog

    def begin(
        self, plan: WindowPlan, preprocessing: Preprocessing, most: int, began: float | None
    ) -> None:
        """Make windows from now on; at most `most` wait. `began` is when an earlier connection did."""
        self.began = began
        self.backlog = Backlog(most, waits=self.source.waits)
        self._work = plan, preprocessing
        self._planned.set()

    def run(self) -> None:
        """Read to the end; never raises."""
        try:
            with self._open() as container:
                self._read(container)
        except VideoError as error:
            self.fault = error
        except MemoryError:
            self.fault = VideoError(
                ErrorKind.OUT_OF_MEMORY, "needs more memory than a decoder is given"
            )
        except Exception as error:
            self.fault = VideoError(ErrorKind.STREAM_FAILED, _reason(error, self.source))
        self.ended = True
        self.opened.set()
        if self.backlog is not None:
            self.backlog.close()

    def _rests(self, resting: bool) -> None:
        self._resting, self._sign = resting, time.monotonic()

    def _open(self) -> "InputContainer":
        import av

        source = self.source
        options = {
            "protocol_whitelist": source.protocols,
            "format_whitelist": source.containers,
            "analyzeduration": LOOK,
            **OPTIONS.get(source.target.partition("s:")[0].partition(":")[0], {}),
        }
        opening = partial(av.open, mode="r", metadata_errors="ignore", options=options)
        if source.kind == "pipe":
            return opening(PipeBytes(self._descriptor, self._rests))
        if source.kind == "file":
            return opening(GrowingBytes(source.target, source.idle, self._rests))
        if source.kind == "camera":
            opening = partial(opening, format=source.containers)
        return opening(source.target, timeout=(source.timeout, source.timeout))

    def _read(self, container: "InputContainer") -> None:
        stream = best_stream(container)
        context: Any = stream.codec_context
        if context is None:
            raise VideoError(
                ErrorKind.CANNOT_DECODE, "is compressed in a way that no decoder here knows"
            )
        require_pixels_within_limit(context.width, context.height)
        context.thread_count = THREADS
        rate = float(stream.average_rate or stream.guessed_rate or USUAL)
        rate = rate if RATES[0] <= rate <= RATES[1] else USUAL
        self.facts = {
            "width": context.width,
            "height": context.height,
            "fps": rate,
            "codec": context.name,
            "container": container.format.name,
        }
        self.opened.set()
        if self.source.waits:
            self._rests(True)
            self._planned.wait()
            self._rests(False)
        self._follow(container, stream, 1 / rate)
        if self.source.reconnects and not container.duration:
            raise VideoError(ErrorKind.ENDED, "the stream ended")

    def _follow(self, container: "InputContainer", stream: "VideoStream", interval: float) -> None:
        windows = _Windows(self, stream, interval)
        clock: LiveClock[_Arrived] = LiveClock(interval)
        base = float(stream.time_base or 0)
        try:
            for frame in self._decoded(container, stream):
                if not self._planned.is_set() or (not self.frames and frame.is_corrupt):
                    continue  # nobody looks yet, or it leans on pictures before our time
                self.frames += 1
                self.damaged += bool(frame.is_corrupt)
                self.began = self._arrived if self.began is None else self.began
                own = None if frame.pts is None else frame.pts * base
                arrived = _Arrived(frame, self._arrived)
                for moment in clock.take(arrived, own, self._arrived - self.began):
                    windows.take(moment)
        finally:  # of a lost stream too, what came counts
            for moment in clock.rest():
                windows.take(moment)
            windows.end_part()

    def _decoded(
        self, container: "InputContainer", stream: "VideoStream"
    ) -> Iterator["VideoFrame"]:
        """The frames of the stream, in order; packets that fail are counted and skipped."""
        import av

        seen = time.monotonic()
        for packet in self._packets(container):
            now = self._sign = time.monotonic()
            if packet.stream_index == stream.index:
                try:
                    frames = packet.decode()
                except av.error.EOFError:  # drained already
                    frames = []
                except av.error.FFmpegError:
                    self.damaged += 1
                    frames = []
                for frame in frames:
                    seen = self._arrived = now
                    self._sign = time.monotonic()
                    yield frame
            # Sound alone keeps a connection busy.
            if self.source.reconnects and now - seen > self.source.timeout:
                raise VideoError(ErrorKind.SILENT, f"no picture came for {self.source.timeout:g} s")

    def _packets(self, container: "InputContainer") -> Iterator["Packet[Any]"]:
        """All packets, to the end; raises FFmpegError where the stream is lost."""
        import av

        faults = 0
        while True:
            try:
                for packet in container.demux():
                    faults = 0
                    yield packet
                return
            except IndexError:  # PyAV met a stream that appeared only now
                continue
            except av.error.InvalidDataError:
                faults += 1
                if faults >= FAULTS:
                    raise


class _Arrived(NamedTuple):
    """A decoded frame, and when it came, as `time.monotonic` says."""

    frame: "VideoFrame"
    at: float


class _Windows:
    """Makes windows of frames whose moments are known; a jump ends a part."""

    def __init__(self, connection: Connection, stream: "VideoStream", interval: float) -> None:
        self.connection, self.stream, self.interval = connection, stream, interval
        self._held = HeldFrames()
        self._picker: WindowPicker | None = None
        self._orientation: Orientation | None = None

    def take(self, moment: Moment[_Arrived]) -> None:
        """Offer the next frame."""
        plan, preprocessing, backlog = self.connection.work
        frame, at = moment.frame
        if moment.jumped:
            self.end_part()
        if self._orientation is None:
            self._orientation = orientation_of(frame)
        if self._picker is None:
            self._picker = WindowPicker(plan, backlog, self.interval)
        prepare = partial(_prepared, frame, self.stream, preprocessing, self._orientation)
        self._picker.offer(
            moment.time, partial(self._hold, frame, prepare, at), partial(small_picture, frame)
        )

    def end_part(self) -> None:
        """Tell of the last windows before a jump, or before the end."""
        if self._picker is None:
            return
        plan, _, backlog = self.connection.work
        if self.connection.source.reconnects:  # it broke off; a pipe's end is an end
            backlog.shortest = WORTH_A_WINDOW * (span(plan.sampling) or 0.0)
        self._picker.finish()
        backlog.shortest = 0.0
        backlog.begin_part()
        self._picker = None

    def _hold(
        self, frame: "VideoFrame", prepare: Callable[[], Pixels], at: float
    ) -> dict[str, HeldFrame]:
        """What the picker keeps in the place of a prepared picture."""
        require_pixels_within_limit(frame.width, frame.height)
        kept = HeldFrame(prepare, sum(plane.buffer_size for plane in frame.planes), at)
        self._held.add(kept)
        return {"held": kept}


def _prepared(
    frame: "VideoFrame", stream: "VideoStream", preprocessing: Preprocessing, turned: Orientation
) -> Pixels:
    aspect = float(stream.codec_context.sample_aspect_ratio or 1) or 1.0
    (pixels,) = prepare_frame(
        whole_picture(frame), preprocessing, orientation=turned, pixel_aspect=aspect
    ).values()
    return pixels


def _reason(error: Exception, source: LiveSource) -> str:
    """Why a source cannot be read, in words that say what to do."""
    import av

    if isinstance(error, av.error.ExitError):
        return (
            f"nothing came for {source.timeout:g} s; start the sender, or allow more with --timeout"
        )
    if isinstance(error, av.error.ConnectionRefusedError):
        return "connection refused; is the sender on, and are host and port right?"
    # A container that is not on the list, such as a playlist, is an invalid argument.
    if isinstance(error, av.error.InvalidDataError | av.error.ArgumentError):
        if source.kind == "file":
            return (
                "is no video that can be read while it grows; record MPEG-TS, Matroska or "
                "fragmented mp4 (a plain mp4 is complete only at its end)"
            )
        return "is no video stream that can be read; send MPEG-TS, Matroska, FLV, MJPEG or the like"
    if isinstance(error, av.error.FFmpegError):
        return f"cannot be read: {error.strerror}"
    return f"cannot be read: {first_line(error)}"
