"""Video files to clips: find, probe, sample, decode in killable processes, resize and crop."""

from timesformer_cli.video.facts import Probe
from timesformer_cli.video.find import VideoPath, find_videos
from timesformer_cli.video.messages import Decoded, View
from timesformer_cli.video.pool import DecodePool

__all__ = ["DecodePool", "Decoded", "Probe", "VideoPath", "View", "find_videos"]
