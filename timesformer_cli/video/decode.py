"""One video to one array of clips: plan, read with the first decoder that can be trusted."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np

from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.video.decoders.array import probe_array, read_array
from timesformer_cli.video.decoders.base import (
    Beat,
    DecoderMissing,
    NoFrames,
    Reader,
    ReaderDeclined,
    Reading,
    ReadJob,
    first_line,
    no_beat,
)
from timesformer_cli.video.decoders.decord import read_decord
from timesformer_cli.video.decoders.indexed import read_av
from timesformer_cli.video.decoders.opencv import read_opencv
from timesformer_cli.video.decoders.pillow import (
    pictures_of,
    probe_pictures,
    read_animation,
    read_pictures,
)
from timesformer_cli.video.decoders.torchcodec import read_torchcodec
from timesformer_cli.video.facts import Pixels, Probe
from timesformer_cli.video.messages import Decoded, DecodeRequest, View
from timesformer_cli.video.probe import examine
from timesformer_cli.video.safe_file import VideoFile
from timesformer_cli.video.sample import Plan, plan_part
from timesformer_cli.video.transform import filled, prepare_frame

READERS: Mapping[str, Reader] = {
    "av": read_av,
    "decord": read_decord,
    "opencv": read_opencv,
    "pillow": read_animation,
    "torchcodec": read_torchcodec,
}
# The order of "auto". PyAV reads all of 114 unusual but valid files right, says which pictures
# are damaged, and took 0.6 of decord's time on 26 real clips: decord converts every picture, wanted
# or not. torchcodec is not among them: it was never measured on a card, which it is there for.
# Pillow reads the pictures that move, which the others decline or cut to one frame.
ORDINARY, MOVING = ("av", "decord", "opencv"), ("pillow",)
Crops = Mapping[str, Pixels]
HELD = (
    0.9  # warn when a file holds less than this share of the length that it claims, or claims less
)
NO_FRAMES = "holds no frame that can be decoded: it is damaged, or encrypted"
# A file with so large a share of pictures lost or made up shows nothing that could be classified;
# what is encrypted without saying so looks like this. Few pictures are no proof.
RUINED, ENOUGH_TO_TELL = 0.8, 8


def decode(request: DecodeRequest, beat: Beat = no_beat, frames: Pixels | None = None) -> Decoded:
    """Decode the clips of one video in this process; `beat` is told of decoders and of pictures.

    Decoders are tried in turn: one that declines the file, fails, or gives pictures of a wrong
    shape leaves it to the next. With `frames`, RGB `(t h w c)`, nothing is left to decode. Raises
    VideoError when none could read it.
    """
    if frames is not None and request.fps is not None:
        described = probe_array(frames, request.fps)
        return taken_from(request, "array", described, partial(read_array, frames), beat)
    if request.fps is not None:
        pictures = pictures_of(request.path)
        described = probe_pictures(pictures, request.fps)
        return taken_from(request, "pillow", described, partial(read_pictures, pictures), beat)
    began, planner, shape = time.perf_counter(), _planner(request), _shape(request)
    with ExitStack() as stack:
        file = stack.enter_context(VideoFile(request.path, request.part))
        described, indexed = examine(file)
        if indexed is not None:
            stack.callback(indexed.close)
        beat()
        upright = partial(shape, orientation=described.orientation)
        job = partial(ReadJob, file, described, prepare=upright, beat=beat, indexed=indexed)
        reasons: list[ReaderDeclined] = []
        for name in reader_order(request.decoder, request.without, described):
            beat(name)
            try:
                planned, reading, held = _read(READERS[name], described, planner, job)
            except ReaderDeclined as reason:
                reasons.append(reason)
            except (VideoError, MemoryError):  # of the video, whoever reads it
                raise
            except Exception as error:  # of the decoder: another may do better
                reasons.append(ReaderDeclined(f"{name} failed ({first_line(error)})"))
            else:
                return _decoded(name, request, described, planned, reading, held, began)
    raise unread(request.decoder, reasons)


def taken_from(
    request: DecodeRequest, name: str, described: Probe, reader: Reader, beat: Beat = no_beat
) -> Decoded:
    """The clips of pictures that lie apart from one another, and need no decoder; raises NoFrames."""
    began = time.perf_counter()
    job = partial(ReadJob, None, described, prepare=_shape(request), beat=beat)
    planned, reading, held = _read(reader, described, _planner(request), job)
    return _decoded(name, request, described, planned, reading, held, began)


def _planner(request: DecodeRequest) -> Callable[..., Plan]:
    return partial(
        plan_part,
        sampling=request.sampling,
        clips=request.clips,
        start=request.start,
        end=request.end,
        jitter=request.jitter,
    )


def _shape(request: DecodeRequest) -> Callable[..., Crops]:
    return partial(prepare_frame, preprocessing=request.preprocessing, crops=request.crops)


def _decoded(
    name: str,
    request: DecodeRequest,
    described: Probe,
    planned: Plan,
    reading: Reading,
    held: float,
    began: float,
) -> Decoded:
    frames, views = _assemble(planned, reading)
    crop = request.preprocessing.crop
    expected = (len(views), request.sampling.frames, *crop, 3)
    if request.crops and frames.shape != expected:
        raise VideoError(
            ErrorKind.DECODER_FAILED, f"gives clips of {frames.shape}, not of {expected}"
        )
    return Decoded(
        frames=frames,
        views=views,
        decoder=name,
        warnings=tuple(_warnings(described, held, planned, reading)),
        seconds=time.perf_counter() - began,
        probe=described,
    )


def require_undamaged(reading: Reading) -> None:
    """Raise VideoError where next to nothing of the file is a picture that was recorded."""
    failed, decoded = len(reading.damaged), reading.decoded
    looked = failed + decoded
    if not decoded:  # another decoder may do better; if none does, there is no frame
        return
    if looked >= ENOUGH_TO_TELL and failed > RUINED * looked:
        what = f"{failed} of its first {looked} packets cannot be decoded"
    elif decoded >= ENOUGH_TO_TELL and reading.mended > RUINED * decoded:
        what = f"{reading.mended} of its first {decoded} pictures are damaged"
    else:
        return
    raise VideoError(ErrorKind.CANNOT_DECODE, f"is encrypted or ruined: {what}")


def reader_order(decoder: str, without: Sequence[str], described: Probe) -> Sequence[str]:
    """Name the decoders to try, best first; those that this file has brought down not again."""
    if decoder != "auto":
        return (decoder,)
    # Each kind of file has its own readers: the reason of another one would hide theirs.
    names = MOVING if described.container in ("png", "webp") else ORDINARY
    return [name for name in names if name not in without]


def _read(
    reader: Reader,
    described: Probe,
    planner: Callable[..., Plan],
    job: Callable[..., ReadJob],
) -> tuple[Plan, Reading, float]:
    """Read the planned moments; returns the plan, the pictures and the length that was planned on.

    The length of a container is a claim. When the file ends earlier, plan once more on the length
    that was read.
    """
    duration, frame = described.duration, 1 / described.fps
    for _ in range(2):
        planned = planner(duration, frame=frame)
        moments = _moments(planned)
        reading = reader(job(wanted=moments))
        require_undamaged(reading)
        if len(reading.pictures) == len(moments):
            return planned, reading, duration
        if not reading.end:
            break
        duration = reading.end
    raise NoFrames(NO_FRAMES)


def _moments(planned: Plan) -> list[float]:
    return sorted({moment for clip in planned.clips for moment in clip.times})


def _assemble(planned: Plan, reading: Reading) -> tuple[Pixels, tuple[View, ...]]:
    """Stack the views: all crops of the first clip, then all crops of the second, and so on.

    The pixels are `(views, frames, height, width, 3)`.
    """
    pictures: Mapping[float, Crops] = dict(zip(_moments(planned), reading.pictures, strict=True))
    names = list(reading.pictures[0])
    chosen = [(clip, crop) for clip in planned.clips for crop in names]
    shown = [[pictures[moment][crop] for moment in clip.times] for clip, crop in chosen]
    frames = np.stack(_of_one_size(shown))
    return frames, tuple(
        View(round(clip.start, 3), round(clip.end, 3), crop, tuple(round(t, 3) for t in clip.times))
        for clip, crop in chosen
    )


def _of_one_size(clips: list[list[Pixels]]) -> list[list[Pixels]]:
    """Whole pictures of a video that changes its shape midway, in the shape of the first one."""
    height, width, _ = clips[0][0].shape
    if all(picture.shape[:2] == (height, width) for clip in clips for picture in clip):
        return clips
    return [[filled(picture, width, height) for picture in clip] for clip in clips]


def _warnings(described: Probe, held: float, planned: Plan, reading: Reading) -> Iterator[str]:
    yield from false_length(described, held)
    yield from described.notes
    yield from damage_warnings(reading)
    frame_at = dict(zip(_moments(planned), reading.chosen, strict=True))
    wanted = len(planned.clips[0].times)
    different = min(len({frame_at[moment] for moment in clip.times}) for clip in planned.clips)
    if different == 1 < wanted:
        yield f"gives 1 frame, repeated {wanted} times"
    elif different < wanted:
        yield f"gives {different} frames, repeated to make the {wanted} of a clip"
    if planned.note and different > 1:  # with one frame the note on spacing would say nothing
        yield planned.note
    yield from look_warnings(described)


def false_length(described: Probe, held: float) -> Iterator[str]:
    """A container that claims another length than it was found to hold."""
    claimed = described.claimed or held
    if held < HELD * claimed or claimed < HELD * held:
        yield f"claims {claimed:.1f} s, holds {held:.1f} s"


def look_warnings(described: Probe) -> Iterator[str]:
    """Why pictures may look other than what the model learned from."""
    if described.hdr:
        yield f"is HDR ({described.hdr}), read without tone mapping: its colours look flat"
    if described.interlaced:
        yield "is interlaced: what moves in it has edges like a comb"


def damage_warnings(reading: Reading) -> Iterator[str]:
    """What was lost on the way, in one sentence."""
    failed = len(reading.damaged)
    parts = [
        f"{failed} of its packets could not be decoded" if failed else "",
        # A packet that fails is a picture that is lost.
        f"{reading.lost - failed} of its pictures lost" if reading.lost > failed else "",
        f"{reading.mended} of its pictures made up in part" if reading.mended else "",
    ]
    if any(parts):
        yield f"is damaged: {', '.join(filter(None, parts))}"


def unread(decoder: str, reasons: Sequence[ReaderDeclined]) -> VideoError:
    """Choose the error of a video that no decoder could read: the reason of the last one tried."""
    if decoder != "auto":
        kind = (
            ErrorKind.DECODER_MISSING
            if isinstance(reasons[0], DecoderMissing)
            else ErrorKind.CANNOT_DECODE
        )
        return VideoError(kind, f"{reasons[0]} (--decoder auto tries the others)")
    if not reasons:
        return VideoError(
            ErrorKind.DECODER_CRASHED, "brings every decoder down that tries to read it"
        )
    if any(isinstance(reason, NoFrames) for reason in reasons):
        return VideoError(ErrorKind.NO_FRAMES, NO_FRAMES)
    tried = [reason for reason in reasons if not isinstance(reason, DecoderMissing)]
    if not tried:
        return VideoError(ErrorKind.DECODER_MISSING, f"needs a decoder: {reasons[1]}")
    return VideoError(ErrorKind.CANNOT_DECODE, f"cannot be decoded: {tried[-1]}")
