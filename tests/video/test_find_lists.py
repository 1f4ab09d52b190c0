"""Lists of paths on stdin, globs in folders with brackets, and links below folders."""

import io
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from tests.support import clips
from tests.support.public_cases import public_case
from timesformer_cli.errors import UsageError
from timesformer_cli.video.find import find_videos

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux file names")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(arguments: list[str], stdin: bytes = b"") -> list[str]:
    return [item.path for item in find_videos(arguments, io.BytesIO(stdin)) if not item.error]


def listed(stdin: bytes) -> list[str]:
    return [item.path for item in find_videos(["-"], io.BytesIO(stdin))]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\r", "\n\n"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_a_list_is_read_in_every_common_encoding(encoding, separator):
    names = ["a b.mp4", "dir/動作.mp4", "é.mp4"]
    text = separator.join([*names, ""])
    assert listed(text.encode(encoding)) == names


@pytest.mark.parametrize("names", [["a.mp4", "b c.mp4"], [".", "./a.mp4"], ["line\nbreak.mp4"]])
def test_names_with_nul_between_them_are_a_list_too(names):
    Path("line\nbreak.mp4").touch()
    Path("a.mp4").touch()
    expected = [os.path.abspath(name) for name in names if name != "."]
    stdin = b"".join(name.encode() + b"\0" for name in names)
    assert {os.path.abspath(path) for path in listed(stdin)} >= set(expected)


@linux_only
def test_bytes_that_are_no_text_are_names():
    for name in (b"caf\xe9.mp4", b"\xff\xfe"[1:] + b"x.mp4"):
        Path(os.fsdecode(name)).touch()
        assert found(["-"], name + b"\nmissing.mp4\n") == [os.fsdecode(name)]


@pytest.mark.parametrize("name", ["list_not_utf8.txt", "list_bom.txt"])
def test_the_lists_of_the_public_cases_give_a_row_a_line(name):
    rows = find_videos(["-"], io.BytesIO(public_case(name).read_bytes()))
    assert len(rows) == 2 and rows[0].path == "data/tables/d.mp4"


def test_quotes_spaces_backslashes_and_the_other_unicode_form_are_seen_through():
    nfd = unicodedata.normalize("NFD", "dir/café.mp4")
    touch(Path("a b.mp4"), Path("sub/e.mp4"), Path(nfd), Path("stem.mkv"))
    said: list[str] = []
    lines = ['"a b.mp4"', "'a b.mp4'", " a b.mp4 ", "sub\\e.mp4", "dir/café.mp4", "stem"]
    rows = find_videos(["-"], io.BytesIO("\n".join(lines).encode()), note=said.append)
    assert [row.path for row in rows] == ["a b.mp4", "sub/e.mp4", nfd, "stem.mkv"]
    assert said == ["stdin: 5 paths are not there as written; '\"a b.mp4\"' was read as 'a b.mp4'"]


@linux_only
def test_a_name_that_is_there_is_never_read_otherwise():
    for name in ('"q".mp4', '"a b.mp4"', "sub\\e.mp4", "x[1]*.mp4", "a b.mp4"):
        Path(name).touch()
        assert listed(name.encode()) == [name]


def test_a_stem_of_several_videos_is_an_error_of_its_own():
    touch(Path("v.mp4"), Path("v.avi"))
    (row,) = find_videos(["-"], io.BytesIO(b"v\n"))
    assert row.path == "v" and "v.avi or v.mp4" in str(row.error)


@pytest.mark.parametrize("container", ["mp4", "avi", "mkv", "ts", "flv", "wmv", "mpg", "h264"])
def test_a_video_on_stdin_is_told_from_a_list(container):
    clips.write(Path(f"clip.{container}"), 12)
    with pytest.raises(UsageError, match=r"stdin holds a video \(.*give its path"):
        find_videos(["-"], io.BytesIO(Path(f"clip.{container}").read_bytes()))


@pytest.mark.parametrize("head", [b"GIF89a\x20\0", b"OggS\0\x02", b"RIFF\x10\0\0\0WEBPVP8X"])
def test_so_are_other_kinds(head):
    with pytest.raises(UsageError, match=r"stdin holds a video"):
        find_videos(["-"], io.BytesIO(head + bytes(100)))


def test_of_a_video_on_stdin_the_beginning_is_read():
    def endless():
        yield b"\0\0\0\x18ftypisom" + bytes(5000)
        raise AssertionError("read on")

    with pytest.raises(UsageError, match="stdin holds a video"):
        find_videos(["-"], endless())


def test_other_binary_data_is_no_list_and_names_like_magic_are():
    with pytest.raises(UsageError, match="stdin holds no text"):
        find_videos(["-"], io.BytesIO(bytes(range(1, 255)) * 20))
    names = [b"GIF89a.mp4", b"OggS.ogv", b"RIFF/x.avi"]
    assert listed(b"\n".join(names)) == [name.decode() for name in names]


@pytest.mark.parametrize("stdin", [b"", b"\n\r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"  \n"])
def test_an_empty_list_is_said(stdin):
    with pytest.raises(UsageError, match="stdin is empty"):
        find_videos(["-"], io.BytesIO(stdin))


@linux_only
def test_a_terminal_is_told_that_paths_are_waited_for():
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "timesformer_cli", "classify", "-"]
    with subprocess.Popen(command, stdin=theirs, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        os.write(ours, b"\x04")
        rest = process.stderr.read()
    for end in (ours, theirs):
        os.close(end)
    assert "waiting for paths of videos on stdin" in said
    assert "stdin is empty" in rest and process.returncode == 2


def test_stdin_named_twice_is_read_once():
    assert len(find_videos(["-", "-"], io.BytesIO(b"a.mp4\n"))) == 1


def test_folders_that_exist_are_no_pattern():
    touch(*map(Path, ("br [2020]/a.mp4", "br [2020]/sub/b.mp4", "[x]/[y]/c.mp4", "x/d.mp4")))
    assert found(["br [2020]/*.mp4"]) == ["br [2020]/a.mp4"]
    assert found(["br [2020]/**/*.mp4"]) == ["br [2020]/a.mp4", "br [2020]/sub/b.mp4"]
    assert found(["[x]/[y]/?.mp4"]) == ["[x]/[y]/c.mp4"]
    assert found(["[xy]/*.mp4"]) == ["x/d.mp4"]
    assert found(["*/[[]y]/*.mp4"]) == ["[x]/[y]/c.mp4"]
    assert found([f"{os.getcwd()}/[x]//[y]/*"]) == [f"{os.getcwd()}/[x]/[y]/c.mp4"]


def test_the_brackets_of_the_public_cases():
    assert len(found([str(public_case("brackets [2020]") / "*.mp4")])) == 1


def test_two_stars_reach_every_depth():
    touch(*map(Path, ("a.mp4", "s/b.mp4", "s/t/c.mp4", "s/.h/d.mp4")))
    Path("s/up").symlink_to("..")
    Path("s/t/top").symlink_to(os.getcwd())
    assert found(["**/*.mp4"]) == ["a.mp4", "s/b.mp4", "s/t/c.mp4"]
    assert found(["s/**"]) == ["s/b.mp4", "s/t/c.mp4"]
    assert found(["**/*"]) == ["a.mp4", "s/b.mp4", "s/t/c.mp4"]
    assert found(["**/t/*.mp4"]) == ["s/t/c.mp4"]


def test_linked_folders_are_followed_each_once(tmp_path):
    real = tmp_path / "real"
    touch(real / "a.mp4", real / "deep/b.mp4", tmp_path / "top/own/c.mp4")
    top = tmp_path / "top"
    for name in ("again", "link"):
        (top / name).symlink_to(real)
    (top / "a_own").symlink_to("own")
    (top / "own" / "loop").symlink_to(top)
    (top / "own" / "above").symlink_to(tmp_path)
    (real / "back").symlink_to(top)
    assert found([str(top)]) == [
        str(top / name) for name in ("again/a.mp4", "again/deep/b.mp4", "own/c.mp4")
    ]


def test_links_to_nothing_are_said(tmp_path):
    touch(tmp_path / "a.mp4")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "notes.txt").symlink_to("nowhere.txt")
    rows = find_videos([str(tmp_path)])
    assert [(Path(row.path).name, row.error and row.error.kind) for row in rows] == [
        ("a.mp4", None),
        ("gone", "not_found"),
    ]
    assert "link to a file that does not exist" in str(rows[1].error)


def test_linked_folders_of_pictures_are_found(tmp_path):
    touch(tmp_path / "far/1.png", tmp_path / "top/own/1.jpg")
    (tmp_path / "top/more").symlink_to(tmp_path / "far")
    rows = find_videos([str(tmp_path / "top")], fps=25)
    assert [(Path(row.path).name, row.fps) for row in rows] == [("more", 25), ("own", 25)]


@linux_only
@pytest.mark.parametrize("name", ["sub\\gone.mp4", "C:\\clips\\a.mp4", "\\\\host\\a.mp4"])
def test_a_windows_path_that_is_not_here_is_told_why(name):
    (row,) = find_videos(["-"], io.BytesIO(name.encode()))
    assert row.path == name and "here `/` parts folders" in str(row.error)
