"""Videos decoded in the test's own process."""

from typing import Any

from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.video import decode as module
from timesformer_cli.video.messages import Decoded, DecodeRequest


def decode(path: str, sampling: Sampling, preprocessing: Preprocessing, **how: Any) -> Decoded:
    """What a worker would make of the video; raises VideoError."""
    request = DecodeRequest(path=path, sampling=sampling, preprocessing=preprocessing, **how)
    return module.decode(request)
