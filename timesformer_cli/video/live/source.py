"""What a live source is, and which protocols and containers FFmpeg may open for it."""

import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from timesformer_cli.errors import ErrorKind, UsageError, VideoError
from timesformer_cli.video.safe_file import URL, missing_file

STDIN = "-"
NOTHING = "none"  # a whitelist that names no protocol: an empty one would allow all of them
# Containers that can be read from their beginning on and never name another file or host.
CONTAINERS = (
    "mpegts,mpeg,matroska,webm,flv,mov,mp4,avi,asf,ogg,nut,ivf,mjpeg,mpjpeg,jpeg_pipe,h264,hevc,"
    "obu,mpegvideo,m4v,yuv4mpegpipe"
)
CAMERAS = "video4linux2,v4l2"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What FFmpeg may open for a scheme, each as a list with commas."""

    protocols: str
    containers: str = CONTAINERS


# HLS is how most live video is sent over HTTP: its playlists may name other addresses, but no
# files. Encrypted segments would need the protocol `crypto`, which can wrap any other, so they are
# refused. An https address never leads to plain http.
SCHEMES: Mapping[str, Allowed] = MappingProxyType(
    {
        "rtsp": Allowed("rtp,udp,tcp", "rtsp"),
        "rtsps": Allowed("rtp,udp,tcp,tls", "rtsp"),
        "udp": Allowed("udp"),
        "rtp": Allowed("rtp,udp", "rtp"),
        "tcp": Allowed("tcp"),
        "http": Allowed("http,https,httpproxy,tls,tcp", f"{CONTAINERS},hls"),
        "https": Allowed("https,httpproxy,tls,tcp", f"{CONTAINERS},hls"),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveSource:
    """One source, as its child process is told of it."""

    name: str  # as it may be shown: without a password
    kind: Literal["camera", "network", "pipe", "file"]
    target: str  # what is opened
    protocols: str = NOTHING
    containers: str = CONTAINERS
    waits: bool = False  # whether a sender that is not read from waits, and nothing is lost
    timeout: float = 10.0  # seconds of silence after which a stream is lost
    idle: float = 5.0  # seconds without growth after which a file has ended

    @property
    def reconnects(self) -> bool:
        """Whether it can be opened once more after it was lost."""
        return self.kind in ("camera", "network")


def find_source(
    text: str, *, follow: bool = False, timeout: float = 10.0, idle: float = 5.0
) -> LiveSource:
    """What a word means as a live source; nothing is opened yet.

    Raises UsageError where it is none, VideoError where it is one that is not there.
    """
    return replace(_named(text, follow), timeout=timeout, idle=idle)


def _named(text: str, follow: bool) -> LiveSource:
    scheme = text.partition("://")[0].lower() if URL.match(text) else ""
    camera = f"/dev/video{text}" if text.isdecimal() else text
    is_camera = camera.startswith("/dev/video")
    if follow and (scheme or text == STDIN or is_camera):
        raise UsageError(f"{without_password(text)}: is no file; leave out --follow")
    if text == STDIN:
        _require_pipe()
        return LiveSource(name="stdin", kind="pipe", target="", waits=True)
    if scheme:
        if scheme not in SCHEMES:
            known = ", ".join(f"{name}://" for name in SCHEMES)
            raise UsageError(
                f"{without_password(text)}: {scheme}:// is not read; there are {known}, and "
                "- for what another program writes"
            )
        allowed = SCHEMES[scheme]
        return LiveSource(
            name=without_password(text),
            kind="network",
            target=text,
            protocols=allowed.protocols,
            containers=allowed.containers,
            waits=scheme.startswith("http"),
        )
    if is_camera:
        _require_camera(camera)
        return LiveSource(name=camera, kind="camera", target=camera, containers=CAMERAS)
    _require_growing(text, follow)
    return LiveSource(name=text, kind="file", target=os.path.abspath(text), waits=True)


def without_password(url: str) -> str:
    """The address without the name and the password that may stand before its host."""
    return re.sub(r"(?<=://)[^/?#]*@", "", url)


def _require_pipe() -> None:
    if sys.platform == "win32":
        raise UsageError("- is not read on Windows; write to a file, and watch that with --follow")
    if os.isatty(0):
        raise UsageError(
            "stdin is a terminal; pipe a stream into it: ffmpeg ... -f mpegts - | tsf watch -"
        )


def _require_camera(camera: str) -> None:
    if not sys.platform.startswith("linux"):
        raise UsageError(
            f"{camera}: cameras are read on Linux only; elsewhere let ffmpeg read it: "
            "ffmpeg ... -f mpegts - | tsf watch -"
        )
    if not os.path.lexists(camera):
        there = sorted(name for name in os.listdir("/dev") if name.startswith("video"))
        have = ", ".join(f"/dev/{name}" for name in there) or "none"
        raise VideoError(ErrorKind.NO_CAMERA, f"{camera}: is not there; cameras here: {have}")
    if not stat.S_ISCHR(os.stat(camera).st_mode):
        raise VideoError(ErrorKind.NO_CAMERA, f"{camera}: is not a camera")


def _require_growing(text: str, follow: bool) -> None:
    try:
        mode = os.stat(text).st_mode
    except (OSError, ValueError):
        raise VideoError(ErrorKind.NOT_FOUND, f"{text}: {missing_file(text)}") from None
    if stat.S_ISFIFO(mode):
        raise UsageError(f"{text}: is a named pipe; read it with: tsf watch - < {text}")
    if not stat.S_ISREG(mode):
        raise UsageError(f"{text}: is not a camera, a stream or a file")
    if not follow:
        raise UsageError(
            f"{text}: is a file; tsf timeline reads a whole one, --follow one that is still being "
            "written"
        )
