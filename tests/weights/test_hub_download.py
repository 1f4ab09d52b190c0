"""Files from plain URLs, from a real server on loopback that has real faults."""

import hashlib
import os
import random
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.hub import python, serving, until
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.catalogue import WEIGHTS, Weights
from timesformer_cli.weights.digest import SHA256, Digest
from timesformer_cli.weights.hub import download as fetching
from timesformer_cli.weights.hub import locate as names
from timesformer_cli.weights.hub.download import Source, download_file
from timesformer_cli.weights.hub.stall import TransferState, TransferStopped, run_watched

FILE, SIZE = "model.pth", 400_000
CONTENT = random.Random(0).randbytes(SIZE)
PROOF = hashlib.sha256(CONTENT).hexdigest()
WHOLE = Digest(PROOF)
FETCH = """
import sys
from pathlib import Path
from timesformer_cli.weights.hub import locate
from timesformer_cli.weights.catalogue import WEIGHTS, Weights
from timesformer_cli.errors import WeightsError
url, digits, cache = sys.argv[1:]
WEIGHTS["plain"] = Weights(
    name="plain",
    about="", frames=8, stride=8, size=64, classes=2, licence="", url=url, sha256=digits
)
try:
    print(locate.fetch("plain", cache_dir=Path(cache)))
except WeightsError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "PAUSES", (0.01,) * 4)
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / FILE).write_bytes(CONTENT)
    with serving(folder) as hub:
        yield hub


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def get(server, folder: Path, *, digest: Digest = WHOLE, **more) -> Path:
    url = more.pop("url", f"{server.endpoint}/plain/{FILE}")
    source = Source(name=FILE, url=url, digest=digest, **more)
    target, part, lock = (folder / f"{FILE}{end}" for end in ("", ".part", ".lock"))
    download_file(source, target, part=part, lock=lock, watch=TransferState(3.0), record=True)
    return target


def left(folder: Path) -> set[str]:
    """What lies there, but for the lock, which may."""
    return {path.name for path in folder.glob("*") if path.suffix != ".lock"}


@pytest.fixture
def plain(server, monkeypatch):
    row = Weights(
        name="plain",
        about="",
        frames=8,
        stride=8,
        size=64,
        classes=2,
        licence="",
        url=f"{server.endpoint}/plain/{FILE}",
        sha256=PROOF[:8],
    )
    monkeypatch.setitem(WEIGHTS, "plain", row)
    return row


def test_a_file_is_fetched_once_with_its_hash_beside_it(server, plain, folder):
    assert names.cached("plain", cache_dir=folder) is None
    with pytest.raises(
        WeightsError, match=r"offline; where .* fetch http.*/plain/model\.pth and give"
    ):
        names.locate("plain", cache_dir=folder, offline=True)
    located = names.locate("plain", cache_dir=folder)
    path, row = located.path, located.row
    assert path == folder / "weights" / "plain" / FILE and path.read_bytes() == CONTENT
    assert row is plain
    assert Path(f"{path}.sha256").read_text() == f"{PROOF}  {FILE}\n"  # as sha256sum -c reads it
    assert left(path.parent) == {FILE, f"{FILE}.sha256"}
    assert names.locate("plain", cache_dir=folder, offline=True).path == path
    assert names.cached("plain", cache_dir=folder) == path
    assert server.gets(FILE) == [None]


@pytest.mark.parametrize("digits", [PROOF[:8], None])
def test_verify_finds_and_removes_what_has_changed(server, plain, folder, monkeypatch, digits):
    changed = Weights(
        **{name: getattr(plain, name) for name in plain.__slots__} | {"sha256": digits}
    )
    monkeypatch.setitem(WEIGHTS, "plain", changed)
    assert names.verify_files("plain", cache_dir=folder) == ()
    path = names.fetch("plain", cache_dir=folder)
    assert [checked.state for checked in names.verify_files("plain", cache_dir=folder)] == ["ok"]
    path.write_bytes(CONTENT[:-1] + b"?")
    (checked,) = names.verify_files("plain", cache_dir=folder)
    assert checked.state == "bad" and "tsf download-weights plain" in checked.note
    assert left(path.parent) == set()
    assert names.cached("plain", cache_dir=folder) is None


def test_a_cached_file_of_the_wrong_size_is_fetched_again(server, plain, folder):
    path = names.fetch("plain", cache_dir=folder)
    path.write_bytes(CONTENT[:-1])
    assert names.cached("plain", cache_dir=folder) is None
    with pytest.raises(
        WeightsError, match=r"model\.pth: 399,999 bytes, not 400,000; tsf is offline; .* fetch http"
    ):
        names.locate("plain", cache_dir=folder, offline=True)
    server.faults["GET", FILE] = [404]
    with pytest.raises(
        WeightsError,
        match=r"399,999 bytes, not 400,000; it cannot be fetched again: .*answered 404",
    ):
        names.locate("plain", cache_dir=folder)
    assert names.locate("plain", cache_dir=folder).path == path
    assert path.read_bytes() == CONTENT
    assert server.gets(FILE) == [None, None, None]


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("TSF_CACHE", str(tmp_path / "ours"))
    assert names.default_cache() == tmp_path / "ours"
    monkeypatch.delenv("TSF_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert names.default_cache() == tmp_path / "timesformer_cli"


FLEETING = {
    "overloaded, then fine": [503, 500, 429],
    "cut at once": [0.0],
    "cut before it answers": ["drop", "drop"],
    "cut half way, three times": [0.5, 0.5, 0.5],
    "cut, then ranges ignored": [0.5, "whole"],
    "cut, then another range": [0.5, "shift"],
    "cut, then other bytes": [0.5, "wrong"],
}


@pytest.mark.parametrize("faults", FLEETING.values(), ids=FLEETING)
def test_what_passes_is_sat_out(server, folder, faults):
    server.faults["GET", FILE] = list(faults)
    assert get(server, folder).read_bytes() == CONTENT
    assert left(folder) == {FILE, f"{FILE}.sha256"}
    assert not server.faults["GET", FILE]
    if faults == [0.5, "shift"]:  # it was not even taken in
        assert server.gets(FILE) == [None, f"bytes={SIZE // 2}-", None]


def test_a_cut_download_goes_on_where_it_was(server, folder):
    server.faults["GET", FILE] = [0.5]
    get(server, folder)
    assert server.gets(FILE) == [None, f"bytes={SIZE // 2}-"]


def test_without_a_digest_nothing_is_joined(server, folder):
    server.faults["GET", FILE] = [0.5]
    assert get(server, folder, digest=SHA256).read_bytes() == CONTENT
    assert server.gets(FILE) == [None, None]


LASTING = {
    "always overloaded": ([503] * 9, "answered 503, 5 times in a row", 5),
    "always cut at once": ([0.0] * 9, "broke off, 5 times in a row", 5),
    "gone": ([404], "answered 404", 1),
    "forbidden": ([403], "answered 403", 1),
    "other bytes": (["wrong"], "is not what was published", 1),
    "of no told length": (["unsized"], "does not say how large", 1),
    "compressed": (["coded"], "does not say how large", 1),
}


@pytest.mark.parametrize(("faults", "words", "tries"), LASTING.values(), ids=LASTING)
def test_what_does_not_pass_is_said_and_leaves_nothing(server, folder, faults, words, tries):
    server.faults["GET", FILE] = list(faults)
    with pytest.raises(WeightsError, match=words) as raised:
        get(server, folder)
    assert "\n" not in str(raised.value)
    assert len(server.gets(FILE)) == tries
    assert not {name for name in left(folder) if (folder / name).stat().st_size}


REMAINS = {
    "its beginning": (CONTENT[:1000], ["bytes=1000-"]),
    "all of it": (CONTENT, []),
    "another beginning": (b"?" * 1000, ["bytes=1000-", None]),
    "as many other bytes": (b"?" * SIZE, [None]),
    "more than there is": (CONTENT + b"?", [f"bytes={SIZE + 1}-", None]),
}


@pytest.mark.parametrize(("remains", "ranges"), REMAINS.values(), ids=REMAINS)
def test_what_an_earlier_run_left_is_used_or_thrown_away(server, folder, remains, ranges):
    folder.mkdir()
    (folder / f"{FILE}.part").write_bytes(remains)
    assert get(server, folder, size=SIZE).read_bytes() == CONTENT
    assert server.gets(FILE) == ranges
    assert left(folder) == {FILE, f"{FILE}.sha256"}


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"largest": SIZE - 1}, f"400,000 bytes on .*, at most {SIZE - 1:,}"),
        ({"size": SIZE - 1}, "400,000 bytes on .*, not 399,999"),
    ],
)
def test_another_size_than_expected_is_refused_before_it_is_taken(server, folder, bounds, words):
    with pytest.raises(WeightsError, match=words):
        get(server, folder, **bounds)
    assert left(folder) == set()


def test_redirects_are_followed_and_the_token_stays_at_home(server, folder):
    other = server.endpoint.replace("127.0.0.1", "localhost")
    server.moved = {"/start": "/next", "/next": f"{other}/plain/{FILE}"}
    headers = {"Authorization": "Bearer secret"}
    get(server, folder, url=f"{server.endpoint}/start", headers=headers)
    assert [asked.token for asked in server.asked] == ["Bearer secret", "Bearer secret", None]


@pytest.mark.parametrize(
    "place", ["http://example.org/model.pth", "ftp://example.org/model.pth", "file:///etc/passwd"]
)
def test_only_https_is_taken_even_after_a_redirect(server, folder, place):
    with pytest.raises(WeightsError, match="https only"):
        get(server, folder, url=place)
    server.moved = {"/start": place}
    with pytest.raises(WeightsError, match=r"https only|answered 302"):
        get(server, folder, url=f"{server.endpoint}/start")
    assert left(folder) == set()


def test_a_server_out_of_reach_is_said_at_once(server, plain, folder, monkeypatch):
    monkeypatch.setattr(fetching, "PAUSES", (30.0,) * 4)
    nowhere = replace(plain, name="nowhere", url=f"http://127.0.0.1:1/{FILE}")
    monkeypatch.setitem(WEIGHTS, "nowhere", nowhere)
    began = time.monotonic()
    with pytest.raises(WeightsError, match="cannot be reached"):
        get(server, folder, url=f"http://127.0.0.1:1/{FILE}")
    with pytest.raises(
        WeightsError, match=rf"refused\); .*, fetch {nowhere.url}, and give its path"
    ):
        names.fetch("nowhere", cache_dir=folder)
    assert time.monotonic() - began < 5


def test_a_silent_server_is_given_up_and_the_next_run_completes(server, plain, folder):
    server.faults["GET", FILE] = [0.5, *["hang"] * 9]
    began = time.monotonic()
    with pytest.raises(WeightsError, match=r"no byte came for 1 s"):
        names.fetch("plain", cache_dir=folder, stall=1.0)
    assert time.monotonic() - began < 10
    assert names.cached("plain", cache_dir=folder) is None
    server.faults.clear()
    assert names.fetch("plain", cache_dir=folder).read_bytes() == CONTENT
    assert server.gets(FILE)[-1] == f"bytes={SIZE // 2}-"


def test_a_slow_server_is_waited_for_and_reported_on(server, plain, folder):
    server.faults["GET", FILE] = ["slow"]  # 2.5 s in all, and never 2 s of silence
    seen: list[tuple[str, int, int | None, int]] = []
    watcher = threading.get_ident()

    def progress(file: str, done: int, total: int | None) -> None:
        assert threading.get_ident() == watcher
        seen.append((file, done, total, len(seen)))

    names.fetch("plain", cache_dir=folder, stall=2.0, progress=progress)
    done = [entry[1] for entry in seen]
    assert done == sorted(done) and done[-1] == SIZE and len(done) >= 5
    assert {(file, total) for file, _, total, _ in seen} == {(FILE, SIZE)}


def test_an_error_in_the_work_is_the_callers(folder):
    def work(watch: TransferState) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_watched(work, "it", None, 5.0)


def test_work_that_nobody_waits_for_any_more_ends():
    ended = threading.Event()

    def work(watch: TransferState) -> None:
        try:
            while True:
                watch.report("it", 0, None)
                time.sleep(0.01)
        except TransferStopped:
            ended.set()

    def progress(file: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_watched(work, "it", progress, 5.0)
    assert ended.wait(30)


def test_too_little_room_is_said_before_anything_is_taken(server, folder, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=300_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(WeightsError, match=r"takes 0\.4 MB more and .* has 0\.3 MB free"):
        get(server, folder)
    assert left(folder) == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_fills_up_is_said(server, folder):
    folder.mkdir()
    (folder / f"{FILE}.part").symlink_to("/dev/full")  # ENOSPC from the kernel itself
    with pytest.raises(WeightsError, match=r"No space left on device.*; make room"):
        get(server, folder)
    assert not (folder / FILE).exists()
    assert server.gets(FILE) == [None]


def test_a_place_that_cannot_be_written_is_said(server, folder):
    folder.write_text("in the way")
    with pytest.raises(WeightsError, match="cannot be written"):
        get(server, folder)


def test_two_processes_make_one_transfer(server, folder):
    server.faults["GET", FILE] = ["slow"]
    url = f"{server.endpoint}/plain/{FILE}"
    two = [python(FETCH, url, PROOF[:8], folder) for _ in range(2)]
    ended = [process.communicate(timeout=60) for process in two]
    assert [errors for _, errors in ended] == ["", ""]
    assert len({output for output, _ in ended}) == 1
    assert server.gets(FILE) == [None]


def test_after_a_kill_nothing_looks_complete_and_the_next_run_completes(server, plain, folder):
    server.faults["GET", FILE] = ["stuck"]
    part = folder / "weights" / "plain" / f"{FILE}.part"
    process = python(FETCH, plain.url, PROOF[:8], folder)
    until(lambda: part.exists() and part.stat().st_size > 0)
    process.kill()
    process.communicate()
    had = part.stat().st_size
    assert 0 < had < SIZE
    assert names.cached("plain", cache_dir=folder) is None
    assert names.fetch("plain", cache_dir=folder).read_bytes() == CONTENT
    assert server.gets(FILE) == [None, f"bytes={had}-"]


@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise there")
def test_an_interrupt_ends_it_at_once(server, folder):
    server.faults["GET", FILE] = ["hang"]
    process = python(FETCH, f"{server.endpoint}/plain/{FILE}", PROOF[:8], folder)
    until(lambda: server.gets(FILE))
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - began < 10  # and not the minute that the server would take
    assert "KeyboardInterrupt" in errors


def test_finding_weights_needs_neither_torch_nor_the_hubs_client():
    code = "import sys, timesformer_cli.weights.hub.locate\nprint({'torch', 'huggingface_hub'} & {*sys.modules})"
    assert python(code).communicate(timeout=60) == ("set()\n", "")
