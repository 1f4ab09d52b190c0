"""What a live source is, its clock, its backlog, and a child process that reads it."""

import http.server
import os
import re
import signal
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest

from tests.support.live import in_background, piped, stream
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import UsageError, VideoError
from timesformer_cli.video.live import reader as module
from timesformer_cli.video.live.backlog import HELD, Backlog, HeldFrame, HeldFrames
from timesformer_cli.video.live.clock import LiveClock
from timesformer_cli.video.live.connection import Connection
from timesformer_cli.video.live.reader import LiveReader
from timesformer_cli.video.live.source import CAMERAS, SCHEMES, LiveSource, find_source
from timesformer_cli.video.sample import spread
from timesformer_cli.video.windows import Window, WindowPlan

PLAN = WindowPlan(sampling=Sampling(frames=4, stride=4), every=0.25, cuts=False)
SMALL = Preprocessing(resize=64, crop=(64, 64))


def moments(clock, *steps):
    """Feed `(own, arrived)` pairs; returns the moments and where shots began."""
    found = [m for number, step in enumerate(steps) for m in clock.take(number, *step)]
    found += clock.rest()
    assert [m.frame for m in found] == list(range(len(steps)))
    return [round(m.time, 3) for m in found], [i for i, m in enumerate(found) if m.jumped]


def test_times_of_the_stream_count_while_they_run_forwards():
    times, cuts = moments(LiveClock(0.1), (7.0, 0.0), (7.1, 0.5), (7.2, 0.51), (7.3, 0.52))
    assert times == [0, 0.1, 0.2, 0.3] and not cuts


def test_frames_without_times_are_taken_when_they_come():
    times, cuts = moments(LiveClock(0.1), (None, 0.0), (None, 0.13), (None, 0.2))
    assert times == [0, 0.13, 0.2] and not cuts


@pytest.mark.parametrize("again", [0.0, 5000.0, -80.0])
def test_a_restart_or_a_jump_begins_a_shot_and_goes_on_from_its_arrival(again):
    clock = LiveClock(0.1)
    moments(clock, *((100 + i / 10, i / 10) for i in range(20)))
    times, cuts = moments(clock, *((again + i / 10, 4 + i / 10) for i in range(6)))
    assert cuts == [0] and times == pytest.approx([4 + i / 10 for i in range(6)])


def test_one_damaged_time_is_no_jump():
    clock = LiveClock(0.1)
    steps = [(i / 10, i / 10) for i in range(20)]
    steps[7] = (9000.0, 0.7)
    steps[12] = (-300.0, 1.2)
    times, cuts = moments(clock, *steps)
    assert not cuts and times == pytest.approx([i / 10 for i in range(20)])


def test_a_slow_stream_whose_steps_are_long_does_not_jump():
    times, cuts = moments(LiveClock(1.0), (0.0, 0.0), (30.0, 30.1), (60.0, 59.9))
    assert times == [0, 30, 60] and not cuts


def test_steps_back_of_less_than_a_second_stand_still():
    times, cuts = moments(LiveClock(0.1), (0.0, 0.0), (0.5, 0.5), (0.2, 0.6), (0.6, 0.7))
    assert times == [0, 0.5, 0.5, 0.6] and not cuts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:secret@10.0.0.7/live", "rtsp://10.0.0.7/live"),
        ("https://a:b@c/d?x=e@f", "https://c/d?x=e@f"),
        ("udp://@:1234", "udp://:1234"),
        ("http://plain/x@y", "http://plain/x@y"),
    ],
)
def test_a_password_is_never_shown(text, shown):
    found = find_source(text)
    assert (found.name, found.target) == (shown, text)


def test_no_scheme_may_open_files_or_wrap_other_protocols():
    for allowed in SCHEMES.values():
        both = {*allowed.protocols.split(","), *allowed.containers.split(",")}
        forbidden = {
            "file",
            "concat",
            "concatf",
            "subfile",
            "crypto",
            "pipe",
            "data",
            "cache",
            "dash",
        }
        assert not both & forbidden


@pytest.mark.parametrize(
    ("text", "follow", "word"),
    [
        ("ftp://host/x", False, "rtsp://"),
        ("file:///etc/passwd", False, "rtsp://"),
        ("concat://a", False, "rtsp://"),
        ("udp://:1", True, "leave out --follow"),
        ("0", True, "leave out --follow"),
        ("HERE/plain.ts", False, "tsf timeline"),
        ("HERE/absent.ts", True, "does not exist"),
        ("HERE", True, "is not a camera"),
        ("HERE/fifo", True, "named pipe"),
        ("/dev/null", False, "is not a camera"),
        ("/dev/video77", False, "cameras here"),
        ("77", False, "cameras here"),
        ("nul\0byte", False, "does not exist"),
    ],
)
def test_what_is_no_source_is_refused_in_one_line(text, follow, word, tmp_path):
    (tmp_path / "plain.ts").write_bytes(b"x")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises((UsageError, VideoError), match=word) as caught:
        find_source(text.replace("HERE", str(tmp_path)), follow=follow)
    assert "\n" not in str(caught.value)


def window(start, numbers=(0,), oldest=0):
    return Window(spread(start, start + 0.5, len(numbers)), tuple(numbers), oldest)


def held(count, arrived=0.0):
    return [(n, HeldFrame(lambda: np.zeros((1,), np.uint8), 10, arrived)) for n in range(count)]


def test_the_oldest_window_is_dropped_and_its_frames_are_never_prepared():
    backlog, prepared = Backlog(1, waits=False), []
    for number in range(5):
        frame = HeldFrame(lambda n=number: prepared.append(n) or np.zeros(1, np.uint8), 10, 0.0)
        backlog.window(window(number, (number,), number), [(number, frame)])
    (kept,) = backlog.take(4, 0)
    assert (kept.window.clip.start, backlog.dropped, prepared) == (4, 4, [])
    assert [frame.pixels().size for frame in kept.frames.values()] == [1] and prepared == [4]


def test_a_sender_that_waits_loses_nothing_while_it_is_ahead_of_the_clock():
    backlog = Backlog(1, waits=True)
    taken = []

    def put():
        for number in range(6):
            backlog.window(window(number, (number,), number), held(6)[number : number + 1])
        backlog.close()

    in_background(put)
    while found := backlog.take(1, 5):
        taken += [w.window.clip.start for w in found]
    assert taken == [0, 1, 2, 3, 4, 5] and not backlog.dropped


def test_windows_of_two_parts_are_not_taken_together():
    backlog = Backlog(4, waits=False)
    backlog.window(window(0), held(1))
    backlog.begin_part()
    backlog.window(window(1), held(1))
    assert [len(backlog.take(4, 0)), len(backlog.take(4, 0))] == [1, 1]


def test_what_is_held_is_bounded():
    frames, made = HeldFrames(), [HeldFrame(lambda: np.zeros(1), HELD // 4, 0.0) for _ in range(9)]
    for frame in made:
        frames.add(frame)
    assert [frame.waits for frame in made] == [False] * 5 + [True] * 4


def read(reader, most=1):
    """All windows of a source that ends, and the last batch."""
    found = []
    while not (batch := reader.next(most)).ended:
        found += batch.windows
    return found, batch


def test_a_pipe_gives_the_windows_of_its_stream():
    data = stream("red green", 0.75)
    with piped(data), LiveReader(find_source("-")) as reader:
        facts = reader.open()
        assert (facts["width"], facts["height"]) == (96, 64)
        reader.begin(PLAN, SMALL, 1, None)
        windows, last = read(reader)
    assert last.frames == 30 and last.dropped == 0
    starts = [w.streamed.window.clip.start for w in windows]
    assert starts == pytest.approx([0, 0.25, 0.5, 0.75, 1.0])
    known = {}
    for w in windows:
        known |= w.streamed.fresh
        assert set(w.streamed.window.frames) <= set(known)
    last = known[windows[-1].streamed.window.frames[-1]]
    assert last.shape == (64, 64, 3) and last[..., 1].mean() > last[..., 0].mean()


@contextmanager
def connected(data):
    """A connection to the bytes, as the child has it, in this process."""
    with piped(data):
        yield Connection(find_source("-"), 0)


@pytest.mark.parametrize("format", ["matroska", "flv", "mjpeg", "avi"])
def test_a_pipe_may_have_many_containers(format):
    with connected(stream("red green", 0.75, format=format)) as connection:
        connection.begin(PLAN, SMALL, 100, None)
        connection.run()
    assert connection.fault is None and connection.frames == 30
    windows = connection.backlog.take(100, 0)
    first, last = (w.frames[w.window.frames[-1]].pixels() for w in (windows[0], windows[-1]))
    assert first[..., 0].mean() > first[..., 1].mean() and last[..., 1].mean() > last[..., 0].mean()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "video stream"),
        (b"hello, world\n" * 300, "video stream"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nfile:///etc/passwd\n", "video stream"),
        (b"ffconcat version 1.0\nfile clip.mp4\n", "video stream"),
        (os.urandom(4096), "video stream"),
    ],
)
def test_bytes_that_are_no_stream_are_an_error(data, word):
    with connected(data) as connection:
        connection.run()
    assert re.search(word, str(connection.fault)) and connection.opened.is_set()


@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGKILL, "crashed"), (signal.SIGSTOP, "hung")]
)
def test_a_child_that_dies_or_stops_is_an_error_and_not_a_hang(number, word, monkeypatch):
    with piped(stream("red", 1.0), 3.0), LiveReader(find_source("-")) as reader:
        reader.open()
        reader.begin(PLAN, SMALL, 1, None)
        monkeypatch.setattr(module, "ANSWER_LIMIT", 0.5)
        os.kill(reader.pid, number)
        with pytest.raises(VideoError, match=word):
            read(reader)


def device(target, driver):
    """A camera as `find_source` gives it, on another of FFmpeg's devices: few machines have a camera."""
    source = LiveSource(name=target, kind="camera", target=target, containers=driver)
    return Connection(source, -1)


def test_a_cameras_raw_pictures_make_windows():
    connection = device("testsrc2=size=160x120:rate=25:duration=2,format=yuyv422", "lavfi")
    connection.begin(PLAN, SMALL, 100, None)
    connection.run()
    assert connection.facts["codec"] in ("rawvideo", "wrapped_avframe")
    assert (connection.facts["width"], connection.facts["fps"]) == (160, 25.0)
    assert connection.frames == 50 and str(connection.fault) == "the stream ended"
    windows = connection.backlog.take(100, 0)
    assert len(windows) >= 6
    first, last = (w.frames[w.window.frames[-1]].pixels() for w in (windows[0], windows[-1]))
    assert first.shape == last.shape == (64, 64, 3) and not np.array_equal(first, last)


@pytest.mark.skipif(sys.platform != "linux", reason="video4linux is Linux's")
def test_what_is_no_camera_is_refused_by_video4linux():
    connection = device("/dev/null", CAMERAS)
    connection.run()
    assert "cannot be read: Inappropriate ioctl" in str(connection.fault)


@pytest.mark.slow  # it goes by the clock
def test_a_decoder_that_makes_no_progress_hangs_and_a_pipe_that_is_silent_does_not(monkeypatch):
    connection = Connection(find_source("udp://:1", timeout=1), -1)
    assert not connection.hangs
    later = time.monotonic() + 8
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert connection.hangs
    connection._rests(True)
    assert not connection.hangs


@pytest.fixture
def served(tmp_path):
    """A folder that a web server of this machine serves, and its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *request):
            super().__init__(*request, directory=str(tmp_path))

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    in_background(server.serve_forever)
    yield tmp_path, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


PLAYLIST = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n{}#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
KEY = '#EXT-X-KEY:METHOD=AES-128,URI="key.bin"\n'


@pytest.mark.parametrize(
    ("key", "part", "reads"),
    [
        ("", "red.ts", True),
        (KEY, "red.ts", False),
        ("", "file:HERE/red.ts", False),
        ("", "HERE/red.ts", False),
        ("", "concat:HERE/red.ts", False),
        ("", "subfile,,start,0,end,9999,,:HERE/red.ts", False),
    ],
)
def test_a_playlist_over_http_is_read_and_leads_to_no_file(key, part, reads, served):
    folder, address = served
    (folder / "red.ts").write_bytes(stream("red", 1.0))
    (folder / "key.bin").write_bytes(bytes(16))
    (folder / "list.m3u8").write_text(PLAYLIST.format(key, part.replace("HERE", str(folder))))
    connection = Connection(find_source(f"{address}/list.m3u8", timeout=3), -1)
    connection.begin(PLAN, SMALL, 100, None)
    connection.run()
    assert connection.frames == (20 if reads else 0)
    assert (connection.fault is None) == reads
