"""The server's page in a real browser: videos are sent, played, listed, and what is wrong is said."""

import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn

from tests.support import clips
from tests.support.browser import Visit, chromium
from tests.support.serving import server_of, started_engine

HOSTILE = "<img src=x onerror=document.title='owned'>'\u202egpj.mp4"
TOKEN = "a-token-for-this-test"


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def engine(model_folder):
    with started_engine(model_folder) as engine:
        yield engine


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    clips.write(folder / "film.mp4", 180)  # six seconds
    clips.write(folder / HOSTILE, 24)
    (folder / "notes.mp4").write_text("no video\n" * 9)
    return folder


@pytest.fixture
def serve(engine, browser, tmp_path):
    """Serve on loopback, and open the page; afterwards it must have asked nobody else."""
    opened, ends = [], []

    @contextmanager
    def served(**changes):
        hosts = frozenset({"127.0.0.1"})
        server = server_of(engine, tmp_path / "uploads", hosts=hosts, **changes)
        config = uvicorn.Config(server.app, port=0, log_level="error", lifespan="off")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run)
        thread.start()
        while not running.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}/"
        running.should_exit = True
        thread.join(10)

    def visit(changes=None, **how):
        context = served(**(changes or {}))
        ends.append(context)
        opened.append(Visit(browser, context.__enter__(), **how))
        return opened[-1]

    yield visit
    for each in opened:
        base = each.page.url
        assert not [
            url for url in each.asked if not url.startswith((base, f"blob:{base}", "data:"))
        ]
        # Of an answer that is no 2xx a browser says so itself.
        assert not [
            said for said in each.faults if "the server responded with a status" not in said
        ]
        assert each.page.title() == "What a video shows"
        each.page.close()
    for context in ends:
        context.__exit__(None, None, None)
    assert list((tmp_path / "uploads").iterdir()) == []


def send(shown: Visit, films, *names: str) -> None:
    """Choose the files, and wait until all are done."""
    shown.page.set_input_files("input[type=file]", [films / name for name in names])
    done = f"{len(names)} of {len(names)} video{'s' * (len(names) > 1)} done"
    shown.page.get_by_text(done).wait_for()


def test_a_video_is_sent_and_played_and_a_click_on_its_time_line_goes_there(serve, films):
    shown = serve()
    shown.page.get_by_text("on cpu in float32, 5 labels").wait_for()
    send(shown, films, "film.mp4")
    assert shown.time() == 0
    assert len(shown.texts(".said-now .label")) == 5
    line = shown.page.get_by_role("slider")
    box = line.bounding_box()
    line.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    assert shown.time() == pytest.approx(3, abs=0.05)
    assert "window 0:02" in shown.texts(".said-now .when")[0]
    line.press("Home")
    assert shown.time() == 0
    shown.page.evaluate("document.querySelector('video').play()")
    shown.page.wait_for_function("() => document.querySelector('video').currentTime > 0.3")
    shown.page.wait_for_function("() => document.querySelector('[role=slider]').ariaValueNow > 0.2")


def test_many_videos_are_rows_that_sort_and_filter_with_what_is_wrong(serve, films):
    shown = serve()
    send(shown, films, "notes.mp4", "film.mp4", HOSTILE)
    names = lambda: shown.texts("button.name")  # noqa: E731
    hostile = HOSTILE.replace("\u202e", "\\u202e")
    assert names() == ["notes.mp4", "film.mp4", hostile]
    assert "cannot_decode: is a text file, not a video" in shown.texts(".rows tbody tr")[0]
    shown.page.get_by_role("button", name="Video", exact=True).click()
    assert names() == [hostile, "film.mp4", "notes.mp4"]
    shown.page.get_by_label("Show ").select_option(label="not read (1)")
    assert names() == ["notes.mp4"]
    shown.page.get_by_label("Show ").select_option(label="all (3)")
    shown.page.get_by_label("Find").fill("GPJ")
    assert names() == [hostile]
    shown.page.get_by_role("button", name="gpj").click()
    assert shown.texts("dialog h2") == [hostile]


def test_files_can_be_dropped(serve, films):
    shown = serve()
    content = list((films / "notes.mp4").read_bytes())
    shown.page.evaluate(
        """content => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(content)], "dropped.mp4"));
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true }));
        }""",
        content,
    )
    shown.page.get_by_text("1 of 1 video done; dropped.mp4: cannot_decode").wait_for()


def test_a_server_with_a_token_is_told_it_and_a_wrong_one_is_said(serve, films):
    shown = serve({"token": TOKEN.encode()})
    field = shown.page.get_by_label("token")
    field.fill("a-wrong-one")
    send(shown, films, "film.mp4")
    assert "unauthorized" in shown.texts(".rows tbody tr")[0]
    assert shown.page.evaluate("document.activeElement.id") == "token"
    field.fill(TOKEN)
    shown.page.set_input_files("input[type=file]", [films / "film.mp4"])
    shown.page.get_by_text("2 of 2 videos done").wait_for()
    assert len(shown.texts(".rows .lane")) == 1


def test_a_busy_server_is_asked_again_and_a_large_file_is_not_sent(serve, films):
    shown = serve({"max_upload": 3000})
    refusals = []

    def busy(route):
        refusals.append(route)
        if len(refusals) > 1:
            return route.continue_()
        return route.fulfill(status=429, headers={"Retry-After": "1"}, body="{}")

    shown.page.route("**/v1/classify", busy)
    send(shown, films, "notes.mp4", "film.mp4")
    rows = shown.texts(".rows tbody tr")
    assert "cannot_decode" in rows[0] and len(refusals) == 2
    assert "too_large: has" in rows[1] and "takes up to 3,000" in rows[1]


@pytest.mark.parametrize(
    ("scheme", "width"), [("dark", 375), pytest.param("light", 1280, marks=pytest.mark.slow)]
)
def test_the_page_is_readable_by_everybody(scheme, width, serve, films):
    shown = serve(viewport={"width": width, "height": 800}, color_scheme=scheme)
    shown.require_accessible()
    send(shown, films, "film.mp4", "notes.mp4")
    shown.require_narrow()
    shown.require_accessible()
