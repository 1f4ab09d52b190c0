"""`tsf watch` as a user runs it: labels of a real stream, wrong sources, and how it ends."""

import csv
import io
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.support import live
from timesformer_cli.cli.app import app
from timesformer_cli.cli.show.watch import Told, drawn, show_watched
from timesformer_cli.errors import WeightsError
from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.timelines.watch import WatchedWindow, WatchStatus

EXAMPLES = Path(__file__).parents[2] / "examples"
SHOWN = ["pan_left", "zoom_in", "tilt_up"]


@pytest.fixture(scope="module")
def joined():
    """Three of the example clips, one after another in one transport stream."""
    file = io.BytesIO()
    with av.open(file, "w", format="mpegts") as container:
        out, begins = None, 0
        for name in SHOWN:
            with av.open(str(EXAMPLES / f"{name}.mp4")) as clip:
                stream = clip.streams.video[0]
                out = out or container.add_stream_from_template(stream)
                for packet in clip.demux(stream):
                    if packet.size:
                        packet.pts += int(begins / stream.time_base)
                        packet.dts += int(begins / stream.time_base)
                        packet.stream = out
                        container.mux(packet)
            begins += 3
    return file.getvalue()


@pytest.fixture
def started(tmp_path):
    """A function that starts `tsf watch -`, whose stream never ends, and waits for its first line."""
    processes = []

    def start(data, *words):
        command = "from timesformer_cli.__main__ import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", command, "watch", "-", "--model", "camera-motion", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        processes.append(process)

        def feed():
            try:
                for part in live.paced(live.datagrams(data), 2.0):
                    process.stdin.write(part)
                    process.stdin.flush()
            except (BrokenPipeError, ValueError):
                pass

        threading.Thread(target=feed, daemon=True).start()
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def children(pid):
    """The processes that it has started."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_signal_ends_it_at_once_and_its_child_with_it(joined, started):
    endings = (signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")
    for process, (number, code, word) in [(started(joined), ending) for ending in endings]:
        assert json.loads(process.stdout.readline())["label"] == "pan left"
        (child,) = children(process.pid)
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(10) == code
        assert time.monotonic() - began < 2
        said = process.stderr.read().decode()
        assert word in said and "Traceback" not in said and "windows in" in said
        time.sleep(0.1)
        assert not Path(f"/proc/{child}").exists()


def test_the_labels_of_a_real_stream_are_right_until_its_end(joined, tmp_path):
    out = tmp_path / "answer.csv"
    with live.piped(joined):
        words = ["watch", "-", "--model", "camera-motion", "--every", "3", "-o", str(out)]
        ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.stderr
    assert not ran.stdout and "windows in" in ran.stderr
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [float(row["start"]) for row in rows] == [0, 3, 6]
    assert [row["label"] for row in rows] == [name.replace("_", " ") for name in SHOWN]
    assert list(rows[0])[:5] == ["time", "start", "end", "shot", "label"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["rtsp://user:secret@127.0.0.1:1/x"], 1, "rtsp://127.0.0.1:1/x: connection refused"),
        (["http://127.0.0.1:1/x"], 1, "connection refused"),
        (["udp://127.0.0.1:PORT", "--timeout", "0.5"], 1, "nothing came for 0.5 s"),
        (["gopher://x"], 2, "there are rtsp://"),
        (["EMPTY", "--follow", "--idle", "0.1"], 1, "read while it grows"),
        (["EMPTY"], 2, "--follow"),
        (["nowhere.ts"], 1, "does not exist"),
        (["EMPTY", "--follow", "-o", "EMPTY"], 2, "same file"),
        (["/dev/video99"], 1, "is not there"),
    ],
)
def test_a_wrong_source_is_one_line(words, code, said, tmp_path):
    empty = tmp_path / "empty.ts"
    empty.touch()
    places = {"EMPTY": str(empty), "PORT": str(live.free_port())}
    for place, value in places.items():
        words = [word.replace(place, value) for word in words]
    ran = CliRunner().invoke(app, ["watch", *words, "--model", "camera-motion"])
    assert ran.exit_code == code, ran.stderr
    assert said in ran.stderr and ran.stderr.count("\n") == 1
    assert "secret" not in ran.stderr + ran.stdout


def test_a_url_given_to_classify_points_to_watch():
    ran = CliRunner().invoke(app, ["classify", "rtsp://host/x", "--model", "camera-motion"])
    assert ran.exit_code == 1 and "tsf watch" in ran.stdout + ran.stderr


def window(number, label):
    """The answer to a window; every 70 s there is one."""
    return WatchedWindow(
        time="2026-01-01T00:00:00.000Z",
        start=70.0 * number,
        end=70.0 * number + 2.1,
        shot=0,
        label=label,
        predictions=(Prediction(label or "shake", 1, 0.5), Prediction("static", 0, 0.25)),
        lag=0.125,
        windows=number + 1,
        dropped=1,
    )


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit, WeightsError])
def test_however_it_ends_a_file_has_all_windows_until_then(ending, tmp_path):
    def events():
        yield window(0, "pan left")
        yield window(1, "static")
        raise ending

    out = tmp_path / "answer.jsonl"
    with pytest.raises(ending):
        show_watched(events(), "udp://:1", "jsonl", out, table=False)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["label"] for row in rows] == ["pan left", "static"]
    assert [path.name for path in tmp_path.iterdir()] == ["answer.jsonl"]


def test_a_terminal_gets_a_live_table():
    told = Told()
    console = Console(file=io.StringIO(), width=70)
    for number, label in enumerate(["pan left", "pan left", None, "zoom\x1b[2Jin"]):
        told.take(window(number, label))
    told.take(WatchStatus(live=True, elapsed=3725.0, fps=29.97, windows=3, dropped=1, damaged=0))
    console.print(drawn(told, "udp://:1", console))
    text = console.file.getvalue()
    assert "live 1:02:05  30.0 frames/s" in text and "1 dropped (25.0 %)" in text
    assert "\x1b" not in text and "0:02:20  -" in text and "0:00:00  pan left" in text
    assert text.count("pan left") == 1
    told.take(WatchStatus(live=False, elapsed=3726.0, fps=0, windows=3, dropped=1, damaged=0))
    console.print(drawn(told, "udp://:1", console))
    assert "lost" in console.file.getvalue()
