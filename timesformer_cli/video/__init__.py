"""Video files to clips: find, probe, sample, decode in killable processes, resize and crop."""

from timesformer_cli.video.decoded import Decoded, View
from timesformer_cli.video.facts import Probe
from timesformer_cli.video.files import Found, find_videos
from timesformer_cli.video.pool import DecodePool

__all__ = ["DecodePool", "Decoded", "Found", "Probe", "View", "find_videos"]
