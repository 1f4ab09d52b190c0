"""Weights whose digest is known are hashed once, by whatever command loads them first."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support import clips
from tests.support.commands import COMMANDS, command_name, run_command
from tests.support.hub import COMMIT, python
from tests.support.models import randomised, tiny
from timesformer_cli.cli.app import app
from timesformer_cli.errors import ExitCode, WeightsError
from timesformer_cli.weights.catalogue import ASSETS, BUNDLED, WEIGHTS, Weights
from timesformer_cli.weights.digest import SHA256, Digest
from timesformer_cli.weights.hub import hashed_files, intact
from timesformer_cli.weights.hub import locate as names
from timesformer_cli.weights.load import load_model, save_model

FILE = "model.safetensors"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Caches of this test's own: the hub's, and ours."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name, value in (("HF_HUB_CACHE", "hub"), ("TSF_CACHE", "tsf")):
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def on_the_hub(cache, model_folder, monkeypatch):
    """The model as the hub's own client keeps it, named by digests."""
    storage = cache / "hub" / "models--org--model"
    folder = storage / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (storage / "blobs").mkdir()
    (storage / "refs").mkdir()
    (storage / "refs" / "main").write_text(COMMIT)
    for file in model_files(model_folder):
        content = file.read_bytes()
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        name = git if file.suffix == ".json" else hashlib.sha256(content).hexdigest()
        (storage / "blobs" / name).write_bytes(content)
        (folder / file.name).symlink_to(f"../../blobs/{name}")
    return "org/model", folder / FILE


def at_a_url(cache, model_folder, monkeypatch, digits=""):
    """The model as one file with the record that our download leaves beside it."""
    url = "http://127.0.0.1:1/tiny.safetensors"
    known = {"frames": 8, "stride": 2, "size": 64, "classes": 5, "licence": "", "about": ""}
    monkeypatch.setitem(WEIGHTS, "plain", Weights(name="plain", url=url, sha256=digits, **known))
    file = cache / "tsf" / "weights" / "plain" / "tiny.safetensors"
    file.parent.mkdir(parents=True)
    save_model(randomised(tiny()), cache / "saved")
    shutil.copy(cache / "saved" / FILE, file)
    record = f"{SHA256.of_file(file)}  {file.name}\n"
    file.with_name(f"{file.name}.sha256").write_text(record)
    return "plain", file


def by_first_digits(cache, model_folder, monkeypatch):
    """The same, known by the catalogue's first digits alone."""
    name, file = at_a_url(cache, model_folder, monkeypatch)
    file.with_name(f"{file.name}.sha256").write_bytes(b"\xff\0 no record")
    digits = SHA256.of_file(file)[:8]
    row = WEIGHTS[name]
    changed = {one: getattr(row, one) for one in row.__slots__} | {"sha256": digits}
    monkeypatch.setitem(WEIGHTS, name, Weights(**changed))
    return name, file


def with_the_package(cache, model_folder, monkeypatch):
    shutil.copytree(ASSETS / BUNDLED, cache / BUNDLED)
    monkeypatch.setattr(names, "ASSETS", cache)
    return BUNDLED, cache / BUNDLED / FILE


KNOWN = [on_the_hub, at_a_url, by_first_digits, with_the_package]


def model_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix != ".md")


def flip(file: Path, back: int = 2) -> None:
    """Change a bit of the last weights but one: half of the exponent's lowest, so still finite."""
    real = file.resolve()
    content = bytearray(real.read_bytes())
    content[-back - 4] ^= 1
    real.write_bytes(content)


def aged(*files: Path) -> None:
    """The files as if written an hour ago."""
    for file in files:
        os.utime(file, ns=(time.time_ns() - 3600 * 10**9,) * 2)


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files that were hashed, in order."""
    files = []
    real = Digest.of_file

    def counted(self, path):
        files.append(Path(path).name)
        return real(self, path)

    monkeypatch.setattr(Digest, "of_file", counted)
    return files


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.__name__)
def test_a_flipped_bit_is_said_and_the_second_run_hashes_nothing(
    known, cache, model_folder, monkeypatch, hashed
):
    name, file = known(cache, model_folder, monkeypatch)
    aged(*file.parent.iterdir())
    hashed.clear()
    load_model(name)
    assert hashed.count(file.name) == 1
    hashed.clear()
    load_model(name)
    assert hashed == []
    flip(file)
    with pytest.raises(WeightsError) as raised:
        load_model(name)
    said = str(raised.value)
    assert str(file) in said and "not what was published (its hash is " in said
    assert "\n" not in said
    advice = "install tsf again" if name == BUNDLED else f"`tsf download-weights --verify {name}`"
    assert advice in said
    with pytest.raises(WeightsError):  # a mismatch is no fact to be remembered as right
        load_model(name)
    flip(file)
    load_model(name)


def test_a_changed_configuration_of_the_hub_is_said_too(cache, model_folder, monkeypatch):
    name, file = on_the_hub(cache, model_folder, monkeypatch)
    config = (file.parent / "preprocessor_config.json").resolve()
    config.write_bytes(config.read_bytes().replace(b"0.45", b"0.55"))
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json: not what was published"):
        load_model(name)


def test_a_path_into_the_hubs_cache_is_checked_as_well(cache, model_folder, monkeypatch):
    _, file = on_the_hub(cache, model_folder, monkeypatch)
    load_model(str(file.parent))
    flip(file)
    for path in (file.parent, file):
        with pytest.raises(WeightsError, match=r"published .*; copy it anew, or fetch it again"):
            load_model(str(path))


def test_of_a_folder_of_the_users_own_nothing_is_known(cache, model_folder, hashed):
    (model_folder / f"{FILE}.sha256").write_text("0" * 64)
    try:
        load_model(str(model_folder))
    finally:
        (model_folder / f"{FILE}.sha256").unlink()
    assert hashed == [] and not (cache / "tsf").exists()


def test_a_file_converted_from_the_users_own_has_no_published_digest(
    cache, model_folder, monkeypatch
):
    name, file = by_first_digits(cache, model_folder, monkeypatch)
    own = names.own_folder(name, None)
    save_model(randomised(tiny(), seed=1), own)
    assert SHA256.of_file(own / FILE) != SHA256.of_file(file)
    load_model(name)


def test_the_command_ends_in_one_line(cache, model_folder, monkeypatch):
    name, file = on_the_hub(cache, model_folder, monkeypatch)
    video = clips.write(cache / "clip.mp4", 24)
    command = [sys.executable, "-m", "timesformer_cli", "classify", str(video), "-m", name]
    ran = [subprocess.run(command, capture_output=True, text=True, timeout=120)]
    flip(file)
    ran.append(subprocess.run(command, capture_output=True, text=True, timeout=120))
    assert [one.returncode for one in ran] == [ExitCode.OK, ExitCode.WEIGHTS]
    assert (ran[1].stdout, ran[1].stderr.count("\n")) == ("", 1)
    assert ran[1].stderr.startswith(f"error: {file}: not what was published")


@pytest.mark.parametrize("arguments", COMMANDS, ids=command_name)
def test_every_command_that_loads_weights_checks_them(arguments, cache, model_folder, monkeypatch):
    name, file = on_the_hub(cache, model_folder, monkeypatch)
    flip(file)
    ran = run_command(arguments, name, cache)
    assert ran.exit_code == ExitCode.WEIGHTS, ran.stderr
    assert f"{file}: not what was published" in ran.stderr


def test_the_catalogue_knows_the_model_that_comes_with_the_package():
    assert WEIGHTS[BUNDLED].sha256 == SHA256.of_file(ASSETS / BUNDLED / FILE)
    ran = CliRunner().invoke(app, ["download-weights", "--verify", BUNDLED])
    states = {line.split()[2]: line.split()[0] for line in ran.stdout.splitlines()}
    assert states == dict.fromkeys(
        ("README.md", "config.json", "preprocessor_config.json"), "unknown"
    ) | {FILE: "ok"}


def test_verify_hashes_all_the_same(cache, model_folder, monkeypatch, hashed):
    name, file = on_the_hub(cache, model_folder, monkeypatch)
    aged(*(blob.resolve() for blob in file.parent.iterdir()))
    for _ in range(2):
        hashed.clear()
        assert {one.state for one in names.verify_files(name)} == {"ok"}
        assert len(hashed) == 3
    hashed.clear()
    load_model(name)
    assert hashed == []  # what it found is remembered


# The memory.


@pytest.fixture
def file(cache):
    path = cache / "weights"
    path.write_bytes(b"weights")
    aged(path)
    return path


DIGEST = Digest(hashlib.sha256(b"weights").hexdigest())


def remember(file: Path, digest: Digest = DIGEST) -> None:
    hashed_files.remember_hashed({file: (file.stat(), digest.digits)})


def memory(cache: Path) -> Path:
    return cache / "tsf" / hashed_files.MEMORY


def touch(file):
    os.utime(file)


def replace_it(file):
    status = file.stat()
    other = file.with_name("other")
    other.write_bytes(b"weightS")
    os.utime(other, ns=(status.st_mtime_ns,) * 2)
    os.replace(other, file)


def lengthen(file):
    status = file.stat()
    file.write_bytes(b"weights and more")
    os.utime(file, ns=(status.st_mtime_ns,) * 2)


@pytest.mark.parametrize("change", [touch, replace_it, lengthen], ids=lambda one: one.__name__)
def test_a_file_that_changed_is_hashed_again(file, change):
    remember(file)
    assert hashed_files.was_hashed(file, DIGEST)
    assert not hashed_files.was_hashed(file, Digest("0" * 64))
    assert not hashed_files.was_hashed(file, Digest(DIGEST.digits[:40], git=True))
    assert hashed_files.was_hashed(file, Digest(DIGEST.digits[:8]))
    change(file)
    assert not hashed_files.was_hashed(file, DIGEST)


def test_a_file_that_was_just_written_is_not_yet_trusted(file):
    """It may change once more under the same time stamp, as disks round them."""
    os.utime(file)
    remember(file)
    assert not hashed_files.was_hashed(file, DIGEST)
    assert hashed_files.size_of_hashed(file, DIGEST) == 7


CONTENTS = {
    "missing": None,
    "empty": b"",
    "no JSON": b"\xff{",
    "a list": b"[]",
    "other values": b'{"PATH": 3, "x": [1]}',
    "other types": b'{"PATH": [7, "MTIME", 1, null]}',
    "too deep": b"[" * 100_000,
    "too large": b'{"PATH": [7, MTIME, INODE, "DIGITS"]}' + b" " * 2**20,
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_missing_or_damaged_memory_is_made_anew(cache, file, content):
    if content is not None:
        memory(cache).parent.mkdir()
        status = file.stat()
        facts = {
            b"PATH": os.fsencode(file),
            b"MTIME": b"%d" % status.st_mtime_ns,
            b"INODE": b"%d" % status.st_ino,
            b"DIGITS": DIGEST.digits.encode(),
        }
        for word, fact in facts.items():
            content = content.replace(word, fact)
        memory(cache).write_bytes(content)
    assert not hashed_files.was_hashed(file, DIGEST)
    assert hashed_files.size_of_hashed(file, DIGEST) is None
    remember(file)
    assert hashed_files.was_hashed(file, DIGEST)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name here")
def test_a_pipe_in_the_memorys_place_holds_nobody_up(cache, file):
    memory(cache).parent.mkdir()
    os.mkfifo(memory(cache))
    assert not hashed_files.was_hashed(file, DIGEST)


@pytest.mark.parametrize("way", ["a folder", "no folder", "read-only"])
def test_a_memory_that_cannot_be_written_is_done_without(
    cache, model_folder, monkeypatch, way, hashed
):
    name, file = on_the_hub(cache, model_folder, monkeypatch)
    if way == "a folder":
        memory(cache).mkdir(parents=True)
    elif way == "no folder":
        (cache / "tsf").write_text("in the way")
    else:

        def refused(path):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(hashed_files, "replacing", refused)
    for _ in range(2):
        hashed.clear()
        load_model(name)
        assert hashed.count(FILE) == 1
    flip(file)
    with pytest.raises(WeightsError, match="not what was published"):
        load_model(name)


def test_the_memory_is_bounded_and_keeps_the_newest(cache, file, monkeypatch):
    monkeypatch.setattr(hashed_files, "MOST", 20)
    many = [cache / f"file {number}" for number in range(30)]
    for one in many:
        one.write_bytes(b"weights")
        aged(one)
        remember(one)
        remember(many[0])
    kept = {Path(key).name for key in json.loads(memory(cache).read_bytes())}
    assert kept == {one.name for one in [many[0], *many[-19:]]}
    assert [path.name for path in (cache / "tsf").iterdir()] == [hashed_files.MEMORY]


def test_so_many_files_fit_into_a_memory_that_is_read(cache, file):
    names_ = [Path(f"/{'a long folder name/' * 20}{number}") for number in range(hashed_files.MOST)]
    hashed_files.remember_hashed({name: (file.stat(), DIGEST.digits) for name in names_})
    remember(file)
    assert hashed_files.was_hashed(file, DIGEST)


RACE = """
import os, sys
from pathlib import Path
from timesformer_cli.weights.hub import hashed_files
folder, own = Path(sys.argv[1]), sys.argv[2]
for number in range(40):
    file = folder / f"{own}{number}"
    file.write_bytes(b"weights")
    os.utime(file, (1, 1))
    hashed_files.remember_hashed({file: (file.stat(), "0" * 64)})
    hashed_files._read()
"""


def test_two_processes_that_remember_at_once_leave_a_whole_memory(cache):
    two = [python(RACE, cache, own) for own in "ab"]
    seen = []
    while any(process.poll() is None for process in two):
        if memory(cache).exists():
            seen.append(json.loads(memory(cache).read_bytes()))
    assert [process.communicate() for process in two] == [("", "")] * 2
    last = json.loads(memory(cache).read_bytes())
    assert all(entry[0] == 7 for entries in [*seen, last] for entry in entries.values())
    assert {Path(key).name for key in last} & {"a39", "b39"}


def test_a_file_that_changes_while_it_is_hashed_is_hashed_again(
    cache, model_folder, monkeypatch, hashed
):
    name, file = on_the_hub(cache, model_folder, monkeypatch)
    aged(file.resolve())
    counted = Digest.of_file

    def slow(self, path):
        found = counted(self, path)
        if Path(path).name == FILE:
            os.utime(path)
        return found

    monkeypatch.setattr(Digest, "of_file", slow)
    load_model(name)
    monkeypatch.setattr(Digest, "of_file", counted)
    hashed.clear()
    load_model(name)
    assert FILE in hashed


def test_only_files_that_are_read_are_hashed(tmp_path):
    for name in ("config.json", FILE, "pytorch_model.bin", "training.pt", "README.md"):
        (tmp_path / name).write_bytes(b"x")
    assert [file.name for file in intact.model_files(tmp_path)] == ["config.json", FILE]
