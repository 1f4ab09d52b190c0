"""Models from the hub, into the cache of its own client, against a hub on loopback with faults."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.hub import COMMIT, python, serving, tree, until
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.catalogue import WEIGHTS
from timesformer_cli.weights.description import PROCESSOR_FILES
from timesformer_cli.weights.hub import download as fetching
from timesformer_cli.weights.hub import locate as names
from timesformer_cli.weights.load import load_model

REPO = "org/model"
WEIGHTS_FILE, SIZE = "model.safetensors", 300_000
# The length of the header, the header, and as many bytes as it says.
HEADER = b'{"w":{"dtype":"U8","shape":[299926],"data_offsets":[0,299926]}}   '
TENSOR = random.Random(1).randbytes(299_926)
FILES = {
    "config.json": b'{"model_type": "timesformer"}',
    "preprocessor_config.json": b'{"size": 64}',
    WEIGHTS_FILE: len(HEADER).to_bytes(8, "little") + HEADER + TENSOR,
}
FETCH = """
import sys
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.hub import locate
try:
    print(locate.locate(sys.argv[1]).path)
except WeightsError as error:
    sys.exit(f"WeightsError: {error}")
"""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    from huggingface_hub import constants

    folder = tmp_path / "served" / REPO
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    monkeypatch.setattr(fetching, "PAUSES", (0.01,) * 4)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "secret")
    with serving(tmp_path / "served") as server:
        # The client reads these when it is imported, which may have been long ago.
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        template = server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


@pytest.fixture
def real(hub, model_folder):
    """The hub's model is one that runs, of whose labels and pictures nothing is said."""
    folder = hub.root / REPO
    shutil.rmtree(folder)
    shutil.copytree(model_folder, folder)
    (folder / "preprocessor_config.json").unlink()
    return folder


NORMALISED = "mean 0.45 and std 0.225 are assumed, as of base-k400"


@pytest.mark.parametrize("name", [REPO, f"{REPO}@main"])
def test_notes_name_a_model_as_the_user_did(name, real, hub, cache):
    _, notes = load_model(names.locate(name, cache_dir=cache))
    assert notes == (f"{name}: no preprocessor_config.json; {NORMALISED}",)
    assert COMMIT not in "".join(notes)


def no_json(folder):
    (folder / "config.json").write_text("{")


def another_shape(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 100}))


def no_tensors(folder):
    (folder / WEIGHTS_FILE).write_bytes(b"nothing")


@pytest.mark.parametrize("spoil", [no_json, another_shape, no_tensors])
def test_errors_name_a_model_as_the_user_did(spoil, real, hub, cache):
    spoil(real)
    located = names.locate(REPO, cache_dir=cache)
    with pytest.raises(WeightsError) as caught:
        load_model(located)
    assert str(caught.value).startswith(f"{REPO}/")
    assert COMMIT not in str(caught.value) and str(cache) not in str(caught.value)


def test_a_path_is_named_as_a_path(real, hub, cache):
    """Also that of a snapshot, where the user gives it."""
    path = names.locate(REPO, cache_dir=cache).path
    _, notes = load_model(str(path))
    assert notes[0].startswith(f"{path}: ")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def process(hub, cache: Path, name: str = REPO, **environment: str) -> subprocess.Popen[str]:
    """One that reads its settings from the environment, as `tsf` does."""
    settings = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(cache), **environment}
    return python(FETCH, name, env=os.environ | settings)


def storage(cache: Path) -> Path:
    return cache / "models--org--model"


def blobs(cache: Path) -> list[Path]:
    return sorted((storage(cache) / "blobs").glob("*"))


def test_a_model_is_fetched_once_and_then_comes_from_the_cache(hub, cache):
    assert names.cached(REPO, cache_dir=cache) is None
    with pytest.raises(WeightsError, match=r"offline; where .* run `hf download org/model`"):
        names.locate(REPO, cache_dir=cache, offline=True)
    assert not hub.asked and not cache.exists()
    located = names.locate(REPO, cache_dir=cache)
    folder, row = located.path, located.row
    assert row is None and tree(folder) == FILES
    assert folder == storage(cache) / "snapshots" / COMMIT
    asked = len(hub.asked)
    assert names.locate(REPO, cache_dir=cache, offline=True).path == folder
    assert names.locate(REPO, cache_dir=cache).path == folder
    assert names.cached(f"{REPO}@{COMMIT}", cache_dir=cache) == folder
    assert names.cached(REPO, revision="other", cache_dir=cache) is None
    assert len(hub.asked) == asked


def test_the_hubs_own_client_finds_what_we_fetched_and_we_what_it_did(hub, cache, tmp_path):
    from huggingface_hub import hf_hub_download, scan_cache_dir
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    names.fetch(REPO, cache_dir=cache)
    for name, content in FILES.items():
        found = hf_hub_download(REPO, name, cache_dir=cache, local_files_only=True)
        assert Path(found).read_bytes() == content
    scanned = scan_cache_dir(cache)
    assert not scanned.warnings and not scanned.incomplete_files
    for name in {*FILES, *PROCESSOR_FILES}:
        with suppress(LocalEntryNotFoundError, RemoteEntryNotFoundError):
            hf_hub_download(REPO, name, cache_dir=tmp_path / "theirs")
    theirs = names.cached(REPO, cache_dir=tmp_path / "theirs")
    assert theirs is not None and tree(theirs) == FILES
    assert tree(cache / "models--org--model") == tree(tmp_path / "theirs" / "models--org--model")


def test_the_environment_keeps_its_meaning(hub, cache):
    def ran(**environment: str) -> tuple[str, str]:
        return process(hub, cache, **environment).communicate(timeout=60)

    folder = f"{storage(cache) / 'snapshots' / COMMIT}\n"
    assert "tsf is offline" in ran(HF_HUB_OFFLINE="1")[1]
    assert ran() == (folder, "")
    asked = len(hub.asked)
    assert ran(HF_HUB_OFFLINE="1") == (folder, "")
    assert ran(HF_ENDPOINT="http://127.0.0.1:1") == (folder, "")
    assert len(hub.asked) == asked


@pytest.mark.parametrize("name", [name for name, row in WEIGHTS.items() if row.repo][:2])
def test_a_catalogue_name_is_fetched_at_its_pinned_revision(hub, cache, name):
    row = WEIGHTS[name]
    assert row.repo and row.revision
    shutil.copytree(hub.root / REPO, hub.root / row.repo)
    with pytest.raises(WeightsError, match=f"no such revision as '{row.revision}'"):
        names.fetch(name, cache_dir=cache)
    hub.commit = row.revision
    located = names.locate(name, cache_dir=cache)
    folder, found = located.path, located.row
    assert found is row and folder.name == row.revision and tree(folder) == FILES
    for alias in (row.repo, *row.aliases):
        other = names.locate(alias, cache_dir=cache, offline=True)
        assert (other.path, other.row) == (folder, row)
    assert names.fetch(name, revision="main", cache_dir=cache) == folder


@pytest.mark.parametrize("right", [True, False])
def test_weights_whose_hash_the_catalogue_knows_are_no_others(hub, cache, monkeypatch, right):
    proof = hashlib.sha256(FILES[WEIGHTS_FILE]).hexdigest() if right else "0" * 64
    row = replace(WEIGHTS["base-k400"], name="known", repo=REPO, revision=COMMIT, sha256=proof)
    monkeypatch.setitem(WEIGHTS, "known", row)
    if right:
        names.fetch("known", cache_dir=cache)
    else:
        with pytest.raises(WeightsError, match="is not the one that tsf knows"):
            names.fetch("known", cache_dir=cache)
        assert tree(cache) == {}
        names.fetch("known", revision="main", cache_dir=cache)
    states = {checked.state for checked in names.verify_files("known", cache_dir=cache)}
    assert states == ({"ok"} if right else {"ok", "bad"})


def test_a_server_that_answers_with_another_commit_is_refused(hub, cache, monkeypatch):
    from huggingface_hub import constants

    pinned = "f" * 40
    template = f"{hub.endpoint}/{{repo_id}}/resolve/main/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.raises(WeightsError, match=f"asked for {pinned}, the server answers with {COMMIT}"):
        names.fetch(REPO, revision=pinned, cache_dir=cache)
    assert tree(cache) == {}


def test_a_repository_with_a_pickle_only_is_fetched_too(hub, cache):
    (hub.root / REPO / WEIGHTS_FILE).rename(hub.root / REPO / "pytorch_model.bin")
    (hub.root / REPO / "preprocessor_config.json").unlink()
    assert set(tree(names.fetch(REPO, cache_dir=cache))) == {"config.json", "pytorch_model.bin"}
    assert names.cached(REPO, cache_dir=cache) is not None


def test_a_tokenizer_comes_with_its_model(hub, cache):
    (hub.root / REPO / "tokenizer.json").write_bytes(b"{}")
    assert tree(names.fetch(REPO, cache_dir=cache)) == FILES | {"tokenizer.json": b"{}"}


def test_preprocessing_that_another_tool_left_out_is_fetched_where_it_can_be(hub, cache):
    from huggingface_hub import hf_hub_download

    for name in ("config.json", WEIGHTS_FILE):
        hf_hub_download(REPO, name, cache_dir=cache)
    folder = names.locate(REPO, cache_dir=cache, offline=True).path
    assert "preprocessor_config.json" not in tree(folder)
    hub.faults["HEAD", "config.json"] = [503] * 5
    assert names.locate(REPO, cache_dir=cache).path == folder
    assert "preprocessor_config.json" not in tree(folder)
    assert names.locate(REPO, cache_dir=cache).path == folder
    assert tree(folder) == FILES
    assert len([asked for asked in hub.asked if asked.path.startswith("/cdn/")]) == 1


def refused(hub, kind: str) -> None:
    config, weights = ("HEAD", "config.json"), ("HEAD", WEIGHTS_FILE)
    faults = {"unauthorised": 401, "forbidden": 403, "down": 503}
    if kind == "gated":
        hub.gated.add(REPO)
    elif kind in faults:
        hub.faults[config if kind != "forbidden" else weights] = [faults[kind]] * 9
    elif kind == "no model":
        (hub.root / REPO / "config.json").unlink()
    elif kind == "no weights":
        (hub.root / REPO / WEIGHTS_FILE).unlink()


REFUSED = {
    "no such repository": ("org/nothing", "'org/nothing' is not on the hub .*hf auth login"),
    "no such revision": (f"{REPO}@v9.1", r"no such revision as 'v9\.1'"),
    "gated": (REPO, "is gated: accept its terms.*hf auth login"),
    "unauthorised": (REPO, r"not on the hub|refuses .*\(401\): log in"),
    "forbidden": (REPO, r"refuses .*\(403\): log in with `hf auth login`"),
    "no model": (REPO, "has no config.json"),
    "no weights": (REPO, "has no model.safetensors or pytorch_model.bin"),
    "down": (REPO, "the hub answered 503; .*--model camera-motion"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_the_hub_refuses_is_explained_in_a_line(hub, cache, kind):
    name, words = REFUSED[kind]
    refused(hub, kind)
    with pytest.raises(WeightsError, match=words) as raised:
        names.fetch(name, cache_dir=cache)
    assert "\n" not in str(raised.value)
    assert tree(cache) == {}
    assert len([asked for asked in hub.asked if "config.json" in asked.path]) <= 6


@pytest.mark.parametrize("name", ["org/..@main", "../model", f"{REPO}@../../x", "org/a--b", "ä/b"])
def test_a_name_that_leads_out_of_the_cache_is_no_hub_id(hub, cache, name):
    with pytest.raises(WeightsError, match=r"no hub id|no model"):
        names.fetch(name, cache_dir=cache)
    assert not hub.asked and tree(cache) == {}


def test_an_image_model_of_timm_comes_from_its_repository(hub, cache):
    shutil.copytree(hub.root / REPO, hub.root / "timm" / "vit_tiny.some_tag")
    assert tree(names.fetch("timm:vit_tiny.some_tag", cache_dir=cache)) == FILES


@pytest.mark.parametrize("offline", [True, False])
def test_weights_that_are_only_a_file_say_so(offline):
    with pytest.raises(WeightsError, match=r"publish only a file.*--from-file PATH"):
        names.locate("howto100m-8x32", offline=offline)
    assert names.cached("howto100m-8x32") is None


def test_what_passes_is_sat_out_and_a_cut_download_goes_on(hub, cache):
    hub.faults["HEAD", "config.json"] = [503, "drop", 429]
    hub.faults["GET", "config.json"] = [503, 0.0]
    hub.faults["GET", WEIGHTS_FILE] = [502, 0.5]
    assert tree(names.fetch(REPO, cache_dir=cache)) == FILES
    assert hub.gets(WEIGHTS_FILE) == [None, None, f"bytes={SIZE // 2}-"]
    assert not any(hub.faults.values())


def test_the_token_goes_to_the_hub_and_no_further(hub, cache):
    names.fetch(REPO, cache_dir=cache)
    told = {asked.path.startswith("/cdn/"): asked.token for asked in hub.asked}
    assert told == {False: "Bearer secret", True: None}


@pytest.mark.parametrize("file", ["config.json", WEIGHTS_FILE])
def test_other_bytes_than_promised_are_refused_and_not_kept(hub, cache, file):
    hub.faults["GET", file] = ["wrong"]
    with pytest.raises(WeightsError, match=f"'{file}': what came .* is not what was published"):
        names.fetch(REPO, cache_dir=cache)
    assert not list(cache.rglob(file))
    assert names.cached(REPO, cache_dir=cache) is None
    assert tree(names.fetch(REPO, cache_dir=cache)) == FILES


@pytest.mark.parametrize("file", FILES)
def test_verify_finds_and_removes_what_has_changed_in_the_cache(hub, cache, file):
    assert names.verify_files(REPO, cache_dir=cache) == ()
    folder = names.fetch(REPO, cache_dir=cache)
    blob = (folder / file).resolve()
    assert {checked.state for checked in names.verify_files(REPO, cache_dir=cache)} == {"ok"}
    blob.write_bytes(bytes(255 - byte for byte in FILES[file]))
    found = {checked.file.name: checked for checked in names.verify_files(REPO, cache_dir=cache)}
    assert {name for name, checked in found.items() if checked.state != "ok"} == {file}
    assert found[file].state == "bad" and "removed: run `tsf download-weights" in found[file].note
    assert not blob.exists() and not (folder / file).is_symlink()
    assert names.cached(REPO, cache_dir=cache) is None
    with pytest.raises(WeightsError, match="offline"):
        names.locate(REPO, cache_dir=cache, offline=True)
    assert tree(names.fetch(REPO, cache_dir=cache)) == FILES
    assert len(hub.gets(WEIGHTS_FILE)) == 1 + (file == WEIGHTS_FILE)


WRONG_SIZE = {
    "cut": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "longer": lambda content: content + b"\n",
    "empty": lambda content: b"",
}


def damaged(folder: Path, file: str, how: str) -> Path:
    """The blob behind the file, now of another size."""
    blob = (folder / file).resolve()
    blob.write_bytes(WRONG_SIZE[how](FILES[file]))
    return blob


@pytest.mark.parametrize("how", WRONG_SIZE)
@pytest.mark.parametrize("file", FILES)
def test_a_cached_file_of_the_wrong_size_is_fetched_again_by_whoever_meets_it(
    hub, cache, file, how
):
    folder = names.fetch(REPO, cache_dir=cache)
    damaged(folder, file, how)
    assert names.cached(REPO, cache_dir=cache) is None
    with pytest.raises(WeightsError, match=rf"{file}: .*; tsf is offline") as raised:
        names.locate(REPO, cache_dir=cache, offline=True)
    assert "\n" not in str(raised.value)
    before = len(hub.gets(WEIGHTS_FILE))
    assert names.locate(REPO, cache_dir=cache).path == folder
    assert tree(folder) == FILES
    assert len(hub.gets(WEIGHTS_FILE)) == before + (file == WEIGHTS_FILE)
    assert names.locate(REPO, cache_dir=cache, offline=True).path == folder


@pytest.mark.parametrize("how", WRONG_SIZE)
def test_a_header_alone_tells_that_a_file_of_another_tool_is_not_whole(hub, cache, how):
    from huggingface_hub import hf_hub_download

    for name in FILES:
        hf_hub_download(REPO, name, cache_dir=cache)
    folder = names.locate(REPO, cache_dir=cache, offline=True).path
    damaged(folder, WEIGHTS_FILE, how)
    assert tree(names.locate(REPO, cache_dir=cache).path) == FILES


def test_a_pickle_of_the_wrong_size_is_known_by_what_the_hub_said_of_it(hub, cache):
    (hub.root / REPO / WEIGHTS_FILE).rename(hub.root / REPO / "pytorch_model.bin")
    folder = names.fetch(REPO, cache_dir=cache)
    blob = (folder / "pytorch_model.bin").resolve()
    blob.write_bytes(FILES[WEIGHTS_FILE][:-1])
    with pytest.raises(WeightsError, match=r"299,999 bytes, not 300,000.*offline"):
        names.locate(REPO, cache_dir=cache, offline=True)
    assert names.locate(REPO, cache_dir=cache).path == folder
    assert blob.read_bytes() == FILES[WEIGHTS_FILE]


def test_a_file_of_the_wrong_size_and_no_network_is_one_line(hub, cache):
    folder = names.fetch(REPO, cache_dir=cache)
    damaged(folder, WEIGHTS_FILE, "cut")
    fault = f"{folder / WEIGHTS_FILE}: 150,000 bytes, not 300,000"
    for environment, words in (
        ({"HF_HUB_OFFLINE": "1"}, f"{fault}; tsf is offline; "),
        ({"HF_ENDPOINT": "http://127.0.0.1:1"}, f"{fault}; it cannot be fetched again: "),
    ):
        output, errors = process(hub, cache, **environment).communicate(timeout=60)
        assert output == "" and errors.count("\n") == 1
        assert errors.startswith(f"WeightsError: {words}"), errors
    assert process(hub, cache).communicate(timeout=60) == (f"{folder}\n", "")


def test_two_processes_that_meet_a_damaged_file_make_one_transfer(hub, cache):
    folder = names.fetch(REPO, cache_dir=cache)
    damaged(folder, WEIGHTS_FILE, "cut")
    hub.faults["GET", WEIGHTS_FILE] = ["slow"]
    before = len(hub.gets(WEIGHTS_FILE))
    ended = [process.communicate(timeout=60) for process in [process(hub, cache) for _ in "ab"]]
    assert ended == [(f"{folder}\n", "")] * 2
    assert len(hub.gets(WEIGHTS_FILE)) == before + 1


def test_a_damaged_file_in_a_store_of_the_users_own_is_left_there(hub, cache, tmp_path):
    folder = names.fetch(REPO, cache_dir=cache)
    blob, store = (folder / WEIGHTS_FILE).resolve(), tmp_path / "store"
    blob.unlink()
    store.write_bytes(b"half")
    blob.symlink_to(store)
    assert tree(names.locate(REPO, cache_dir=cache).path) == FILES
    assert store.read_bytes() == b"half"


def test_verify_still_finds_and_removes_a_file_of_the_wrong_size(hub, cache):
    folder = names.fetch(REPO, cache_dir=cache)
    blob = damaged(folder, WEIGHTS_FILE, "cut")
    states = {one.file.name: one.state for one in names.verify_files(REPO, cache_dir=cache)}
    assert states == dict.fromkeys(FILES, "ok") | {WEIGHTS_FILE: "bad"}
    assert not blob.exists()


def test_a_wrong_memory_of_a_size_costs_a_hash_and_no_file(hub, cache, monkeypatch, tmp_path):
    monkeypatch.setenv("TSF_CACHE", str(tmp_path / "tsf"))
    folder = names.fetch(REPO, cache_dir=cache)
    (memory,) = (tmp_path / "tsf").iterdir()
    assert b"300000" in memory.read_bytes()
    memory.write_bytes(memory.read_bytes().replace(b"300000", b"300001"))
    assert names.locate(REPO, cache_dir=cache, offline=True).path == folder


HOSTILE = "../../../../escaped"


@pytest.mark.parametrize("file", [*FILES, "commit"])
@pytest.mark.parametrize("value", [HOSTILE, "abc", "A" * 64, "0" * 63 + "/", ""], ids=range(5))
def test_hostile_names_from_the_server_reach_no_path(hub, cache, tmp_path, file, value):
    cache.mkdir()
    before = tree(tmp_path)
    if file == "commit":
        hub.commit = value or " "
    else:
        hub.etags[file] = value or " "
    with pytest.raises(WeightsError, match=r"is no hash; nothing is written|hub cannot be reached"):
        names.fetch(REPO, cache_dir=cache)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "fault", [("HEAD", "config.json"), ("GET", "config.json"), ("GET", WEIGHTS_FILE)]
)
def test_a_silent_hub_is_given_up_and_the_next_run_completes(hub, cache, fault):
    hub.faults[fault] = ["hang"] * 9
    began = time.monotonic()
    with pytest.raises(WeightsError, match="no byte came for 1 s"):
        names.fetch(REPO, cache_dir=cache, stall=1.0)
    assert time.monotonic() - began < 10
    assert names.cached(REPO, cache_dir=cache) is None
    hub.faults.clear()
    assert tree(names.fetch(REPO, cache_dir=cache)) == FILES


def test_a_slow_hub_is_waited_for_and_reported_on(hub, cache, capfd):
    hub.faults["GET", WEIGHTS_FILE] = ["slow"]
    seen: list[tuple[str, int, int | None]] = []
    names.fetch(REPO, cache_dir=cache, stall=2.0, progress=lambda *news: seen.append(news))
    done = [bytes for file, bytes, total in seen if file == WEIGHTS_FILE and total == SIZE]
    assert done == sorted(done) and done[-1] == SIZE and len(done) >= 5
    assert {file for file, _, _ in seen} == set(FILES)
    assert capfd.readouterr() == ("", "")  # the client has bars of its own, and warnings


def test_a_hub_out_of_reach_is_said_at_once(cache, hub, monkeypatch):
    from huggingface_hub import constants

    template = "http://127.0.0.1:1/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(fetching, "PAUSES", (30.0,) * 4)
    began = time.monotonic()
    with pytest.raises(WeightsError, match=r"cannot be reached; .*--model camera-motion"):
        names.fetch("base-k400", cache_dir=cache)
    assert time.monotonic() - began < 5


def test_an_endpoint_without_https_is_refused(cache, hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://example.org")
    with pytest.raises(WeightsError, match=r"https only, and this is 'http://example\.org'"):
        names.fetch(REPO, cache_dir=cache)


def test_too_little_room_for_all_files_is_said_before_any_is_taken(hub, cache, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=SIZE)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(WeightsError, match=r"'org/model' takes 0\.3 MB more and .* 0\.3 MB free"):
        names.fetch(REPO, cache_dir=cache)
    assert tree(cache) == {} and not [a for a in hub.asked if a.command == "GET"]


def test_a_small_disk_that_fills_up_keeps_nothing_that_looks_complete(hub, cache, monkeypatch):
    cache.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(cache)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small disk needs more rights")
    try:
        usage = shutil.disk_usage("/")
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)  # others fill it meanwhile
        with pytest.raises(WeightsError, match="No space left on device"):
            names.fetch(REPO, cache_dir=cache)
        assert names.cached(REPO, cache_dir=cache) is None
        assert all(
            blob.suffix == ".incomplete" for blob in blobs(cache) if blob.stat().st_size > 99
        )
    finally:
        subprocess.run(["umount", str(cache)], check=True)


def test_two_processes_make_one_transfer(hub, cache):
    hub.faults["GET", WEIGHTS_FILE] = ["slow"]
    ended = [process.communicate(timeout=60) for process in [process(hub, cache) for _ in "ab"]]
    assert ended[0] == ended[1] == (f"{storage(cache) / 'snapshots' / COMMIT}\n", "")
    assert hub.gets(WEIGHTS_FILE) == [None]


def test_the_transfer_of_another_tool_is_waited_for(hub, cache):
    content = FILES[WEIGHTS_FILE]
    blob = storage(cache) / "blobs" / hashlib.sha256(content).hexdigest()
    lock = FileLock(cache / ".locks" / storage(cache).name / f"{blob.name}.lock")
    for folder in (blob.parent, Path(lock.lock_file).parent):
        folder.mkdir(parents=True)

    def finish() -> None:
        time.sleep(1.0)
        blob.write_bytes(content)
        lock.release()

    lock.acquire()
    with ThreadPoolExecutor() as pool:
        ours = pool.submit(names.fetch, REPO, cache_dir=cache, stall=0.6)  # waiting is no stall
        finish()
        assert tree(ours.result(30)) == FILES
    assert hub.gets(WEIGHTS_FILE) == []


def test_after_a_kill_nothing_looks_complete_and_the_next_run_completes(hub, cache):
    hub.faults["GET", WEIGHTS_FILE] = ["stuck"]
    running = process(hub, cache)

    def begun() -> bool:
        parts = list(storage(cache).glob("blobs/*.incomplete"))
        return bool(parts) and fetching.size_of(parts[0]) > 1000  # the small files come first

    until(begun)
    running.kill()
    running.communicate()
    (part,) = storage(cache).glob("blobs/*.incomplete")
    had = part.stat().st_size
    assert 0 < had < SIZE
    assert names.cached(REPO, cache_dir=cache) is None
    assert not list(cache.rglob(WEIGHTS_FILE))
    assert tree(names.fetch(REPO, cache_dir=cache)) == FILES
    assert hub.gets(WEIGHTS_FILE) == [None, f"bytes={had}-"]
    assert not list(storage(cache).glob("blobs/*.incomplete"))


def test_what_other_tools_left_unfinished_is_cleared_once_it_is_old(hub, cache):
    folder = storage(cache) / "blobs"
    folder.mkdir(parents=True)
    old, new = folder / f"{'0' * 64}.1a2b3c4d.incomplete", folder / "new.incomplete"
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (0, 0))
    names.fetch(REPO, cache_dir=cache)
    assert not old.exists() and new.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
def test_an_interrupt_ends_it_at_once(hub, cache):
    hub.faults["HEAD", "config.json"] = ["hang"] * 9
    running = process(hub, cache)
    until(lambda: hub.asked)
    running.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, errors = running.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert "KeyboardInterrupt" in errors


@pytest.mark.parametrize("links", ["none", "not even hard ones"])
def test_a_disk_without_symbolic_links_will_do(hub, cache, monkeypatch, links):
    def impossible(self, *arguments):
        raise OSError("no privilege")

    monkeypatch.setattr(Path, "symlink_to", impossible)
    if links != "none":
        monkeypatch.setattr(Path, "hardlink_to", impossible)
    folder = names.fetch(REPO, cache_dir=cache)
    assert tree(folder) == FILES and names.cached(REPO, cache_dir=cache) == folder
    states = {checked.state for checked in names.verify_files(REPO, cache_dir=cache)}
    assert states == ({"ok"} if links == "none" else {"unknown"})


def test_a_catalogue_name_loads_as_a_model_with_the_catalogues_sampling(hub, cache, monkeypatch):
    from huggingface_hub import constants

    from tests.support.models import randomised, tiny
    from timesformer_cli.weights.load import load_model, save_model

    row = WEIGHTS["base-k400"]
    assert row.repo and row.revision
    folder = hub.root / row.repo
    save_model(randomised(tiny(frames=4)), folder)
    # As on the real hub, the configuration says nothing of sampling.
    config = folder / "config.json"
    config.write_text("\n".join(s for s in config.read_text().splitlines() if '_rate": n' not in s))
    hub.commit = row.revision
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    model, notes = load_model("base-k400")
    assert (model.sampling.frames, model.sampling.stride, len(model.labels)) == (4, 32, 5)
    assert notes == ()


@pytest.mark.network
@pytest.mark.parametrize("name", [name for name, row in WEIGHTS.items() if row.repo or row.url])
def test_every_published_model_of_the_catalogue_loads(name):
    from timesformer_cli.weights.load import load_model

    model, _ = load_model(name)
    row = WEIGHTS[name]
    assert model.config.classes == row.classes
    assert model.config.frames == row.frames
    assert model.config.height == row.size
