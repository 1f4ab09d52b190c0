"""Read with OpenCV, the last resort: every frame in order, because its seeks repeat old frames."""

from contextlib import suppress
from functools import partial
from typing import Any

from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.video.cuts import shrink
from timesformer_cli.video.decoders.base import (
    MISSING,
    DecoderMissing,
    ReaderDeclined,
    Reading,
    ReadJob,
    Unordered,
    import_decoder,
    require_picture,
)
from timesformer_cli.video.decoders.container import changes_size
from timesformer_cli.video.facts import UNTIMED, Probe, require_pixels_within_limit
from timesformer_cli.video.safe_file import VideoFile
from timesformer_cli.video.timing import Clock


def read_opencv(job: ReadJob) -> Reading:
    """Read with OpenCV, in order from the first frame; declines files that it reads wrongly."""
    if job.probe.video_streams > 1:
        raise ReaderDeclined("OpenCV may choose another of the video streams")
    if job.probe.interlaced:
        # It reports success for them, so nothing later would notice.
        raise ReaderDeclined("OpenCV returns dark pictures for interlaced video")
    if job.probe.ignore_edits:
        raise ReaderDeclined("OpenCV obeys the edit list, which hides most pictures")
    if changes_size(job.file):
        raise ReaderDeclined("OpenCV gives all pictures the size of the first one")
    with suppress(Unordered):
        return _read_opencv(job)
    return _read_opencv(job, counted=True)


def _read_opencv(job: ReadJob, *, counted: bool = False) -> Reading:
    capture, cv2 = open_capture(job.file)
    probe, interval = job.probe, 1 / job.probe.fps
    picker = job.picker()
    clock = Clock(interval, probe.longest, restarts=probe.restarts > 0)
    width, height = probe.coded_width, probe.coded_height
    try:
        while capture.grab():
            whole, bgr = capture.retrieve()
            if not whole:
                picker.reading.damaged.append("no picture")
                continue
            require_pixels_within_limit(bgr.shape[1], bgr.shape[0])
            if width:  # it squeezes pictures of another size into that of the first
                require_picture(bgr, width, height)
            time = None if counted else clock(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            if time is not None and picker.last is not None and time <= picker.last[0]:
                raise Unordered  # OpenCV says 0 where it does not know
            picture = bgr[:, :, ::-1]
            prepared = partial(job.prepare, picture, pixel_aspect=probe.pixel_aspect)
            if not picker.offer(time, prepared, partial(shrink, picture)):
                return picker.reading
    finally:
        capture.release()
    return picker.finish()


def open_capture(file: VideoFile) -> tuple[Any, Any]:
    """An OpenCV capture that leaves the pictures as stored, and the cv2 module."""
    cv2 = import_decoder("cv2")
    cv2.setNumThreads(1)  # the pool decodes several files at a time
    capture = cv2.VideoCapture(file.source, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise ReaderDeclined("OpenCV cannot open it")
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # `prepare` turns pictures of every decoder
    return capture, cv2


def probe_opencv(file: VideoFile) -> Probe:
    """Describe a file without PyAV; OpenCV tells nothing of mirroring, HDR or other streams."""
    try:
        capture, cv2 = open_capture(file)
    except DecoderMissing as reason:
        raise VideoError(
            ErrorKind.DECODER_MISSING, f"needs a decoder: {MISSING['av']}; {reason}"
        ) from None
    except ReaderDeclined as reason:
        raise VideoError(
            ErrorKind.CANNOT_DECODE, f"is not a video that can be read: {reason}"
        ) from None
    try:
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        require_pixels_within_limit(width, height)
        fps = capture.get(cv2.CAP_PROP_FPS) or UNTIMED
        frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        aspect = capture.get(cv2.CAP_PROP_SAR_NUM) / (capture.get(cv2.CAP_PROP_SAR_DEN) or 1) or 1.0
        turns = -int(capture.get(cv2.CAP_PROP_ORIENTATION_META)) // 90 % 4  # it counts clockwise
        code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little")
        if frames <= 0:  # no claim: count
            frames = sum(1 for _ in iter(capture.grab, False))
    finally:
        capture.release()
    shown = max(1, round(width * aspect)), height
    if turns % 2:
        shown = shown[1], shown[0]
    return Probe(
        width=shown[0],
        height=shown[1],
        fps=fps,
        duration=max(frames, 1) / fps,
        claimed=max(frames, 1) / fps,
        frames=frames,
        codec=code.decode("ascii", "replace").strip("\0 "),
        container="unknown",
        rotation=turns * 90,
        pixel_aspect=aspect,
        coded_width=width,
        coded_height=height,
    )
