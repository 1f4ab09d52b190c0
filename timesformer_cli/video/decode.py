"""One video to one array of clips: plan, read with the first decoder that can be trusted."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from timesformer_cli.errors import VideoError
from timesformer_cli.video.decoders.base import (
    DecoderMissing,
    NoFrames,
    Reader,
    ReaderDeclined,
    Reading,
)
from timesformer_cli.video.decoders.decord import read_decord
from timesformer_cli.video.decoders.opencv import read_opencv
from timesformer_cli.video.decoders.pyav import LONG_GAP, SEEKABLE, read_av
from timesformer_cli.video.facts import Pixels, Probe
from timesformer_cli.video.messages import Decoded, DecodeRequest, View
from timesformer_cli.video.probe import probe
from timesformer_cli.video.safe_file import VideoFile
from timesformer_cli.video.sample import Plan, plan_clips
from timesformer_cli.video.transform import prepare_frame

# In the order of "auto". Of 114 unusual but valid files, guarded decord and then PyAV read 113
# right (the last was mirrored, now declined by decord); with OpenCV second it was 109.
READERS: Mapping[str, Reader] = {"decord": read_decord, "av": read_av, "opencv": read_opencv}
Crops = Mapping[str, Pixels]
HELD = 0.9  # warn when a file holds less than this share of the length that it claims


def decode(request: DecodeRequest) -> Decoded:
    """Decode the clips of one video in this process.

    Decoders are tried in turn: one that declines the file leaves it to the next. Raises VideoError
    when none could read it.
    """
    began = time.perf_counter()
    planner = partial(
        plan_clips, sampling=request.sampling, clips=request.clips, jitter=request.jitter
    )
    with VideoFile(request.path) as file:
        described = probe(file)
        shape = partial(
            prepare_frame,
            preprocessing=request.preprocessing,
            orientation=described.orientation,
            pixel_aspect=described.pixel_aspect,
            crops=request.crops,
        )
        reasons: list[ReaderDeclined] = []
        for name in _order(request.decoder, described, planner):
            try:
                planned, reading, held = _read(name, file, described, planner, shape)
            except ReaderDeclined as reason:
                reasons.append(reason)
                continue
            frames, views = _assemble(planned, reading)
            return Decoded(
                frames=frames,
                views=views,
                decoder=name,
                warnings=tuple(_warnings(described, held, planned, reading)),
                seconds=time.perf_counter() - began,
                probe=described,
            )
    raise _failure(request.decoder, reasons)


def _order(decoder: str, described: Probe, planner: Callable[..., Plan]) -> Sequence[str]:
    """Name the decoders to try, best first.

    decord always reads from the first frame, so PyAV, which can seek, comes first for a late clip.
    """
    if decoder != "auto":
        return (decoder,)
    moments = [0.0, *_moments(planner(described.duration))]
    late = any(b - a > LONG_GAP for a, b in pairwise(moments))
    if late and described.container.startswith(SEEKABLE):
        return ("av", "decord", "opencv")
    return tuple(READERS)


def _read(
    name: str,
    file: VideoFile,
    described: Probe,
    planner: Callable[..., Plan],
    shape: Callable[[Pixels], Crops],
) -> tuple[Plan, Reading, float]:
    """Read the planned moments; returns the plan, the pictures and the length that was planned on.

    The length of a container is a claim. When the file ends earlier, plan once more on the length
    that was read.
    """
    duration, frame = described.duration, 1 / described.fps
    for _ in range(2):
        planned = planner(duration, frame=frame)
        moments = _moments(planned)
        reading = READERS[name](file, described, moments, shape)
        if len(reading.pictures) == len(moments):
            return planned, reading, duration
        if not reading.end:
            break
        duration = reading.end
    raise NoFrames("holds no frame that can be decoded")


def _moments(planned: Plan) -> list[float]:
    return sorted({moment for clip in planned.clips for moment in clip.times})


def _assemble(planned: Plan, reading: Reading) -> tuple[Pixels, tuple[View, ...]]:
    """Stack the views: all crops of the first clip, then all crops of the second, and so on.

    The pixels are `(views, frames, height, width, 3)`.
    """
    pictures: Mapping[float, Crops] = dict(zip(_moments(planned), reading.pictures, strict=True))
    names = list(reading.pictures[0])
    chosen = [(clip, crop) for clip in planned.clips for crop in names]
    frames = np.stack([[pictures[moment][crop] for moment in clip.times] for clip, crop in chosen])
    return frames, tuple(
        View(round(clip.start, 3), round(clip.end, 3), crop, tuple(round(t, 3) for t in clip.times))
        for clip, crop in chosen
    )


def _warnings(described: Probe, held: float, planned: Plan, reading: Reading) -> Iterator[str]:
    if held < HELD * described.duration:
        yield f"claims {described.duration:.1f} s, holds {held:.1f} s"
    if reading.damaged:
        yield f"is damaged: {len(reading.damaged)} of its packets could not be decoded"
    frame_at = dict(zip(_moments(planned), reading.chosen, strict=True))
    wanted = len(planned.clips[0].times)
    different = min(len({frame_at[moment] for moment in clip.times}) for clip in planned.clips)
    if different == 1 < wanted:
        yield f"gives 1 frame, repeated {wanted} times"
    elif different < wanted:
        yield f"gives {different} frames, repeated to make the {wanted} of a clip"
    if planned.note and different > 1:  # with one frame the note on spacing would say nothing
        yield planned.note
    if described.hdr:
        yield f"is HDR ({described.hdr}), read without tone mapping: its colours look flat"


def _failure(decoder: str, reasons: Sequence[ReaderDeclined]) -> VideoError:
    """Choose the error of a video that no decoder could read: the reason of the last one tried."""
    if decoder != "auto":
        kind = "decoder_missing" if isinstance(reasons[0], DecoderMissing) else "cannot_decode"
        return VideoError(kind, f"{reasons[0]} (--decoder auto tries the others)")
    if any(isinstance(reason, NoFrames) for reason in reasons):
        return VideoError("no_frames", "holds no frame that can be decoded")
    tried = [reason for reason in reasons if not isinstance(reason, DecoderMissing)]
    if not tried:
        return VideoError("decoder_missing", f"needs a decoder: {reasons[1]}")
    return VideoError("cannot_decode", f"cannot be decoded: {tried[-1]}")
