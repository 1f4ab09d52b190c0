"""Worker processes: order, limits, crashes, hangs, and nothing left behind."""

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.clips import read_barcode, write
from tests.support.videos import decode
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import VideoError
from timesformer_cli.video import Decoded, DecodePool, worker_process
from timesformer_cli.video.messages import DecodeRequest

WHOLE = Preprocessing(resize=120, crop=(120, 160))
EIGHT = Sampling(frames=8, stride=None)
posix_only = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# A decord that misbehaves natively on files of certain names, put first on the import path: the
# interpreter's lock is held while it hangs, so that only a kill helps.
BAD_DECORD = """
import ctypes, os, signal

class DECORDError(Exception): ...

class VideoReader:
    def __init__(self, uri, num_threads):
        name = os.path.basename(os.readlink(uri))
        if name.startswith("hang"):
            ctypes.PyDLL(None).pause()
        if name.startswith("crash"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if name.startswith("noise"):
            os.write(1, b"x" * 100_000)
            print("y" * 100_000, flush=True)
        if name.startswith("bug"):
            raise KeyError("a bug")
        raise DECORDError("cannot read")
"""


# The real PyAV, which misbehaves once it reads a file of a certain name: after it was probed.
BAD_AV = """
import ctypes, importlib, os, signal, sys

here = os.path.dirname(__file__)
sys.path.remove(here)
del sys.modules["av"]
real = importlib.import_module("av")
sys.path.insert(0, here)
really_open = real.open

class Container:
    # Misbehaves when pictures are sought; the first seek is of what describes the file.

    def __init__(self, name, real):
        self.name, self.real, self.seeks = name, real, 0

    def __getattr__(self, name):
        return getattr(self.real, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.real.close()

    def seek(self, *where, **how):
        self.seeks += 1
        if self.seeks == 2:
            misbehave(self.name)
        return self.real.seek(*where, **how)

def misbehave(name):
    if name.startswith("hang"):
        ctypes.PyDLL(None).pause()
    once = os.path.join(here, "crashed")
    if name.startswith("crash") and not os.path.exists(once):
        os.mkdir(once)
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("noise"):
        os.write(1, b"x" * 100_000)
        print("y" * 100_000, flush=True)
    if name.startswith("bug"):
        raise KeyError("a bug")

def open(uri, **options):
    return Container(os.path.basename(os.readlink(uri)), really_open(uri, **options))

real.open = open
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("pool") / "clip.mp4", 16, options={"g": "15"})


@pytest.fixture
def bad_decord(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "decord.py").write_text(BAD_DECORD)
    monkeypatch.syspath_prepend(tmp_path / "modules")


@pytest.fixture
def bad_av(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "av.py").write_text(BAD_AV)
    monkeypatch.syspath_prepend(tmp_path / "modules")


def copies(clip: Path, folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).write_bytes(clip.read_bytes())
    return [str(folder / name) for name in names]


def workers_of(process: int) -> set[int]:
    """The decode workers that a process has started."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
                command = (entry / "cmdline").read_bytes()
            except OSError:  # it has just ended
                continue
            if int(parent) == process and b"video.worker" in command:
                found.add(int(entry.name))
    return found


def wait_until(condition: object, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_results_come_in_order_and_equal_those_of_this_process(clip: Path, tmp_path: Path) -> None:
    good = copies(clip, tmp_path, *(f"{i}.mp4" for i in range(6)))
    paths = [*good[:3], str(tmp_path / "missing.mp4"), *good[3:]]
    with DecodePool(workers=2) as pool:
        results = list(pool.decode(paths, EIGHT, WHOLE, clips=2, crops=3))
        again = list(pool.decode(good[:1], Sampling(frames=2, stride=None), WHOLE))
    error = results.pop(3)
    assert isinstance(error, VideoError) and error.kind == "not_found"
    reference = decode(good[0], EIGHT, WHOLE, clips=2, crops=3)
    for result in results:
        assert isinstance(result, Decoded)
        assert np.array_equal(result.frames, reference.frames)
        assert result.frames.shape == (6, 8, 120, 160, 3) and result.frames.dtype == np.uint8
        assert (result.views, result.probe) == (reference.views, reference.probe)
    assert isinstance(again[0], Decoded) and again[0].frames.shape == (1, 2, 120, 160, 3)


def test_decoding_runs_ahead_by_a_bounded_number_of_files(clip: Path, tmp_path: Path) -> None:
    taken = []

    def paths() -> Iterator[str]:
        for path in copies(clip, tmp_path, *(f"{i}.mp4" for i in range(12))):
            taken.append(path)
            yield path

    with DecodePool(workers=2) as pool:
        results = pool.decode(paths(), EIGHT, WHOLE)
        next(results)
        time.sleep(0.3)
        assert len(taken) == 3
        next(results)
        assert len(taken) == 4
        assert len(list(results)) == 10


@posix_only
@pytest.mark.usefixtures("bad_av")
def test_a_decoder_that_hangs_is_killed_and_the_others_go_on(clip: Path, tmp_path: Path) -> None:
    paths = copies(clip, tmp_path, "1.mp4", "hang.mp4", "2.mp4", "3.mp4")
    with DecodePool(workers=1, timeout=1.0) as pool:
        list(pool.decode(paths[:1], EIGHT, WHOLE))
        began = time.monotonic()
        results = list(pool.decode(paths, EIGHT, WHOLE))
        assert time.monotonic() - began < 5
    assert [getattr(result, "kind", "ok") for result in results] == ["ok", "timeout", "ok", "ok"]
    assert "1 s" in str(results[1])


@posix_only
@pytest.mark.usefixtures("bad_av")
def test_a_crash_is_survived_with_another_decoder(clip: Path, tmp_path: Path) -> None:
    (path,) = copies(clip, tmp_path, "crash.mp4")
    with DecodePool() as pool:
        (result,) = pool.decode([path], EIGHT, WHOLE)
    assert isinstance(result, Decoded) and result.decoder == "decord"
    assert "signal 11, SIGSEGV" in result.warnings[-1]
    assert "read with decord in its place" in result.warnings[-1]


@posix_only
@pytest.mark.usefixtures("bad_av")
def test_an_unexpected_error_of_a_decoder_leaves_the_file_to_the_next(
    clip: Path, tmp_path: Path
) -> None:
    (path,) = copies(clip, tmp_path, "bug.mp4")
    with DecodePool() as pool:
        (result,) = pool.decode([path], EIGHT, WHOLE)
    assert isinstance(result, Decoded) and result.decoder == "decord"


@posix_only
@pytest.mark.usefixtures("bad_decord")
def test_a_forced_decoder_that_crashes_is_an_error(clip: Path, tmp_path: Path) -> None:
    paths = copies(clip, tmp_path, "crash.mp4", "fine.mp4", "bug.mp4")
    with DecodePool(decoder="decord") as pool:
        results = list(pool.decode(paths, EIGHT, WHOLE))
    kinds = [result.kind for result in results if isinstance(result, VideoError)]
    assert kinds == ["decoder_crashed", "cannot_decode", "cannot_decode"]
    assert "signal 11" in str(results[0]) and "a bug" in str(results[2])


@posix_only
@pytest.mark.usefixtures("bad_av")
def test_what_libraries_print_does_not_reach_the_protocol(clip: Path, tmp_path: Path) -> None:
    (path,) = copies(clip, tmp_path, "noise.mp4")
    with DecodePool() as pool:
        (result,) = pool.decode([path], EIGHT, WHOLE)
    assert isinstance(result, Decoded) and not result.warnings


@linux_only
def test_a_stopped_worker_is_replaced(clip: Path) -> None:
    with DecodePool(timeout=1.0, decoder="av") as pool:
        assert isinstance(next(pool.decode([str(clip)], EIGHT, WHOLE)), Decoded)
        (worker,) = workers_of(os.getpid())
        os.kill(worker, signal.SIGSTOP)
        late, fine = pool.decode([str(clip)] * 2, EIGHT, WHOLE)
        assert isinstance(late, VideoError) and late.kind == "timeout"
        assert isinstance(fine, Decoded)
        assert not alive(worker)


@linux_only
def test_an_idle_worker_that_was_killed_is_replaced_unnoticed(clip: Path) -> None:
    with DecodePool(decoder="av") as pool:
        assert isinstance(next(pool.decode([str(clip)], EIGHT, WHOLE)), Decoded)
        (worker,) = workers_of(os.getpid())
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not alive(worker))
        assert isinstance(next(pool.decode([str(clip)], EIGHT, WHOLE)), Decoded)


@linux_only
def test_a_worker_is_renewed_before_leaks_add_up(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "LIFETIME", 2)
    seen: set[int] = set()
    with DecodePool(decoder="av") as pool:
        for result in pool.decode([str(clip)] * 5, EIGHT, WHOLE):
            assert isinstance(result, Decoded)
            seen |= workers_of(os.getpid())
    assert len(seen) > 1


@linux_only
@pytest.mark.usefixtures("bad_av")
def test_closing_kills_busy_workers_at_once(clip: Path, tmp_path: Path) -> None:
    paths = copies(clip, tmp_path, "1.mp4", "hang1.mp4", "hang2.mp4", "hang3.mp4")
    pool = DecodePool(workers=2)
    results = pool.decode(paths, EIGHT, WHOLE)
    next(results)
    workers = workers_of(os.getpid())
    assert len(workers) == 2
    began = time.monotonic()
    pool.close()
    pool.close()
    assert time.monotonic() - began < 1
    assert not any(map(alive, workers))
    with pytest.raises(RuntimeError, match="closed"):
        list(pool.decode(paths, EIGHT, WHOLE))


SCRIPT = """
import sys
sys.path.insert(0, {modules!r})
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.video import DecodePool

def main():
    with DecodePool(workers=2) as pool:
        sampling, size = Sampling(frames=8, stride=None), Preprocessing(resize=120, crop=(120, 160))
        for result in pool.decode({paths!r}, sampling, size):
            print(type(result).__name__, flush=True)

try:
    main()
except KeyboardInterrupt:
    sys.exit(130)
"""


@linux_only
@pytest.mark.usefixtures("bad_av")
@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_no_worker_outlives_its_parent(clip: Path, tmp_path: Path, name: str) -> None:
    number = signal.Signals[name]
    paths = copies(clip, tmp_path, "1.mp4", "hang1.mp4", "hang2.mp4")
    script = SCRIPT.format(modules=str(tmp_path / "modules"), paths=paths)
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "Decoded\n"
    wait_until(lambda: len(workers_of(parent.pid)) == 2)
    workers = workers_of(parent.pid)
    parent.send_signal(number)
    began = time.monotonic()
    parent.stdout.close()
    assert parent.wait(10) == (130 if number == signal.SIGINT else -number)
    wait_until(lambda: not any(map(alive, workers)), 2)
    assert time.monotonic() - began < 2


@linux_only
def test_a_worker_loads_only_what_it_needs_and_is_confined(clip: Path) -> None:
    with DecodePool() as pool:
        assert isinstance(next(pool.decode([str(clip)], EIGHT, WHOLE)), Decoded)
        (worker,) = workers_of(os.getpid())
        maps = Path(f"/proc/{worker}/maps").read_text()
        limits = Path(f"/proc/{worker}/limits").read_text()
        threads = len(list(Path(f"/proc/{worker}/task").iterdir()))
        assert os.getsid(worker) == worker
    assert "libtorch" not in maps and "cv2" not in maps and "libdecord" in maps
    assert f"Max address space         {6 << 30}" in limits
    assert threads < 12


def test_a_worker_imports_no_more_than_numpy_pillow_and_decoders() -> None:
    code = """
        import sys
        import timesformer_cli.video.decode
        from timesformer_cli.video import worker
        worker._warm_up()
        heavy = {"torch", "typer", "rich", "cv2", "einops", "transformers", "huggingface_hub"}
        sys.exit(", ".join(sorted(heavy & set(sys.modules))) or 0)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_video_that_needs_too_much_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from timesformer_cli.video import decode as module
    from timesformer_cli.video import worker

    def greedy(*request: object) -> Decoded:
        raise MemoryError

    monkeypatch.setattr(module, "decode", greedy)
    request = DecodeRequest(path="x.mp4", sampling=EIGHT, preprocessing=WHOLE)
    heart = worker._Heart(io.BytesIO(), 60.0)
    worker._self_destruct(None)  # or its alarm would end the test's own process in a minute
    header, pixels = worker._answer(request.to_header(), heart)
    assert (header["status"], header["kind"], bytes(pixels)) == ("error", "out_of_memory", b"")


def test_a_module_in_the_current_folder_is_not_picked_up(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "av.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    with DecodePool(decoder="av") as pool:
        (result,) = pool.decode([str(clip)], EIGHT, WHOLE)
    assert isinstance(result, Decoded)


def test_a_worker_that_cannot_start_is_an_error(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false" if os.name == "posix" else "where")
    with DecodePool() as pool:
        (result,) = pool.decode([str(clip)], EIGHT, WHOLE)
    assert isinstance(result, VideoError) and result.kind == "decoder_crashed"
    assert "did not start" in str(result)


@linux_only
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_where_no_process_can_be_started_nobody_waits_for_one(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(worker_process, "ChildProcess", refused)
    with DecodePool() as pool, pytest.raises(PermissionError):
        next(pool.decode([str(clip)], EIGHT, WHOLE))


def test_odd_names_travel_to_the_worker(clip: Path, tmp_path: Path) -> None:
    odd = os.fsdecode(bytes(tmp_path) + b"/caf\xe9\n%03d.mp4")
    with open(odd, "wb") as file:
        file.write(clip.read_bytes())
    with DecodePool() as pool:
        (result,) = pool.decode([odd], EIGHT, WHOLE)
    assert isinstance(result, Decoded)
    assert [read_barcode(frame) for frame in result.frames[0]] == list(range(1, 16, 2))


@linux_only
def test_a_worker_that_dies_before_it_reads_is_no_fault_of_the_file(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DecodePool(workers=1, decoder="av") as pool:
        (first,) = pool.decode([str(clip)], EIGHT, WHOLE)
        said = iter([True])  # once, as it looks between the kill and the end of the process
        really = worker_process.ChildProcess.is_running
        monkeypatch.setattr(
            worker_process.ChildProcess,
            "is_running",
            property(lambda child: next(said, None) or really.fget(child)),
        )
        os.kill(*workers_of(os.getpid()), signal.SIGKILL)
        (second,) = pool.decode([str(clip)], EIGHT, WHOLE)
    assert isinstance(first, Decoded) and isinstance(second, Decoded)


@pytest.mark.slow  # it goes by the clock
def test_what_is_not_decoded_in_time_is_stopped_and_costs_the_others_nothing(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = worker_process.ChildProcess
    with DecodePool(workers=1, timeout=60) as pool:
        (first,) = pool.decode([str(clip)], EIGHT, WHOLE, until=time.monotonic() + 30)
        assert isinstance(first, Decoded)
        pool._slots[0].bury()
        monkeypatch.setattr(
            worker_process,
            "ChildProcess",
            lambda module, **how: real("tests.support.slow_worker", **how),
        )
        began = time.monotonic()
        (late,) = pool.decode(["goes on for ever"], EIGHT, WHOLE, until=began + 2)
        assert isinstance(late, VideoError) and late.kind == "timeout" and "in time" in str(late)
        assert time.monotonic() - began < 4
        monkeypatch.setattr(worker_process, "ChildProcess", real)
        (passed,) = pool.decode([str(clip)], EIGHT, WHOLE, until=began)
        assert isinstance(passed, VideoError) and "in time" in str(passed)
        pool._slots[0].bury()
        (after,) = pool.decode([str(clip)], EIGHT, WHOLE)
        assert isinstance(after, Decoded)
