"""Reports: one file, nothing from elsewhere, whatever names are in it, and no larger than said."""

import io
import json
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.support import clips
from tests.support.results import classified, not_read, timeline_of
from timesformer_cli.cli.app import app
from timesformer_cli.cli.show import classify as show_classify
from timesformer_cli.cli.show import duplicates as show_duplicates
from timesformer_cli.cli.show import search as show_search
from timesformer_cli.cli.show import timeline as show_timeline
from timesformer_cli.library.duplicates import Pair
from timesformer_cli.library.search import Hit
from timesformer_cli.pages import pictures
from timesformer_cli.pages.page import address_of
from timesformer_cli.pages.pictures import FilmStrips, FramePictures
from timesformer_cli.video.sample import Clip
from timesformer_cli.video.stream import StreamedWindow
from timesformer_cli.video.windows import Window

HOSTILE = (
    "/a/</script><script>x()</script><img src=x onerror=y()>\"'&\x1b[31m\u202e\u2028#t=9\udcff.mp4"
)


class Parts(HTMLParser):
    """The elements of a page, the text of its scripts and styles, and its policy."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: dict[str, str] = {}
        self.policy, self._inside = "", ""
        self.feed(text)
        self.data = json.loads(self.texts["data"])

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attributes)
        self._inside = given.get("id") or tag if tag in ("script", "style") else ""
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(given["content"])

    def handle_data(self, text: str) -> None:
        if self._inside:
            self.texts[self._inside] = self.texts.get(self._inside, "") + text

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


def page(render, results, *paths: str, **how: object) -> str:
    stream = io.StringIO()
    render(results, stream, *([list(paths)] if paths else []), **how)
    return stream.getvalue()


PAGES = {
    "classify": lambda name: page(
        show_classify.as_html, [classified(name, (name, 0.9)), not_read(name, name, name)], name
    ),
    "timeline": lambda name: page(
        show_timeline.as_html, [timeline_of(name, (0.0, 1.0, name, 0.9)), not_read(name)], name
    ),
    "search": lambda name: page(show_search.as_html, [Hit(name, "0", 1.5, 2.0, name, 0.5, 0.25)]),
    "duplicates": lambda name: page(
        show_duplicates.as_html, [Pair(name, name, 1.0, 1.0, 0.9, 0.5)]
    ),
}


@pytest.mark.parametrize("kind", PAGES)
def test_names_and_labels_are_data_and_never_markup(kind):
    text = PAGES[kind](HOSTILE)
    parts = Parts(text)
    assert parts.tags == Parts(PAGES[kind]("plain.mp4")).tags  # nothing of the name is an element
    assert parts.data["results"][0]["video"] == HOSTILE  # and nothing of it is lost
    assert not {"\x1b", "\u202e", "\u2028", "\udcff"} & set(text)
    text.encode()


@pytest.mark.parametrize("kind", PAGES)
def test_a_page_asks_nobody_for_anything_and_runs_only_its_own_program(kind):
    text = PAGES[kind]("plain.mp4")
    parts = Parts(text)
    rules = dict(rule.split(" ", 1) for rule in parts.policy.split("; "))
    assert rules["default-src"] == rules["connect-src"] == rules["form-action"] == "'none'"
    for name in ("script", "style"):
        digest = b64encode(sha256(parts.texts[name].encode()).digest()).decode()
        assert rules[f"{name}-src"] == f"'sha256-{digest}'"
    assert not re.findall(r"https?://|innerHTML|outerHTML|insertAdjacentHTML|document\.write", text)


def test_a_video_below_the_page_has_a_relative_address_and_any_other_a_whole_one(tmp_path):
    assert address_of(str(tmp_path / "a b#1.mp4"), tmp_path) == "a%20b%231.mp4"
    assert address_of(str(tmp_path / "a.mp4"), tmp_path / "b") == (tmp_path / "a.mp4").as_uri()
    assert address_of("/a/\udcff?.mp4", None) == "file:///a/%FF%3F.mp4"


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def opened(sheet: pictures.Sheet) -> Image.Image:
    return Image.open(io.BytesIO(b64decode(sheet.jpeg)))


@pytest.mark.parametrize(("videos", "count"), [(100, 8), (1000, 1), (1001, 0)])
def test_pictures_of_the_worst_content_keep_to_4_megabytes(videos, count):
    taken = FramePictures(videos)
    pixels = noise(1, 8, 80, 80, 3)
    taken.seen(classified("0.mp4", ("a", 1.0)), pixels)
    (sheet,) = taken.last(1)
    if not count:
        assert sheet is None
        return
    assert len(sheet.jpeg) * videos <= 4_000_000
    assert opened(sheet).size == (count * 80, 80)


def test_a_hundred_videos_with_the_worst_content_make_a_page_below_5_megabytes():
    names = [f"a folder/of many/videos/{number}.mp4" for number in range(100)]
    taken, pixels = FramePictures(100), noise(1, 8, 80, 80, 3)
    labels = [(f"a label of usual length {number}", 0.2) for number in range(5)]
    results = [classified(name, *labels) for name in names]
    taken.seen(results[0], pixels)
    taken._sheets *= 100
    assert len(page(show_classify.as_html, results, *names, pictures=taken)) < 5_000_000


def test_the_pictures_are_frames_that_the_model_saw():
    pixels = np.stack([np.full((60, 90, 3), 10 * number, np.uint8) for number in range(8)])[None]
    result = classified("a.mp4", ("a", 1.0))
    taken = FramePictures(1)
    taken.seen(result, pixels)
    (sheet,) = taken.last(1)
    image = np.asarray(opened(sheet)).astype(int)
    assert image.shape == (80, 8 * 120, 3) and len(sheet.times) == 8
    for number, time in enumerate(sheet.times):
        assert image[40, 120 * number + 60, 0] == pytest.approx(40 * time, abs=3)


def test_of_many_videos_only_the_most_confident_mistakes_have_pictures(monkeypatch):
    monkeypatch.setattr(pictures, "SHEETS", 2)
    taken = FramePictures(6, wrong=lambda number, result: result.video != "right.mp4")
    taken.seen(not_read("x.mp4"), None)
    names = {"b.mp4": 0.5, "right.mp4": 0.99, "c.mp4": 0.9, "a.mp4": 0.3, "d.mp4": 0.8}
    for name, score in names.items():
        taken.seen(classified(name, ("a", score)), noise(1, 8, 32, 32, 3))
    shown = [name for name, sheet in zip(names, taken.last(5), strict=True) if sheet]
    assert shown == ["c.mp4", "d.mp4"]


def test_pictures_of_a_long_video_are_few_and_about_even():
    taken = FilmStrips(1)
    for number in range(4000):  # an hour and more, a window a second
        clip = Clip(float(number), number + 1.0, (float(number),))
        pixels = np.zeros((32, 32, 3), np.uint8)
        taken.window("a.mp4", StreamedWindow(Window(clip, (number,), number), {number: pixels}))
    (sheet,) = taken.of(["a.mp4"])
    steps = np.diff(sheet.times)
    assert 12 <= len(sheet.times) < 24 and steps.max() < 1.2 * steps.min()
    assert sheet.times[-1] > 3600


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name in ("a.mp4", "b.mp4"):
        clips.write(folder / name, 24)
    (folder / "notes.mp4").write_text("These are notes, and no video.\n" * 9)
    (folder / "table.csv").write_text("path,label\na.mp4,a\nb.mp4,b\nnotes.mp4,b\n")
    return folder


@pytest.mark.parametrize(
    ("command", "source"), [("classify", "."), ("timeline", "."), ("evaluate", "table.csv")]
)
def test_a_commands_report_has_its_results_as_its_json_has_them(
    command, source, videos, model_folder, monkeypatch, tmp_path
):
    monkeypatch.chdir(videos)

    def tsf(name: str, *more: str) -> str:
        output = tmp_path / name
        words = [command, source, "--model", str(model_folder), "-o", str(output)]
        ran = CliRunner().invoke(app, [*words, "--device", "cpu", "--dtype", "float32", *more])
        assert ran.exit_code == 1, ran.stderr  # for the notes
        return output.read_text()

    text = tsf("report.html")
    beside = ["--predictions", str(tmp_path / "lines.jsonl")] if command == "evaluate" else []
    told = json.loads(tsf("report.json", *beside))
    data = Parts(text).data
    if command == "evaluate":
        assert data["report"] == told
        told = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    for result in (*told, *data["results"]):
        result.pop("seconds", None)
    assert data["results"] == told
    ok = [result["status"] == "ok" for result in told]
    assert [sheet is not None for sheet in data["pictures"]] == ok and ok.count(True) == 2
    assert [Path(address).name for address in data["media"]] == [
        Path(result["video"]).name for result in told
    ]
    assert len(text) < 150_000


def test_each_video_has_a_report_of_its_own_with_output_dir(videos, model_folder, tmp_path):
    words = ["classify", str(videos / "a.mp4"), str(videos / "b.mp4"), "-m", str(model_folder)]
    ran = CliRunner().invoke(app, [*words, "--format", "html", "--output-dir", str(tmp_path)])
    assert ran.exit_code == 0, ran.stderr
    text = (tmp_path / "b.mp4.html").read_text()
    data = Parts(text).data
    assert [Path(result["video"]).name for result in data["results"]] == ["b.mp4"]
    assert "<title>Labels of 1 video</title>" in text
