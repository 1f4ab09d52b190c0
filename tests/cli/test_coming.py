"""Paths that come slowly: each has its answer before the next one is there."""

import io
import json
import subprocess
import sys
import threading

import pytest

from tests.support import clips
from timesformer_cli.errors import UsageError
from timesformer_cli.video.coming import coming_videos
from timesformer_cli.video.find import PAUSE
from timesformer_cli.video.listed import names_as_they_come, read_list


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coming")
    for number in range(3):
        clips.write(folder / f"{number}.mp4", 24)
    return folder


@pytest.mark.parametrize("command", ["classify", "timeline"])
def test_each_path_has_its_line_before_the_next_is_written(command, folder, model_folder):
    words = [sys.executable, "-m", "timesformer_cli", command, "-", "--model", str(model_folder)]
    words += ["--format", "jsonl", "--device", "cpu", "--quiet"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, cwd=folder) as process:
        killer = threading.Timer(120, process.kill)
        killer.start()
        for name in ("0.mp4", "gone.mp4", "1.mp4", "2.mp4"):
            process.stdin.write(f"{name}\n".encode())
            process.stdin.flush()
            result = json.loads(process.stdout.readline())
            assert (result["schema"], result["video"]) == (1, name)
            assert (result["status"] == "ok") == (name != "gone.mp4")
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait() == 1, process.stderr.read()
        killer.cancel()


class Pieces(io.BufferedIOBase):
    """A stream whose writer hands over one piece after another."""

    def __init__(self, *pieces: bytes):
        self.pieces = list(pieces)

    def read1(self, size: int = -1) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def __iter__(self):
        return iter([b"".join(self.pieces)])


@pytest.mark.parametrize(
    "pieces",
    [
        (b"a.mp4\nb.mp4\n",),
        (b"a", b".mp4\r", b"\nb.mp4", b"\r\n"),
        (b"\xef\xbb", b"\xbfa.mp4\nb.mp4"),
        (b"a.mp4\0b.m", b"p4\0"),
        (b"a\nwith a break.mp4\0", b"b.mp4"),
        (b"a.mp4\rb.mp4",),
        ("a.mp4\nb.mp4\n".encode("utf-16"),),
        ("a.mp4\nb.mp4\n".encode("utf-16-le")[:5], "a.mp4\nb.mp4\n".encode("utf-16-le")[5:]),
        (b"\n\n a.mp4 \n\n", b"\xff\xfa.mp4\n"),
    ],
)
def test_names_in_pieces_are_those_of_the_whole_list(pieces):
    assert list(names_as_they_come(Pieces(*pieces))) == read_list([b"".join(pieces)])


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ((), "stdin is empty"),
        ((b"\n", b"  \n"), "stdin is empty"),
        ((b"a.mp4\n", b"b.mp4\0c.mp4\0"), "has NUL behind lines"),
        ((b"\0\0\0 ftypmp42\0\0\0\0" + bytes(range(32)),), "stdin holds a video"),
    ],
)
def test_what_is_no_list_is_refused(pieces, message):
    with pytest.raises(UsageError, match=message):
        list(names_as_they_come(Pieces(*pieces)))


def test_a_pause_is_told_wherever_the_next_path_is_waited_for(folder):
    wanted = threading.Event()

    class Slow(Pieces):
        def read1(self, size: int = -1) -> bytes:
            if len(self.pieces) == 1:
                assert wanted.wait(10)
            return super().read1(size)

    names = [str(folder / "0.mp4"), str(folder / "1.mp4")]
    coming = coming_videos(["-", str(folder / "2.mp4")], Slow(*(f"{n}\n".encode() for n in names)))
    first = next(video for video in coming if video is not PAUSE)
    assert first.path == names[0] and next(coming) is PAUSE
    wanted.set()
    rest = [video.path for video in coming if video is not PAUSE]
    assert rest == [names[1], str(folder / "2.mp4")]
