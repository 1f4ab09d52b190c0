"""Which moments of a video make a clip: pure arithmetic on seconds, nothing is decoded."""

from dataclasses import dataclass

from timesformer_cli.config import Sampling

RATE = 30  # strides are counted in frames of this rate, as the published recipe does
# Frames closer together than half of what the model saw in training may change its answer.
WORTH_A_NOTE = 0.5


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip of a video: its bounds and the moments of its frames, in seconds from the start."""

    start: float
    end: float
    times: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Jitter:
    """Where a training clip lies: `pace` scales the time between its frames.

    Of `offsets`, one a frame and each in 0..1, a strided clip starts at the first share of the
    room it has, and a uniform one takes each frame at its share of its segment.
    """

    offsets: tuple[float, ...]
    pace: float = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The clips to take from a video; `note` says in words what could not be as asked."""

    clips: tuple[Clip, ...]
    note: str | None = None


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

    One clip is centred, or lies where `jitter` says; several start at even steps, the first at 0,
    the last ending with the video. Every moment lies in `[0, duration]`. `frame` is how long the
    last frame is shown.
    """
    length = span(sampling)
    if length is None:
        middles = [((c + 0.5) / clips,) * sampling.frames for c in range(clips)]
        offsets = middles if jitter is None else [jitter.offsets]
        return Plan(tuple(_segments(duration, shares) for shares in offsets))
    length *= 1.0 if jitter is None else jitter.pace
    if length > duration:
        last = max(duration - frame, 0.0)
        squeezed = _spread(0.0, last, sampling.frames)
        slight = duration > WORTH_A_NOTE * length
        note = None if slight else _short_note(duration, length, last, sampling.frames)
        return Plan((squeezed,) * clips, note)
    room = duration - length
    starts = [room / 2] if clips == 1 else [room * c / (clips - 1) for c in range(clips)]
    if jitter is not None:
        starts = [room * jitter.offsets[0]]
    bounds = [(start, min(start + length, duration)) for start in starts]
    return Plan(tuple(_spread(start, end, sampling.frames) for start, end in bounds))


def _spread(start: float, end: float, frames: int) -> Clip:
    """`frames` moments at even steps from `start` to `end`, both included; one is in the middle."""
    if frames == 1:
        return Clip(start, end, ((start + end) / 2,))
    step = (end - start) / (frames - 1)
    inner = (start + step * i for i in range(frames - 1))
    return Clip(start, end, (*(min(moment, end) for moment in inner), end))


def _segments(duration: float, offsets: tuple[float, ...]) -> Clip:
    """One moment in each of as many equal segments as there are offsets, at its share of it."""
    frames = len(offsets)
    moments = (duration * (i + offset) / frames for i, offset in enumerate(offsets))
    return Clip(0.0, duration, tuple(moments))


def _short_note(duration: float, length: float, last: float, frames: int) -> str:
    note = f"is {duration:.3g} s long, clips of this model {length:.3g} s"
    if frames == 1:
        return note
    step, wanted = last / (frames - 1), length / (frames - 1)
    return f"{note}: {frames} frames were taken {step:.2g} s apart instead of {wanted:.3g} s"
