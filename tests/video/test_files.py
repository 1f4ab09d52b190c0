"""Opening files safely, and finding those a user means."""

import io
import os
import socket
import sys
from pathlib import Path

import pytest

from timesformer_cli.errors import VideoError
from timesformer_cli.video.find import find_videos
from timesformer_cli.video.safe_file import VideoFile

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux file names")


def kind_of(path: Path | str) -> str:
    with pytest.raises(VideoError) as caught, VideoFile(os.fspath(path)):
        pass
    assert str(caught.value)
    return caught.value.kind


def found(arguments: list[str], stdin: str = "") -> list[str]:
    return [item.path for item in find_videos(arguments, io.StringIO(stdin)) if not item.error]


def test_what_is_no_regular_file_is_refused_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "dangling.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    server = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path)  # a socket's whole path may have 108 bytes
    server.bind("socket.mp4")
    server.close()
    assert kind_of(tmp_path / "pipe.mp4") == "not_a_file"
    assert kind_of(tmp_path / "socket.mp4") == "not_a_file"
    assert kind_of(tmp_path) == "not_a_file"
    assert kind_of("/dev/null") == "not_a_file"
    assert kind_of(tmp_path / "empty.mp4") == "empty_file"
    for name in ("missing.mp4", "dangling.mp4", "loop.mp4", "empty.mp4/x", "a\0b", "x" * 5000):
        assert kind_of(f"{tmp_path}/{name}") == "not_found"


def test_a_url_is_named_as_one() -> None:
    with pytest.raises(VideoError, match="is a URL"):
        VideoFile("https://example.com/clip.mp4")
    (item,) = find_videos(["https://example.com/clip.mp4?id=3"])
    assert item.error is not None and "is a URL" in str(item.error)


def test_permission_denied_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"x")
    (tmp_path / "secret.mp4").chmod(0)
    if os.access(tmp_path / "secret.mp4", os.R_OK):  # root may read everything

        def refuse(path: str, flags: int) -> int:
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr(os, "open", refuse)
    assert kind_of(tmp_path / "secret.mp4") == "permission_denied"


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n",
        "\ufeff#EXTM3U\n",
        "ffconcat version 1.0\nfile other.mp4\n",
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011">',
        "v=0\no=- 0 0 IN IP4 127.0.0.1\n",
        "s=x\r\nc=IN IP4 127.0.0.1\r\n",
        "rtsp://127.0.0.1/x",
        "http://127.0.0.1/x.mp4",
    ],
)
def test_playlists_are_refused_by_their_content(tmp_path: Path, text: str) -> None:
    (tmp_path / "clip.mp4").write_text(text, encoding="utf-8")
    assert kind_of(tmp_path / "clip.mp4") == "playlist"


def test_text_never_reaches_a_decoder(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_text(f"<?xml version='1.0'?><!--{'x' * 5000}--><MPD>")
    with pytest.raises(VideoError, match="is a text file") as caught:
        VideoFile(str(path))
    assert caught.value.kind == "cannot_decode"


@linux_only
def test_no_name_reaches_a_decoder_on_linux(tmp_path: Path) -> None:
    path = tmp_path / "concat:a|b%03d.mp4"
    path.write_bytes(b"data\0")
    with VideoFile(os.fspath(path)) as file:
        assert file.source.startswith("/proc/self/fd/")
        assert Path(file.source).read_bytes() == b"data\0"
        number = int(file.source.rsplit("/", 1)[1])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_directories_are_walked_in_order_for_video_suffixes(tmp_path: Path) -> None:
    for name in ("b.MP4", "a.webm", "notes.txt", ".hidden.mp4", "sub/c.avi", ".git/d.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    expected = [str(tmp_path / name) for name in ("a.webm", "b.MP4", "sub/c.avi")]
    assert found([str(tmp_path)]) == expected


def test_globs_the_shell_left_alone_are_expanded(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.mp4", "sub/c.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert found([f"{tmp_path}/*.mp4"]) == [f"{tmp_path}/a.mp4", f"{tmp_path}/b.mp4"]
    assert len(found([f"{tmp_path}/**/*.mp4"])) == 3


def test_a_name_that_exists_wins_over_the_glob_it_looks_like(tmp_path: Path) -> None:
    for name in ("clip[1].mp4", "clip1.mp4"):
        (tmp_path / name).write_bytes(b"x")
    assert found([f"{tmp_path}/clip[1].mp4"]) == [f"{tmp_path}/clip[1].mp4"]


def test_what_is_not_there_becomes_an_item_with_an_error_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"x")
    (tmp_path / "bare").mkdir()
    arguments = ["missing.mp4", f"{tmp_path}/bare", f"{tmp_path}/clip.mp4", f"{tmp_path}/*.xyz"]
    items = find_videos(arguments)
    assert [item.path for item in items] == arguments
    assert [item.error and item.error.kind for item in items] == [
        "not_found",
        "no_videos",
        None,
        "not_found",
    ]


def test_each_file_is_kept_once_in_the_order_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        Path(name).write_bytes(b"x")
    assert found(["b.mp4", ".", "./b.mp4", str(tmp_path / "a.mp4")]) == ["b.mp4", "./a.mp4"]


@linux_only
def test_a_dash_reads_paths_from_stdin_as_they_are(tmp_path: Path) -> None:
    odd = os.fsdecode(bytes(tmp_path) + b"/caf\xe9 [1]*.mp4")
    Path(odd).write_bytes(b"x")
    assert found(["-"], f"\n{odd}\r\n") == [odd]
    (item,) = find_videos(["-"], io.StringIO("no*.mp4\n"))
    assert item.error is not None and item.error.kind == "not_found"
