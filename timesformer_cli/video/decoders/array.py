"""Frames that are in memory already, read as a video is."""

from functools import partial

from timesformer_cli.video.cuts import shrink
from timesformer_cli.video.decoders.base import Reading, ReadJob
from timesformer_cli.video.facts import Pixels, Probe, require_pixels_within_limit


def probe_array(frames: Pixels, fps: float) -> Probe:
    """Describe RGB frames, uint8 `(t h w c)`, as a video of so many a second; raises VideoError."""
    count, height, width, _ = frames.shape
    require_pixels_within_limit(width, height)
    return Probe(
        width=width,
        height=height,
        fps=fps,
        duration=count / fps,
        claimed=count / fps,
        tail=1 / fps,
        frames=count,
        codec="array",
        container="array",
        coded_width=width,
        coded_height=height,
        counted=True,
    )


def read_array(frames: Pixels, job: ReadJob) -> Reading:
    """Take the wanted frames."""
    picker = job.picker()
    for number, frame in enumerate(frames):
        prepared, small = partial(job.prepare, frame, pixel_aspect=1.0), partial(shrink, frame)
        if not picker.offer(number / job.probe.fps, prepared, small):
            return picker.reading
    return picker.finish()
