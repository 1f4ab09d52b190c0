"""What a server answers is what the command prints, and what is wrong is said in its words."""

import json
import os

import pytest
from typer.testing import CliRunner

from tests.support import clips
from tests.support.contract import require_valid
from tests.support.serving import client_of, server_of, started_engine
from timesformer_cli.cli.app import app
from timesformer_cli.errors import DeviceError

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A root with videos in it, links of all kinds, and what lies outside."""
    top = tmp_path_factory.mktemp("served")
    root = top / "root"
    (root / "inner").mkdir(parents=True)
    clips.write(root / "clip.mp4", 40)
    clips.write(root / "inner" / "other.mp4", 24)
    clips.write(top / "secret.mp4", 24)
    (root / "notes.mp4").write_text("no video\n" * 9)
    (root / "out.mp4").symlink_to(top / "secret.mp4")
    (root / "away").symlink_to(top)
    (root / "within.mp4").symlink_to(root / "inner" / "other.mp4")
    (root / "nowhere.mp4").symlink_to(root / "missing.mp4")
    os.mkfifo(root / "pipe.mp4")
    return top


@pytest.fixture(scope="module")
def engine(model_folder):
    with started_engine(model_folder) as engine:
        yield engine


@pytest.fixture(scope="module")
def client(engine, folder):
    return client_of(server_of(engine, folder / "uploads", root=folder / "root"))


@pytest.fixture(autouse=True)
def _nothing_left(folder):
    yield
    assert list((folder / "uploads").glob("*")) == []


def printed(verb, video, model, *words):
    """The command's JSON for a video, without what is another each time."""
    command = [verb, str(video), "-m", str(model), "--device", "cpu", "--dtype", "float32"]
    ran = CliRunner().invoke(app, [*command, "--format", "jsonl", *words])
    return timeless(json.loads(ran.stdout))


def timeless(answer):
    return {name: value for name, value in answer.items() if name not in ("video", "seconds")}


SAME = [
    ("classify", {}, []),
    ("classify", {"top_k": 2, "views": "2x3"}, ["-k", "2", "--views", "2x3"]),
    ("classify", {"frames": 4, "stride": 3}, ["--frames", "4", "--stride", "3"]),
    ("timeline", {}, []),
    (
        "timeline",
        {"every": 0.2, "windows": True, "top_k": 1, "from": "0.1", "to": 1.2, "cuts": False},
        "--every 0.2 --windows -k 1 --from 0.1 --to 1.2 --no-cuts".split(),
    ),
    ("timeline", {"smooth": 0, "refine": True, "threshold": 0.01}, "--smooth 0 --refine".split()),
    ("embed", {}, []),
    (
        "embed",
        {"normalise": True, "views": "2x1", "top-k": 1},
        "--normalise --views 2x1 -k 1".split(),
    ),
    ("embed", {"every": 0.3, "cuts": True}, ["--every", "0.3"]),
]


@pytest.mark.parametrize(("verb", "asked", "words"), SAME, ids=str)
def test_an_answer_is_what_the_command_prints(verb, asked, words, client, folder, model_folder):
    video = folder / "root" / "clip.mp4"
    expected = printed(verb, video, model_folder, *words)
    fields = {name: str(value).lower() for name, value in asked.items()}
    with video.open("rb") as file:
        sent = client.post(f"/v1/{verb}", files={"video": ("a b.mp4", file)}, data=fields)
    named = client.post(f"/v1/{verb}", json={"path": "clip.mp4", **asked})
    assert (sent.status_code, named.status_code) == (200, 200), sent.text
    assert (sent.json()["video"], named.json()["video"]) == ("a b.mp4", "clip.mp4")
    assert timeless(sent.json()) == timeless(named.json()) == expected
    assert sent.text.endswith("}\n") and "\n" not in sent.text[:-1]


def test_windows_come_before_their_timeline(client, folder, model_folder):
    asked = {"path": "clip.mp4", "every": 0.2, "top_k": 2, "format": "jsonl"}
    answer = client.post("/v1/timeline", json=asked)
    assert answer.headers["content-type"] == "application/jsonl"
    *windows, last = map(json.loads, answer.text.splitlines())
    words = "--every 0.2 --windows -k 2".split()
    expected = printed("timeline", folder / "root" / "clip.mp4", model_folder, *words)
    for window in windows:
        require_valid("serve-window", window)
        del window["schema"]
    assert windows == expected.pop("windows")
    assert timeless(last) == expected


WRONG = [
    ("classify", {"top_k": "0"}, ["--top-k", "0"]),
    ("classify", {"top_k": "many"}, ["--top-k", "many"]),
    ("classify", {"views": "2x2"}, ["--views", "2x2"]),
    ("classify", {"frames": "-1"}, ["--frames", "-1"]),
    ("classify", {"threshold": "0.5"}, ["--threshold", "0.5"]),
    ("classify", {"threshold": "2"}, ["--threshold", "2"]),
    ("timeline", {"every": "0"}, ["--every", "0"]),
    ("timeline", {"from": "2", "to": "1"}, ["--from", "2", "--to", "1"]),
    ("timeline", {"from": "noon"}, ["--from", "noon"]),
    ("timeline", {"smooth": "a lot"}, ["--smooth", "a lot"]),
    ("timeline", {"threshold": "7"}, ["--threshold", "7"]),
    ("embed", {"every": "1", "views": "2x1"}, ["--every", "1", "--views", "2x1"]),
    ("embed", {"cuts": "false"}, ["--no-cuts"]),
]


@pytest.mark.parametrize(("verb", "asked", "words"), WRONG, ids=str)
def test_a_wrong_option_is_refused_in_the_words_of_the_command(
    verb, asked, words, client, folder, model_folder
):
    video = folder / "root" / "clip.mp4"
    ran = CliRunner().invoke(app, [verb, str(video), "-m", str(model_folder), *words])
    said = ran.stderr.strip().removeprefix("error: ").removesuffix(f"; tsf {verb} -h explains it")
    with video.open("rb") as file:
        answer = client.post(f"/v1/{verb}", files={"video": file}, data=asked)
    error = {"kind": "usage", "message": said}
    assert ran.exit_code == 2
    assert (answer.status_code, answer.json()) == (
        400,
        {"schema": 1, "status": "error", "error": error},
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"nope": "1"}, "no option --nope; there are top_k, frames"),
        ({"model": "base-k400"}, "no option --model"),
        ({"output": "/etc/x"}, "no option --output"),
        ({"top_k": ["1", "2"]}, "--top-k is given 2 times"),
        ({"top_k": ""}, "Invalid value for '--top-k'"),
        ({"--top-k": "1"}, "no option ----top-k"),
    ],
    ids=str,
)
def test_what_is_no_option_of_a_request_is_refused(asked, said, client):
    answer = client.post("/v1/classify", files={"video": b"x"}, data=asked)
    assert answer.status_code == 400 and said in answer.json()["error"]["message"]


def test_a_format_is_one_that_http_can_carry(client):
    answer = client.post("/v1/timeline", json={"path": "clip.mp4", "format": "csv"})
    assert answer.status_code == 400 and "json or jsonl" in answer.text
    answer = client.post("/v1/timeline", json={"path": "clip.mp4", "top_k": 3})
    assert answer.status_code == 400 and "--windows" in answer.text
    answer = client.post("/v1/timeline", json={"path": "clip.mp4", "cuts": "maybe"})
    assert answer.status_code == 400 and "--cuts is true or false" in answer.text


PLACES = [
    ("../secret.mp4", 403, "forbidden"),
    ("inner/../../secret.mp4", 403, "forbidden"),
    ("inner/../clip.mp4", 403, "forbidden"),
    ("/etc/passwd", 403, "forbidden"),
    ("C:\\x.mp4", 403, "forbidden"),
    ("out.mp4", 403, "forbidden"),
    ("away/secret.mp4", 403, "forbidden"),
    ("clip.mp4\0.txt", 403, "forbidden"),
    ("\ud800.mp4", 403, "forbidden"),
    ("missing.mp4", 404, "not_found"),
    ("nowhere.mp4", 404, "not_found"),
    ("https://example.com/a.mp4", 404, "not_found"),
    ("x" * 5000, 404, "not_found"),
    ("inner", 422, "not_a_file"),
    (".", 422, "not_a_file"),
    ("pipe.mp4", 422, "not_a_file"),
    ("notes.mp4", 422, "cannot_decode"),
    ("within.mp4", 200, None),
    ("inner/other.mp4", 200, None),
]


@pytest.mark.parametrize("verb", ["classify", "timeline", "embed"])
@pytest.mark.parametrize(("path", "status", "kind"), PLACES, ids=lambda value: str(value)[:30])
def test_a_path_leads_below_the_root_or_nowhere(verb, path, status, kind, client, folder):
    body = json.dumps({"path": path})  # in ASCII, so that half a character passes
    answer = client.post(f"/v1/{verb}", content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    if kind is not None:
        assert answer.json()["error"]["kind"] == kind
        assert str(folder) not in answer.text


def test_a_link_that_is_put_there_after_the_check_is_not_followed(client, folder, monkeypatch):
    from timesformer_cli.serving import rooted

    swapped, real = folder / "root" / "swapped.mp4", os.path.realpath
    clips.write(swapped, 24)

    def then_swap(path):
        found = real(path)
        if found.endswith("swapped.mp4"):
            swapped.unlink()
            swapped.symlink_to(folder / "secret.mp4")
        return found

    monkeypatch.setattr(rooted.os.path, "realpath", then_swap)
    answer = client.post("/v1/classify", json={"path": "swapped.mp4"})
    swapped.unlink()
    assert answer.status_code == 404


def test_without_a_root_no_path_is_read(engine, folder):
    client = client_of(server_of(engine, folder / "uploads"))
    answer = client.post("/v1/classify", json={"path": "clip.mp4"})
    assert answer.status_code == 403 and "upload" in answer.json()["error"]["message"]


BOUNDARY = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
BODIES = [
    (b"", {}, 415),
    (b"video", {"Content-Type": "video/mp4"}, 415),
    (b"", JSON, 400),
    (b"[1]", JSON, 400),
    (b"[" * 60_000, JSON, 400),
    (b'{"path": ', JSON, 400),
    (b'{"path": ["a"]}', JSON, 400),
    (b'{"path": null}', JSON, 400),
    (b'{"top_k": 1}', JSON, 400),
    (b'{"path": "clip.mp4", "path": "notes.mp4"}', JSON, 400),
    (b'{"path": "\xff"}', JSON, 400),
    (b'"' + b"x" * 70_000 + b'"', JSON, 413),
    (b"", {"Content-Type": "multipart/form-data"}, 400),
    (b"", {"Content-Type": BOUNDARY}, 400),
    (b"--b--\r\n", {"Content-Type": BOUNDARY}, 400),
    (PART + b"half", {"Content-Type": BOUNDARY}, 400),
    (PART + b"x\r\n" + PART + b"y\r\n--b--\r\n", {"Content-Type": BOUNDARY}, 400),
    (PART.replace(b"video", b"film") + b"x\r\n--b--\r\n", {"Content-Type": BOUNDARY}, 400),
    (PART.replace(b'; filename="a.mp4"', b"") + b"x\r\n--b--\r\n", {"Content-Type": BOUNDARY}, 422),
    (PART + b"\r\n--b--\r\n", {"Content-Type": BOUNDARY}, 422),
    (b"--b\r\n" + b"X: y\r\n" * 99 + b"\r\n--b--\r\n", {"Content-Type": BOUNDARY}, 400),
    (
        b'--b\r\nContent-Disposition: form-data; name="top_k"\r\n\r\n' + b"1" * 70_000,
        {"Content-Type": BOUNDARY},
        413,
    ),
    (
        b'--b\r\nContent-Disposition: form-data; name="top_k"\r\n\r\n\xff\r\n--b--\r\n',
        {"Content-Type": BOUNDARY},
        400,
    ),
]


@pytest.mark.parametrize(("body", "headers", "status"), BODIES, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("verb", ["classify", "timeline", "embed"])
def test_a_body_that_holds_no_video_is_one_line(verb, body, headers, status, client):
    answer = client.post(f"/v1/{verb}", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    told = answer.json()
    if status != 422:  # that of a file which is no video
        require_valid("serve-refusal", told)
    assert told["status"] == "error" and "\n" not in told["error"]["message"]


def test_a_name_that_steers_is_only_a_name(client):
    name = '../../\x1b[31m"evil".mp4'
    part = PART.replace(b"a.mp4", name.replace('"', "%22").encode())
    answer = client.post(
        "/v1/classify", content=part + b"x\r\n--b--\r\n", headers={"Content-Type": BOUNDARY}
    )
    assert answer.status_code == 422 and "\x1b" not in answer.text


def test_other_addresses_and_methods_are_answered_in_the_same_shape(client):
    for method, path, status in (
        ("GET", "/v1/classify", 405),
        ("POST", "/v1/nothing", 404),
        ("GET", "/../../etc/passwd", 404),
        ("PUT", "/healthz", 405),
    ):
        answer = client.request(method, path)
        assert answer.status_code == status
        assert answer.json()["status"] == "error"


def test_what_is_not_about_a_video(client, engine):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").status_code == 200
    (model,) = client.get("/v1/models").json()["models"]
    require_valid("serve-model", model)
    assert model["labels"] == list("abcde") and model["device"] == "cpu"
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_requests_and_videos_are_counted(engine, folder):
    client = client_of(server_of(engine, folder / "uploads", root=folder / "root"))
    client.post("/v1/classify", json={"path": "clip.mp4"})
    client.post("/v1/classify", json={"path": "notes.mp4"})
    client.post("/v1/classify", json={})
    text = client.get("/metrics").text
    for line in (
        'tsf_requests_total{status="200",verb="classify"} 1.0',
        'tsf_requests_total{status="400",verb="classify"} 1.0',
        'tsf_videos_total{outcome="ok"} 1.0',
        'tsf_videos_total{outcome="cannot_decode"} 1.0',
        "tsf_requests_under_way 0.0",
        'tsf_request_seconds_count{verb="classify"} 3.0',
    ):
        assert line in text


def test_a_device_that_fails_is_one_answer_and_the_next_is_well(client, engine, monkeypatch):
    def fails(*_, **__):
        raise DeviceError("cuda: out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(engine.warm.scorer.scorer, "start", fails)
        answer = client.post("/v1/classify", json={"path": "clip.mp4"})
        assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "device")
        patch.setattr(engine.warm.scorer.scorer, "start", lambda *_, **__: 1 / 0)
        answer = client.post("/v1/classify", json={"path": "clip.mp4"})
        assert (answer.status_code, answer.json()["error"]["kind"]) == (500, "failed")
    assert client.post("/v1/classify", json={"path": "clip.mp4"}).status_code == 200
