"""Which moments of a video make a clip: pure arithmetic on seconds, nothing is decoded."""

from dataclasses import dataclass

from timesformer_cli.config import Sampling
from timesformer_cli.errors import ErrorKind, VideoError

RATE = 30  # frames per second in which strides are counted, as in the published recipe
# Frames closer together than half of what the model saw in training may change its answer.
WORTH_A_NOTE = 0.5
# Seconds by which a part may be said to end after its video: tables have rounded times.
ROUNDED = 0.5


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip of a video; all times are seconds from the start of the video."""

    start: float
    end: float
    times: tuple[float, ...]  # the moment of each frame


@dataclass(frozen=True, slots=True)
class Jitter:
    """Random numbers that say where a training clip lies.

    A clip with a stride uses only the first offset: 0 puts it at the start of the video, 1 at the
    end. A clip without one takes frame `i` at `offsets[i]` of segment `i`.
    """

    offsets: tuple[float, ...]  # one per frame, each in 0..1
    pace: float = 1.0  # factor on the time between frames; only with a stride


@dataclass(frozen=True, slots=True)
class Plan:
    """The clips to take from a video."""

    clips: tuple[Clip, ...]
    note: str | None = None  # a warning when the video is much shorter than a clip


def span(sampling: Sampling) -> float | None:
    """Seconds from the first frame of a clip to its last; None when it covers the whole video."""
    if sampling.stride is None:
        return None
    return (sampling.frames * sampling.stride - 1) / RATE


def plan_clips(
    duration: float,
    sampling: Sampling,
    clips: int = 1,
    *,
    jitter: Jitter | None = None,
    frame: float = 0.0,
) -> Plan:
    """Choose the moments of `clips` clips in a video of `duration` seconds.

    With a stride, one clip is centred; several start at even steps, so that the first begins at 0
    and the last ends with the video. Without a stride, every frame comes from its own segment of
    the video. `jitter` moves a single clip. A video shorter than a clip is taken whole, its frames
    closer together. Every moment lies in `[0, duration]`. `frame` is the number of seconds for
    which the last frame is shown.

        one clip     [.....xxxxx.....]
        three clips  [xxxxx..........]  [.....xxxxx.....]  [..........xxxxx]
        no stride    [.x.|.x.|.x.|.x.]
    """
    length = span(sampling)
    if length is None:
        middles = [((c + 0.5) / clips,) * sampling.frames for c in range(clips)]
        offsets = middles if jitter is None else [jitter.offsets]
        return Plan(tuple(_segments(duration, shares) for shares in offsets))
    length *= 1.0 if jitter is None else jitter.pace
    if length > duration:
        last = max(duration - frame, 0.0)  # the last frame begins this long before the end
        squeezed = spread(0.0, last, sampling.frames)
        slight = duration > WORTH_A_NOTE * length
        note = None if slight else _short_note(duration, length, last, sampling.frames)
        return Plan((squeezed,) * clips, note)  # all clips are the same: the whole video
    room = duration - length
    # Rounding may carry the last start past the room, and its moments past the end.
    starts = [room / 2] if clips == 1 else [min(room * c / (clips - 1), room) for c in range(clips)]
    if jitter is not None:
        starts = [room * jitter.offsets[0]]
    bounds = [(start, min(start + length, duration)) for start in starts]
    return Plan(tuple(spread(start, end, sampling.frames) for start, end in bounds))


def plan_part(
    duration: float,
    sampling: Sampling,
    clips: int = 1,
    *,
    start: float = 0.0,
    end: float | None = None,
    jitter: Jitter | None = None,
    frame: float = 0.0,
) -> Plan:
    """`plan_clips` in the part from `start` to `end` of the video, as if the rest were not there.

    None means the end of the video. Raises VideoError for a part that is not in the video.
    """
    if start == 0 and end is None:
        return plan_clips(duration, sampling, clips, jitter=jitter, frame=frame)
    duration = duration or end or 0.0  # 0 is a length that nobody knows yet
    if end is not None and end > duration + ROUNDED:
        raise VideoError(
            ErrorKind.OUTSIDE,
            f"lasts {duration:.4g} s, and its part from {start:g} to {end:g} s does not",
        )
    last = duration if end is None else min(end, duration)
    if start >= last:
        raise VideoError(
            ErrorKind.OUTSIDE, f"lasts {duration:.4g} s, and its part begins at {start:g} s"
        )
    planned = plan_clips(last - start, sampling, clips, jitter=jitter, frame=frame)
    # At the very end of a part the picture after it begins; a whole video has none.
    most = max(start, last - frame / 2) if last < duration else last
    return Plan(tuple(_later(clip, start, most) for clip in planned.clips), planned.note)


def _later(clip: Clip, by: float, most: float) -> Clip:
    times = tuple(min(by + moment, most) for moment in clip.times)
    return Clip(by + clip.start, by + clip.end, times)


def spread(start: float, end: float, frames: int) -> Clip:
    """Place moments at even steps from `start` to `end`, both included; one alone in the middle."""
    if frames == 1:
        return Clip(start, end, ((start + end) / 2,))
    step = (end - start) / (frames - 1)
    inner = (start + step * i for i in range(frames - 1))
    # Rounding may carry a moment past the end: hence the minimum, and the end as it is.
    return Clip(start, end, (*(min(moment, end) for moment in inner), end))


def _segments(duration: float, offsets: tuple[float, ...]) -> Clip:
    """Cut the video into equal segments, one per offset; 0.5 is the middle of its segment."""
    frames = len(offsets)
    moments = (duration * (i + offset) / frames for i, offset in enumerate(offsets))
    return Clip(0.0, duration, tuple(moments))


def _short_note(duration: float, length: float, last: float, frames: int) -> str:
    note = f"is {duration:.3g} s long, clips of this model {length:.3g} s"
    if frames == 1:
        return note
    step, wanted = last / (frames - 1), length / (frames - 1)
    return f"{note}: {frames} frames were taken {step:.2g} s apart instead of {wanted:.3g} s"
