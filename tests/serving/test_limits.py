"""Who may call, how much and how long; and nothing is left of whoever did not keep to it."""

import asyncio
import errno
import json
import time
from threading import Event

import pytest

from tests.support import clips
from tests.support.contract import require_valid
from tests.support.serving import client_of, server_of, started_engine
from timesformer_cli.serving import body as module

BOUNDARY = [(b"host", b"testserver"), (b"content-type", b"multipart/form-data; boundary=b")]
HEAD = b'--b\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
END = b"\r\n--b--\r\n"
TOKEN = b"0123456789abcdef"


@pytest.fixture(scope="module")
def engine(model_folder):
    with started_engine(model_folder) as engine:
        yield engine


@pytest.fixture
def made(engine, tmp_path):
    """Make a server; after the test nothing may be left of its requests."""
    servers = []

    def make(**changes):
        servers.append(server_of(engine, tmp_path / "uploads", root=tmp_path, **changes))
        return servers[-1]

    clips.write(tmp_path / "clip.mp4", 24)
    yield make
    for server in servers:
        assert server.places.taken == 0
    assert list((tmp_path / "uploads").glob("*")) == []


def sent(server, messages, headers=(), path="/v1/classify"):
    """Give a request to the application, message by message; None waits for ever."""
    answers, waiting = [], iter(messages)

    async def receive():
        message = next(waiting, None)
        if message is None:
            await asyncio.sleep(60)
        if isinstance(message, bytes):
            return {"type": "http.request", "body": message, "more_body": True}
        return message

    async def send(message):
        answers.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode()}
    scope |= {"query_string": b"", "headers": [*BOUNDARY, *headers], "root_path": ""}
    asyncio.run(server.app(scope, receive, send))
    body = b"".join(answer.get("body", b"") for answer in answers[1:])
    return (answers[0]["status"] if answers else None), (json.loads(body) if body else None)


LEFT, LAST = {"type": "http.disconnect"}, {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.parametrize("length", [None, b"10", b"99999999999", b"1e9"])
@pytest.mark.parametrize("size", [1000, 1001, 3 << 20])
def test_an_upload_is_counted_as_it_comes_whatever_its_length_is_said_to_be(made, length, size):
    server = made(max_upload=1000)
    headers = [] if length is None else [(b"content-length", length)]
    pieces = [b"x" * min(60_000, size - at) for at in range(0, size, 60_000)]
    status, told = sent(server, [HEAD, *pieces, END, LAST], headers)
    too_long = size > 1000 or length == b"99999999999"
    assert status == (413 if too_long else 422), told
    assert told["error"]["kind"] == ("too_large" if too_long else "cannot_decode")


@pytest.mark.parametrize("around", ["before", "after"])
def test_what_stands_around_the_parts_is_let_pass_but_counted(made, around):
    whole = [HEAD, b"x" * 500, END]
    for noise, expected in (([b"\r\n"], 422), ([b"x" * 60_000] * 40, 413)):
        noise = [*noise, b"\r\n"]
        messages = [*noise, *whole] if around == "before" else [*whole, *noise]
        status, _ = sent(made(max_upload=1000), [*messages, LAST])
        assert status == expected


def test_one_that_says_it_is_too_large_is_not_read_at_all(made):
    status, _ = sent(made(max_upload=1000), [], [(b"content-length", b"99999999999")])
    assert status == 413


def test_an_upload_that_stands_still_is_refused(made):
    began = time.monotonic()
    status, told = sent(made(deadline=0.3), [HEAD, b"x" * 2000])
    assert (status, told["error"]["kind"]) == (408, "timeout")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "messages", [[LEFT], [HEAD, LEFT], [HEAD, b"x" * 3_000_000, LEFT]], ids=len
)
def test_a_client_that_leaves_in_the_middle_is_no_error(made, messages, caplog):
    server = made()
    assert sent(server, messages) == (None, None)
    assert b'status="499"' in server.metrics.text(0)
    assert not caplog.records


def test_a_client_that_does_not_wait_costs_no_more_work(made, engine, tmp_path, monkeypatch):
    def slow(*_, **__):
        time.sleep(0.5)
        raise AssertionError

    monkeypatch.setattr(engine.warm.scorer.scorer, "start", slow)
    server, began = made(), time.monotonic()
    video = (tmp_path / "clip.mp4").read_bytes()
    assert sent(server, [HEAD + video + END, LAST, LEFT]) == (None, None)
    assert time.monotonic() - began < 0.5


def test_a_full_disk_is_said(made, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(module._Parts, "flush", full)
    answer = client_of(made()).post("/v1/classify", files={"video": b"x"})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (507, "storage")


@pytest.mark.parametrize("verb", ["classify", "embed", "timeline"])
def test_an_answer_that_takes_too_long_is_given_up(verb, made, engine, monkeypatch):
    real, go = engine.warm.scorer.call if verb == "timeline" else engine.warm.scorer.start, Event()

    def slow(*given, **how):
        go.wait(30)
        return real(*given, **how)

    with monkeypatch.context() as patch:
        patch.setattr(engine.warm.scorer, real.__name__, slow)
        began = time.monotonic()
        asked = {"path": "clip.mp4", **({"every": 0.3} if verb == "timeline" else {})}
        answer = client_of(made(deadline=1.0)).post(f"/v1/{verb}", json=asked)
        assert (answer.status_code, answer.json()["error"]["kind"]) == (504, "deadline")
        assert time.monotonic() - began < 15
        go.set()
    assert client_of(made()).post(f"/v1/{verb}", json=asked).status_code == 200


def test_an_error_after_the_first_window_is_the_last_line(made, monkeypatch):
    from timesformer_cli.timelines.run import TimelineRun

    real, calls = TimelineRun._score, []

    def fails_later(self, *given):
        calls.append(1)
        if len(calls) > 1:
            raise ZeroDivisionError
        return real(self, *given)

    monkeypatch.setattr(TimelineRun, "_score", fails_later)
    asked = {"path": "clip.mp4", "every": 0.02, "format": "jsonl"}
    answer = client_of(made()).post("/v1/timeline", json=asked)
    *windows, last = map(json.loads, answer.text.splitlines())
    assert answer.status_code == 200 and windows
    require_valid("serve-refusal", last)
    assert last["error"]["kind"] == "failed"


def test_who_finds_no_place_is_told_when_to_come_again(made):
    server = made(queue=1)
    with server.places.one():
        answer = client_of(server).post("/v1/classify", json={"path": "clip.mp4"})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (429, "busy")
    assert int(answer.headers["retry-after"]) >= 1
    assert client_of(server).get("/healthz").status_code == 200
    assert client_of(server).post("/v1/classify", json={"path": "clip.mp4"}).status_code == 200


def test_a_server_that_ends_is_not_ready(made):
    server = made()
    server.draining = True
    assert client_of(server).get("/readyz").status_code == 503
    assert client_of(server).get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("testserver", 200),
        ("testserver:8000", 200),
        ("TESTSERVER", 200),
        ("evil.example", 421),
        ("testserver.evil.example", 421),
        ("testserver@evil.example", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
def test_only_the_servers_own_name_is_answered(made, host, status):
    client = client_of(made())
    for path in ("/healthz", "/", "/openapi.json"):
        assert client.get(path, headers={"Host": host}).status_code == status
    answer = client.post("/v1/classify", json={"path": "clip.mp4"}, headers={"Host": host})
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://testserver", 200),
        ("https://testserver", 200),
        ("http://evil.example", 403),
        ("http://testserver:81", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_pages_of_other_sites_are_refused(made, origin, status):
    asked = {"json": {"path": "clip.mp4"}, "headers": {"Origin": origin}}
    assert client_of(made()).post("/v1/classify", **asked).status_code == status


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (None, 401),
        ("Bearer", 401),
        ("Bearer wrong", 401),
        (f"Basic {TOKEN.decode()}", 401),
        (f"Bearer {TOKEN.decode()}x", 401),
        (f"Bearer {TOKEN.decode()}", 200),
        (f"bearer  {TOKEN.decode()} ", 200),
    ],
)
def test_requests_must_know_the_token(made, said, status):
    client = client_of(made(token=TOKEN, hosts=None))
    headers = {} if said is None else {"Authorization": said}
    for path in ("/v1/models", "/metrics"):
        assert client.get(path, headers=headers).status_code == status
    answer = client.post("/v1/classify", json={"path": "clip.mp4"}, headers=headers)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer" and TOKEN.decode() not in answer.text
    for path in ("/", "/healthz", "/readyz", "/openapi.json"):
        assert client.get(path).status_code == 200


def test_nothing_of_a_video_is_told_without_the_token(made):
    client = client_of(made(token=TOKEN))
    for path in ("clip.mp4", "missing.mp4", "../x"):
        assert client.post("/v1/classify", json={"path": path}).status_code == 401
