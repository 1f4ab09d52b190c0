"""Video files in, clips of RGB pixels out, in the order of the input.

1. `find`: files, folders, globs and lists (`listed`) become paths. A path that fails carries its
   error with it.
2. `safe_file`: the file is opened once, and playlists, pipes and text are refused.
3. `probe`: read what the file says of its size, rate, length and orientation.
4. `sample`: choose the moments of each clip, in seconds. Nothing is decoded for this.
5. `decode`: read the pictures at these moments with the first decoder that can be trusted.
6. `transform`: turn each picture upright, resize it and crop it.

A training may keep what comes out (`frame_cache`), all pictures of a clip (`every_frame`).

Steps 2 to 6 run in worker processes (`pool`), because decoders crash and hang on some files: a
bad video then costs one error, and the rest of the list goes on.
"""

from timesformer_cli.video.facts import Probe
from timesformer_cli.video.find import VideoPath, find_videos
from timesformer_cli.video.messages import Decoded, View
from timesformer_cli.video.pool import DecodePool

__all__ = ["DecodePool", "Decoded", "Probe", "VideoPath", "View", "find_videos"]
