"""The server's process: what it refuses before it begins, and what is left when it is killed."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from tests.support import clips
from tests.support.serving import Served, runs
from timesformer_cli.cli.app import app
from timesformer_cli.files import scratch_folder

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "can be reached from other machines, so requests need a token"),
        (["--host", "::"], "can be reached from other machines"),
        (["--host", "no.such.host.invalid"], "is no address of this machine"),
        (["--root", "nowhere"], "--root nowhere: is no folder"),
        (["--token-file", "nowhere"], "--token-file nowhere: cannot be read"),
        (["--token-file", "short"], "holds no token: one word of 16 characters or more"),
        (["--token-file", "spaced"], "holds no token"),
        (["--max-upload", "much"], "--max-upload is a size such as 8GiB or 500MB"),
        (["--port", "TAKEN"], "cannot be had (Address already in use); --port 0 takes a free one"),
        (["--port", "99999"], "--port"),
        (["--queue", "0"], "--queue"),
        (["--device", "gpu"], "gpu"),
        (["--labels", "a,b", "--none-below", "9"], "--none-below is a similarity"),
        (["--labels", "no such class"], "no such class"),
        (["--model", "nowhere.pth"], "nowhere.pth"),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_one_line(words, said, tmp_path, monkeypatch, model_folder):
    monkeypatch.chdir(tmp_path)
    Path("short").write_text("secret\n")
    Path("spaced").write_text("not a token but a sentence\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = [str(taken.getsockname()[1]) if word == "TAKEN" else word for word in words]
        ran = CliRunner().invoke(
            app, ["serve", "--model", str(model_folder), "--port", "0", *words]
        )
    assert ran.exit_code in (2, 3) and ran.stdout == ""
    (line,) = ran.stderr.strip().splitlines()
    assert line.startswith("error: ") and said in line


def test_a_missing_package_is_named_with_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    ran = CliRunner().invoke(app, ["serve"])
    assert ran.exit_code == 2
    assert "tsf serve needs uvicorn, which is not installed: pip install" in ran.stderr


HOLDS = """
    import sys, time
    from timesformer_cli.files import scratch_folder
    with scratch_folder("tsf-test") as folder:
        (folder / "upload").write_bytes(b"x")
        print(folder, flush=True)
        time.sleep(60)
"""


@posix_only
def test_what_a_killed_process_leaves_is_removed_by_the_next_and_nothing_else(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "outside").mkdir()
    (tmp_path / "tsf-test-1.lock").touch()
    (tmp_path / "tsf-test-1").symlink_to(tmp_path / "outside")
    (tmp_path / "outside" / "kept").touch()
    command = [sys.executable, "-c", textwrap.dedent(HOLDS)]
    killed, living = (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    try:
        left, kept = (Path(each.stdout.readline().strip()) for each in (killed, living))
        killed.kill()
        killed.wait()
        assert (left / "upload").exists()
        with scratch_folder("tsf-test") as mine:
            assert not left.exists() and (kept / "upload").exists()
            assert mine.stat().st_mode & 0o777 == 0o700
        assert {path.name for path in tmp_path.glob("tsf-test*")} == {
            kept.name,
            f"{kept.name}.lock",
        }
        assert (tmp_path / "outside" / "kept").exists()
    finally:
        for each in (killed, living):
            each.kill()
            each.communicate()


@posix_only
@pytest.mark.slow  # processes that load torch
def test_a_signal_closes_the_door_and_what_was_accepted_is_answered(model_folder, tmp_path):
    video = clips.write(tmp_path / "clip.mp4", 40).read_bytes()
    head = b"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n"
    head += b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
    body = part + video + b"\r\n--b--\r\n"
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        with Served(tmp_path / "temp", model_folder) as server:
            port = int(server.address.rsplit(":", 1)[1])
            with socket.create_connection(("127.0.0.1", port)) as half:
                half.sendall(head % len(body) + body[: len(body) // 2])
                time.sleep(0.3)
                server.process.send_signal(number)
                time.sleep(0.5)
                with pytest.raises(OSError, match="refused"):
                    socket.create_connection(("127.0.0.1", port), timeout=1)
                half.sendall(body[len(body) // 2 :])
                answer = b""
                while piece := half.recv(65536):
                    answer += piece
            assert answer.startswith(b"HTTP/1.1 200") and b'"status": "ok"' in answer
            assert server.process.wait(10) == code
            assert "Traceback" not in server.said()
        assert list((tmp_path / "temp").iterdir()) == []


@posix_only
@pytest.mark.slow  # processes that load torch
def test_a_killed_server_leaves_no_process_and_the_next_one_removes_its_files(
    model_folder, tmp_path
):
    clips.write(tmp_path / "clip.mp4", 40)
    with Served(
        tmp_path / "temp", model_folder, "--workers", "1", "--root", str(tmp_path)
    ) as server:
        for verb in ("classify", "timeline"):
            answer = httpx2.post(f"{server.address}/v1/{verb}", json={"path": "clip.mp4"})
            assert answer.status_code == 200
        children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
        pids = [int(pid) for file in children for pid in file.read_text().split()]
        assert len(pids) == 2
    left = {path.name for path in (tmp_path / "temp").iterdir()}
    assert len(left) == 2  # a folder and its lock
    time.sleep(1)
    assert not [pid for pid in pids if runs(pid)]
    with Served(tmp_path / "temp", model_folder):
        assert not left & {path.name for path in (tmp_path / "temp").iterdir()}
