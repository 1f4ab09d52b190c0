"""What a cluster is given: local names, object storage, tar shards, columns of Parquet."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from tests.support import clips
from tests.support.storage import FlakyStorage, storage
from timesformer_cli.callbacks import ignore_note
from timesformer_cli.errors import UsageError, VideoError
from timesformer_cli.scale.inputs import Input, members, name_inputs, to_table
from timesformer_cli.scale.storage import decodable
from timesformer_cli.video.safe_file import VideoFile

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

__all__ = ["storage"]


def named(*names: object, stdin: bytes = b"") -> list[Input]:
    return list(name_inputs(list(map(str, names)), stdin.splitlines(True), ignore_note))


def shard(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def read(found: Input) -> bytes:
    with decodable(found.source, found.offset, found.size) as path:
        return Path(path).read_bytes()


def test_local_names_mean_what_they_mean_to_every_command(tmp_path, monkeypatch):
    for name in ("b.mp4", "a.mp4"):
        clips.write(tmp_path / name, 4)
    monkeypatch.chdir(tmp_path)
    found = named(".", "nowhere.mp4")
    assert [one.video for one in found] == ["./a.mp4", "./b.mp4", "nowhere.mp4"]
    assert found[0].source == str(tmp_path / "a.mp4"), "workers have other current folders"
    assert [one.kind for one in found] == ["", "", "not_found"]
    assert [one.video for one in named("-", stdin=b"a.mp4\ns3://x/y.mp4\n")] == [
        "s3://x/y.mp4",
        "a.mp4",
    ]


def test_a_column_of_parquet_names_videos(tmp_path):
    path = tmp_path / "list.parquet"
    names = ["a.mp4", "s3://x/b.mp4", None, "a.mp4"]
    parquet.write_table(pyarrow.table({"file": names}), path)
    assert to_table(named(f"{path}#file"))["video"].to_pylist() == ["a.mp4", "s3://x/b.mp4"]
    with pytest.raises(UsageError, match=r"no column 'video'.*file"):
        named(path)
    path.write_bytes(b"no table")
    with pytest.raises(UsageError, match="cannot be read"):
        named(path)


def test_members_of_a_shard_are_read_where_they_lie(tmp_path):
    before = sorted(tmp_path.parent.rglob("*"))
    data = {f"{number}.mp4": os.urandom(700 + number) for number in range(3)}
    path = shard(tmp_path / "s.tar", {**data, "0.json": b"{}"})
    found = members(str(path))
    assert [one.video for one in found] == [f"{path}/{name}" for name in data]
    assert [read(one) for one in found] == list(data.values())
    assert sorted(tmp_path.parent.rglob("*")) == sorted([*before, path])


@pytest.mark.parametrize("name", ["../x.mp4", "a/../../x.mp4", "/etc/x.mp4", "a/.."])
def test_no_name_leads_out_of_a_shard(tmp_path, name):
    name = name if name.endswith("mp4") else name + "/x.mp4"
    (found,) = members(str(shard(tmp_path / "s.tar", {name: b"bytes"})))
    assert found.kind == "unsafe_name"


def test_links_and_devices_in_a_shard_are_no_videos(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE)):
            info = tarfile.TarInfo(f"{number}.mp4")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    assert [one.kind for one in members(str(tmp_path / "s.tar"))] == ["not_a_file"] * 3


@pytest.mark.parametrize("cut", [700, 1536, 1700, 2600, 3000])
def test_of_a_cut_shard_the_whole_members_are_read(tmp_path, cut):
    data = {f"{number}.mp4": bytes([number]) * 1000 for number in range(3)}
    path = shard(tmp_path / "s.tar", data)
    path.write_bytes(path.read_bytes()[:cut])
    *found, last = members(str(path))
    assert (last.video, last.kind) == (str(path), "truncated_shard")
    whole = found[: cut // 1536]
    assert [read(one) for one in whole] == list(data.values())[: len(whole)]
    for one in found[len(whole) :]:
        with pytest.raises(VideoError) as caught:
            read(one)
        assert caught.value.kind == "truncated_shard"


def test_what_is_no_tar_file_is_one_row(tmp_path):
    path = tmp_path / "s.tar"
    path.write_bytes(os.urandom(5000))
    (found,) = members(str(path))
    assert found.kind == "bad_shard"


def test_bytes_of_the_network_are_a_file_without_a_name(storage: FlakyStorage):
    data = clips.write(storage.folder / "a.mp4", 8).read_bytes()
    storage.put("x/a b%20.mp4", data)
    storage.put("x/y/b.MP4", data)
    storage.put("x/notes.txt", b"no video")
    url = f"s3://{storage.bucket}/x"
    found = named(url)
    assert [one.video for one in found] == [f"{url}/a b%20.mp4", f"{url}/y/b.MP4"]
    assert [one.video for one in named(f"{url}/*b%20*")] == [f"{url}/a b%20.mp4"]
    assert named(f"{url}/none*.mp4")[0].kind == "not_found"
    with decodable(found[0].source, -1, 0) as path:
        assert path.startswith("/proc/") and Path(path).read_bytes() == data
        VideoFile(path).close()  # decoders open it as any other file
    assert not os.path.exists(path)


def test_a_request_that_fails_is_made_again(storage: FlakyStorage):
    storage.put("a.mp4", b"x" * 100_000)
    storage.failing = 0.3
    url = f"s3://{storage.bucket}/a.mp4"
    for _ in range(20):
        assert read(Input(url, url)) == b"x" * 100_000
    assert storage.failed > 3
    storage.failing = 0.0
    with pytest.raises(VideoError) as caught:
        read(Input(url, f"{url}.none"))
    assert caught.value.kind == "not_found"


def test_a_shard_is_listed_though_requests_fail(storage: FlakyStorage, tmp_path):
    data = {f"{number}.mp4": os.urandom(20_000) for number in range(30)}
    storage.put("s.tar", shard(tmp_path / "s.tar", data).read_bytes())
    storage.failing = 0.3
    url = f"s3://{storage.bucket}/s.tar"
    assert [one.video for one in members(url)] == [f"{url}/{name}" for name in data]
    assert storage.failed > 3
    for cut in (
        20_300,
        20_512,
        41_000,
        50_000,
    ):  # in the first content, at its end, in a header, later
        storage.put("s.tar", (tmp_path / "s.tar").read_bytes()[:cut])
        (tmp_path / "cut.tar").write_bytes((tmp_path / "s.tar").read_bytes()[:cut])
        found, local = members(url), members(str(tmp_path / "cut.tar"))
        assert [one[2:] for one in found] == [one[2:] for one in local]
        assert found[-1].kind == "truncated_shard" and found[0].offset == 512


def test_wrong_credentials_are_one_line(storage: FlakyStorage):
    storage.denying = True
    with pytest.raises(UsageError) as caught:
        named(f"s3://{storage.bucket}/x/")
    assert "ACCESS_DENIED" in str(caught.value) and "\n" not in str(caught.value)
    url = f"s3://{storage.bucket}/a.mp4"
    with pytest.raises(VideoError) as denied:
        read(Input(url, url))
    assert denied.value.kind == "cannot_fetch" and "\n" not in str(denied.value)


def test_a_web_server_is_read_file_by_file_and_by_its_lists(tmp_path):
    import threading
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    pytest.importorskip("aiohttp")
    (tmp_path / "v").mkdir()
    data = clips.write(tmp_path / "v" / "a.mp4", 8).read_bytes()
    (tmp_path / "v" / "notes.txt").write_text("no video")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.func.log_message = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/v"
        (one,) = named(f"{url}/a.mp4")
        assert read(one) == data
        assert [found.video for found in named(f"{url}/")] == [f"{url}/a.mp4"]
        with pytest.raises(VideoError) as caught:
            read(Input("x", f"{url}/none.mp4"))
        assert caught.value.kind == "not_found"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
