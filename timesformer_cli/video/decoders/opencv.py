"""Read with OpenCV, the last resort: every frame in order, because its seeks repeat old frames."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from timesformer_cli.errors import VideoError
from timesformer_cli.video.decoders.base import (
    MISSING,
    DecoderMissing,
    Picker,
    Prepare,
    ReaderDeclined,
    Reading,
    Unordered,
    import_decoder,
)
from timesformer_cli.video.facts import UNTIMED, Probe, require_pixels_within_limit
from timesformer_cli.video.safe_file import VideoFile


def read_opencv(
    file: VideoFile, probe: Probe, wanted: Sequence[float], prepare: Prepare
) -> Reading:
    """Read with OpenCV, in order from the first frame; declines files that it reads wrongly."""
    if probe.video_streams > 1:
        raise ReaderDeclined("OpenCV may choose another of the video streams")
    if probe.interlaced:
        # It reports success for them, so nothing later would notice.
        raise ReaderDeclined("OpenCV returns dark pictures for interlaced video")
    with suppress(Unordered):
        return _read_opencv(file, probe, wanted, prepare)
    return _read_opencv(file, probe, wanted, prepare, counted=True)


def _read_opencv(
    file: VideoFile,
    probe: Probe,
    wanted: Sequence[float],
    prepare: Prepare,
    *,
    counted: bool = False,
) -> Reading:
    capture, cv2 = open_capture(file)
    picker = Picker(wanted, 1 / probe.fps)
    start: float | None = None
    try:
        while capture.grab():
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            start = seconds if start is None else start
            whole, bgr = capture.retrieve()
            if not whole:
                picker.reading.damaged.append("no picture")
                continue
            require_pixels_within_limit(bgr.shape[1], bgr.shape[0])
            time = None if counted else seconds - start
            if time is not None and picker.last is not None and time <= picker.last[0]:
                raise Unordered  # OpenCV says 0 where it does not know
            if not picker.offer(time, partial(prepare, bgr[:, :, ::-1])):
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
        raise VideoError("decoder_missing", f"needs a decoder: {MISSING['av']}; {reason}") from None
    except ReaderDeclined as reason:
        raise VideoError("cannot_decode", f"is not a video that can be read: {reason}") from None
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
        frames=frames,
        codec=code.decode("ascii", "replace").strip("\0 "),
        container="unknown",
        rotation=turns * 90,
        pixel_aspect=aspect,
    )
