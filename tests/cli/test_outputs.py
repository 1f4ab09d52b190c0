"""Where an answer may go: what is no regular file is written to, links stay, inputs are safe.

No test names a device of the machine: a command that replaced what it should write to would
replace it for everybody. A FIFO, a terminal of our own and a link of our own stand for them.
"""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support import clips
from timesformer_cli import files
from timesformer_cli.cli import formats
from timesformer_cli.cli.app import app
from timesformer_cli.cli.stderr import claiming
from timesformer_cli.errors import UsageError

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs FIFOs and links")
pytestmark = posix_only
TSF = [sys.executable, "-m", "timesformer_cli"]
# A command, the option that names what it writes, and the name's suffix where one is asked for.
COMMANDS = {
    "classify": (["classify", "VIDEO", "--model", "MODEL", "--format", "json"], "-o", ""),
    "evaluate": (["evaluate", "TABLE", "--model", "MODEL", "--format", "json"], "-o", ""),
    "predictions": (["evaluate", "TABLE", "--model", "MODEL"], "--predictions", ""),
    "confusion": (["evaluate", "TABLE", "--model", "MODEL"], "--confusion", ".png"),
    "benchmark": (["benchmark", "--no-measure", "--format", "json"], "-o", ""),
    "benchmark of models": (["benchmark", "--model", "MODEL", "--runs", "1"], "-o", ""),
    "plot": (["benchmark", "--no-measure"], "--plot", ".png"),
    "export": (["export", "--model", "MODEL", "--pt2", "--overwrite"], "-o", ".pt2"),
}
each_command = pytest.mark.parametrize("command", COMMANDS)


@pytest.fixture
def video(tmp_path):
    return clips.write(tmp_path / "clip.mp4", 24)


@pytest.fixture
def model(model_folder, tmp_path):
    """A copy, since a command that is wrong may write over it."""
    return shutil.copytree(model_folder, tmp_path / "model")


@pytest.fixture
def run(model, video, tmp_path):
    """Run one of the commands with its output under a name, and perhaps more options."""
    table = tmp_path / "table.csv"
    table.write_text(f"path,label\n{video},a\n")
    places = {"VIDEO": str(video), "MODEL": str(model), "TABLE": str(table)}

    def ran(command: str, output: Path, *more: str, **replaced: str):
        words, option, _ = COMMANDS[command]
        given = places | replaced
        return CliRunner().invoke(app, [*(given.get(w, w) for w in words), option, str(output)])

    return ran


@contextmanager
def reader(path: Path):
    """A FIFO and a process that reads it to its end; what it read comes in the list."""
    os.mkfifo(path)
    read: list[bytes] = []
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as process:
        thread = threading.Thread(target=lambda: read.append(process.stdout.read()))
        thread.start()
        try:
            yield read
        finally:
            thread.join(10)
            process.kill()  # it waits for ever where nobody opened the FIFO
            thread.join(10)


@each_command
def test_a_fifo_gets_the_answer_and_stays(command, run, tmp_path):
    path = tmp_path / f"fifo{COMMANDS[command][2]}"
    with reader(path) as read:
        ran = run(command, path)
        assert ran.exit_code == 0, ran.stderr
    assert stat.S_ISFIFO(path.stat().st_mode)
    (content,) = read
    if command in ("confusion", "plot"):
        assert content.startswith(b"\x89PNG")
    elif command == "export":
        assert content.startswith(b"PK")
    elif command == "benchmark of models":
        assert b"share" in content
    else:
        assert json.loads(content)
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]


@each_command
def test_a_link_stays_and_its_target_is_replaced_whole(command, run, tmp_path):
    _, _, suffix = COMMANDS[command]
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / f"real{suffix}", tmp_path / f"link{suffix}"
    target.write_bytes(b"the one before")
    link.symlink_to(Path("elsewhere", target.name))
    before = target.stat().st_ino
    ran = run(command, link)
    assert ran.exit_code == 0, ran.stderr
    assert os.readlink(link) == f"elsewhere/{target.name}"
    assert target.read_bytes() != b"the one before"
    assert target.stat().st_ino != before  # a new file, which took the place of the old in one step
    assert os.listdir(target.parent) == [target.name]


def test_a_link_to_what_is_not_there_yet_stays(run, tmp_path):
    (tmp_path / "link").symlink_to("new.json")
    assert run("classify", tmp_path / "link").exit_code == 0
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "new.json").read_text())


def test_links_in_a_circle_are_refused(run, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    ran = run("classify", tmp_path / "loop")
    assert (ran.exit_code, ran.stderr.count("\n")) == (2, 1)
    assert (tmp_path / "loop").is_symlink()


def test_a_terminal_is_written_to(run, tmp_path):
    """A device, as /dev/tty and /dev/null are, that no mistake can replace."""
    import pty

    ours, theirs = pty.openpty()
    link = tmp_path / "terminal"
    link.symlink_to(os.ttyname(theirs))
    try:
        ran = run("classify", link)
        assert ran.exit_code == 0, ran.stderr
        assert stat.S_ISCHR(link.stat().st_mode) and link.is_symlink()
        assert b'"status": "ok"' in os.read(ours, 4096)
    finally:
        os.close(ours)
        os.close(theirs)


def process(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([*TSF, *arguments], capture_output=True, timeout=120, **options)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [1, 2])
def test_a_link_to_an_open_file_is_written_to(number, model, video, tmp_path):
    """As /dev/stdout and /dev/stderr are links."""
    link = tmp_path / "stream"
    link.symlink_to(f"/proc/self/fd/{number}")
    model = str(model)
    ran = process("classify", str(video), "-m", model, "--format", "json", "-o", str(link))
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout if number == 1 else ran.stderr)
    assert os.readlink(link) == f"/proc/self/fd/{number}"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_stdout_that_is_a_file_goes_on_where_it_is(model, video, tmp_path):
    link, output = tmp_path / "stdout", tmp_path / "answers"
    link.symlink_to("/proc/self/fd/1")
    with output.open("w") as file:
        file.write("before\n")
        file.flush()
        ran = subprocess.run(
            [*TSF, "classify", video, "-m", model, "--format", "jsonl", "-o", link],
            stdout=file,
            timeout=120,
        )
        file.write("after\n")
    assert ran.returncode == 0
    first, answer, last = output.read_text().splitlines()
    assert (first, last) == ("before", "after") and json.loads(answer)["status"] == "ok"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_model_that_goes_to_stdout_is_alone_there(model, tmp_path):
    link = tmp_path / "stdout"
    link.symlink_to("/proc/self/fd/1")
    ran = process("export", "--model", str(model), "--pt2", "-o", str(link))
    assert ran.returncode == 0, ran.stderr
    (tmp_path / "model.pt2").write_bytes(ran.stdout)
    from timesformer_cli.inference.exported.open import read_manifest

    assert read_manifest(tmp_path / "model.pt2").description.labels == tuple("abcde")
    assert b"proof" in ran.stderr


def test_a_reader_of_a_fifo_that_leaves_is_no_error(model, video, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with subprocess.Popen(["head", "-c", "1", str(path)], stdout=subprocess.DEVNULL) as reader:
        names = [tmp_path / f"{number}.mp4" for number in range(300)]
        for name in names:
            os.link(video, name)
        listed = "\n".join(map(str, names))
        options = ["-m", str(model), "--format", "jsonl", "-o", str(path)]
        ran = process("classify", "-", *options, input=listed.encode())
        reader.kill()
    assert ran.returncode == 141
    assert b"error" not in ran.stderr


# Holds a claim on a file until its stdin ends.
HOLDER = """
import sys
from pathlib import Path
from timesformer_cli.files import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(path: Path):
    """Another process that is writing the file."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        try:
            yield holder
        finally:
            holder.stdin.close()


@each_command
def test_the_second_of_two_runs_into_one_file_is_told(command, run, tmp_path, monkeypatch):
    from timesformer_cli.weights.hub import locate

    suffix = COMMANDS[command][2]
    path, link = tmp_path / f"out{suffix}", tmp_path / f"link{suffix}"
    link.symlink_to(path)
    with held(path), monkeypatch.context() as patch:
        patch.setattr(locate, "locate", None)  # it is said before a model is looked for
        for name in (path, link):
            ran = run(command, name)
            assert ran.exit_code == 2, ran.output
            assert "another run is writing it" in ran.stderr and ran.stderr.count("\n") == 1
    ran = run(command, path)
    assert ran.exit_code == 0, ran.stderr
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_the_second_of_two_trainings_into_one_folder_is_told(model, tmp_path):
    for label in "ab":
        for number in range(2):
            (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
            clips.write(tmp_path / "data" / label / f"{number}.mp4", 8)
    words = ["train", str(tmp_path / "data"), "--init", str(model)]
    words += ["--out", str(tmp_path / "runs" / "one")]
    (tmp_path / "runs").mkdir()
    with held(tmp_path / "runs" / "one"):
        ran = CliRunner().invoke(app, words)
        assert ran.exit_code == 2 and "another run is writing it" in ran.stderr
        assert CliRunner().invoke(app, [*words, "--dry-run"]).exit_code == 0


def test_a_run_that_was_killed_leaves_no_lock(run, tmp_path):
    path = tmp_path / "out.json"
    with held(path) as holder:
        holder.kill()
        holder.wait()
    assert run("classify", path).exit_code == 0
    assert not list(tmp_path.glob(".claim-*"))


def test_two_runs_into_two_files_go_on(run, tmp_path):
    with held(tmp_path / "other.json"):
        assert run("classify", tmp_path / "out.json").exit_code == 0


def test_of_two_claims_one_is_held(tmp_path):
    path = tmp_path / "out"
    (tmp_path / "link").symlink_to(path)
    with files.claimed(path, None, path, tmp_path / "link"):
        with pytest.raises(UsageError, match="another run"), files.claimed(path):
            pass
        assert sorted(os.listdir(tmp_path)) == [".claim-out", "link"]
    with files.claimed(path), files.claimed(tmp_path / "nowhere" / "out"):
        pass
    assert os.listdir(tmp_path) == ["link"]


def test_ctrl_c_while_a_claim_is_made_leaves_none(tmp_path, monkeypatch):
    made = files._locked_file

    def interrupted(place: Path) -> int:
        descriptor = made(place)
        signal.raise_signal(signal.SIGINT)
        return descriptor

    monkeypatch.setattr(files, "_locked_file", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), claiming(tmp_path / "out"):
            raise AssertionError("it went on")
    finally:
        signal.signal(signal.SIGINT, before)
    assert not os.listdir(tmp_path)


def hard_link(path: Path, target: Path) -> None:
    os.link(target, path)


def soft_link(path: Path, target: Path) -> None:
    path.symlink_to(target)


@pytest.mark.parametrize("link", [hard_link, soft_link, None], ids=["hard", "soft", "same"])
@pytest.mark.parametrize(
    "command", sorted(COMMANDS.keys() - {"benchmark", "plot"})
)  # these read nothing
def test_an_output_that_is_an_input_is_refused(command, link, run, model, video, tmp_path):
    suffix = COMMANDS[command][2]
    needed = [model / "model.safetensors", model / "config.json"]
    if command == "classify":
        needed.append(video)
    elif command in ("evaluate", "predictions", "confusion"):
        needed += [video, tmp_path / "table.csv"]
    for number, target in enumerate(needed):
        if link is None and target.suffix != suffix and suffix:
            continue  # the suffix refuses it
        output = target if link is None else tmp_path / f"link{number}{suffix}"
        if link is not None:
            link(output, target)
        before = target.read_bytes()
        ran = run(command, output)
        assert ran.exit_code == 2, (target, ran.output)
        assert ran.stderr.count("\n") == 1
        refused_by_suffix = link is None and "no format goes by .safetensors" in ran.stderr
        assert "is the same file as" in ran.stderr or refused_by_suffix
        assert target.read_bytes() == before


def test_the_list_on_stdin_is_an_input(model, video, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{video}\n")
    with listed.open() as stdin:
        ran = process("classify", "-", "-m", str(model), "-o", str(listed), stdin=stdin)
    assert ran.returncode == 2
    assert b"is the same file as stdin" in ran.stderr
    assert listed.read_text() == f"{video}\n"


@pytest.mark.parametrize("there", [True, False])
def test_two_outputs_are_two_files(there, run, model, tmp_path):
    output = tmp_path / "out.jsonl"
    if there:
        output.write_text("")
    table = str(tmp_path / "table.csv")
    words = ["evaluate", table, "-m", str(model), "-o", str(output)]
    ran = CliRunner().invoke(app, [*words, "--predictions", f"{tmp_path}/./out.jsonl"])
    assert ran.exit_code == 2
    assert "is the same file as" in ran.stderr


@each_command
def test_a_name_that_just_fits_the_disk_is_written(command, run, tmp_path):
    suffix = COMMANDS[command][2]
    path = tmp_path / ("x" * (255 - len(suffix)) + suffix)
    ran = run(command, path)
    assert ran.exit_code == 0, ran.stderr
    assert path.stat().st_size > 20


def test_a_name_too_long_for_the_disk_is_one_line(run, tmp_path):
    ran = run("classify", tmp_path / ("x" * 256))
    assert (ran.exit_code, ran.stderr.count("\n")) == (2, 1)
    assert "cannot be written there (File name too long)" in ran.stderr


def test_a_name_is_cut_within_no_letter(tmp_path):
    path = tmp_path / ("a" + "é" * 127)
    with formats.writing(path) as stream:
        stream.write("whole")
    assert path.read_text() == "whole"


def test_a_socket_and_a_folder_are_refused(tmp_path, monkeypatch):
    import socket

    monkeypatch.chdir(tmp_path)  # a socket's whole path may have 108 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for path in (Path("socket"), tmp_path):
            with pytest.raises(UsageError, match="cannot be written there"):
                files.require_output(path)


def test_an_exception_leaves_what_the_link_leads_to(tmp_path):
    (tmp_path / "real").write_text("the one before")
    (tmp_path / "link").symlink_to("real")

    def fail() -> None:
        with formats.writing(tmp_path / "link") as stream:
            stream.write("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "real").read_text() == "the one before"
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]
