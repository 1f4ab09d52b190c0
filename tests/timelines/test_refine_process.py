"""Refining looks at many moments of a video, one after another, in one decode process."""

from pathlib import Path

from timesformer_cli.timelines.options import TimelineOptions
from timesformer_cli.timelines.results import Timeline
from timesformer_cli.timelines.run import TimelineRun, ended
from timesformer_cli.video import VideoPath
from timesformer_cli.video.messages import Followed
from timesformer_cli.video.stream import VideoFollower

EXAMPLE = Path(__file__).parents[2] / "examples" / "pan_left_then_zoom_in.mp4"


def test_every_look_is_heard_to_its_end(monkeypatch):
    """Who leaves in the middle finds the rest in the way of the next look, or kills the process."""
    begun, heard_out = [], []
    follow = VideoFollower.follow

    def heard(self, request):
        begun.append(request.plan.start)
        for event in follow(self, request):
            if isinstance(event, Followed):
                heard_out.append(request.plan.start)
            yield event

    monkeypatch.setattr(VideoFollower, "follow", heard)
    options = TimelineOptions(model="camera-motion", refine=True)
    with TimelineRun(options) as run:
        result = ended(run.timeline(VideoPath(str(EXAMPLE))))
    assert isinstance(result, Timeline)
    assert [segment.label for segment in result.segments] == ["pan left", "zoom in"]
    assert len(begun) == 3
    assert begun == heard_out
