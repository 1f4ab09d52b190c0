"""Reports in a real browser, opened from disk: sorted, filtered, played, by mouse and by keys."""

import pytest

from tests.support import clips
from tests.support.browser import Visit, chromium
from tests.support.results import classified, not_read, timeline_of
from timesformer_cli.cli.show import classify as show_classify
from timesformer_cli.cli.show import duplicates as show_duplicates
from timesformer_cli.cli.show import evaluate as show_evaluate
from timesformer_cli.cli.show import search as show_search
from timesformer_cli.cli.show import timeline as show_timeline
from timesformer_cli.evaluation.run import Evaluation, EvaluationReport
from timesformer_cli.evaluation.verdicts import Judged, Unread, score_verdicts
from timesformer_cli.inference.classified import Fault
from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.library.duplicates import Pair
from timesformer_cli.library.search import Hit

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'\u202egpj.4pm\udcff"
NAMES, SCORES = "button.name, span.name", ".rows tbody .bars li:first-child .number"


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with reports, and the one video that is there."""
    folder = tmp_path_factory.mktemp("reports")
    film = str(clips.write(folder / "film.mp4", 180))  # six seconds
    labels = [
        classified(film, ("pan", 0.6), ("zoom", 0.3), start=2.0, end=4.0),
        classified(str(folder / "clip 10.mp4"), ("zoom", 0.9), ("pan", 0.05)),
        classified(str(folder / "clip 9.mp4"), (HOSTILE, 0.7), ("pan", 0.2)),
        not_read(str(folder / HOSTILE), "cannot_decode", HOSTILE),
        not_read(str(folder / "gone.mp4"), "not_found", "there is no such file"),
    ]
    times = [timeline_of(film, (0.0, 2.0, "pan", 0.9), (2.0, 6.0, "zoom", 0.8)), labels[3]]
    for name, render, results in (
        ("labels", show_classify.as_html, labels),
        ("times", show_timeline.as_html, times),
    ):
        with (folder / f"{name}.html").open("w") as stream:
            render(results, stream, [])
    with (folder / "hits.html").open("w") as stream:
        show_search.as_html([Hit(film, "0", 2.0, 3.0, HOSTILE, 0.5, 0.25)], stream)
    with (folder / "pairs.html").open("w") as stream:
        show_duplicates.as_html([Pair(film, film, 1.5, 1.0, 0.9, 0.5)], stream)
    with pytest.MonkeyPatch.context() as patch, (folder / "evaluation.html").open("w") as stream:
        patch.chdir(folder)
        show_evaluate.as_html(report(), stream, VERDICTS)
    return folder


CLASSES = ("pan", "zoom", HOSTILE)
RIGHT = [(0, 0, 0.9), (0, 1, 0.6), (1, 1, 0.8), (2, 1, 0.95), (2, 2, 0.5)]  # label, guess, score
VERDICTS = [
    *(
        Judged(
            video=f"{number}.mp4",
            status="ok",
            label=CLASSES[label],
            predicted=CLASSES[guess],
            correct=label == guess,
            predictions=(Prediction(CLASSES[guess], guess, score),),
        )
        for number, (label, guess, score) in enumerate(RIGHT)
    ),
    Unread("x.mp4", "error", "pan", Fault("not_found", "is not there")),
]


def report() -> EvaluationReport:
    scores = score_verdicts(VERDICTS, [label for label, _, _ in RIGHT] + [0], CLASSES)
    evaluation = Evaluation(
        model="model",
        device="cpu",
        dtype="float32",
        views="1x1",
        frames=8,
        stride=8,
        crop=(96, 96),
        scores=scores,
    )
    return EvaluationReport(
        data="data", split=None, protocol=None, evaluations=(evaluation,), comparison=None
    )


@pytest.fixture
def visit(browser, folder, request):
    """Open a report; afterwards its console must be clean, and nobody else have been asked."""
    opened = []

    def open_report(name: str, **how: object) -> Visit:
        opened.append(Visit(browser, (folder / f"{name}.html").as_uri(), **how))
        return opened[-1]

    yield open_report
    for each in opened:
        outside = [url for url in each.asked if not url.startswith((folder.as_uri(), "data:"))]
        assert not outside
        assert not [said for said in each.faults if "ERR_FILE_NOT_FOUND" not in said]
        assert "owned" not in each.page.title()
        each.page.close()


def test_the_table_sorts_by_each_column_and_goes_back(visit):
    shown = visit("labels")
    names = [name.rpartition("/")[2] for name in shown.texts(NAMES)]
    assert names[:3] == ["film.mp4", "clip 10.mp4", "clip 9.mp4"] and names[4] == "gone.mp4"

    def by(column: str) -> list[str]:
        shown.page.get_by_role("button", name=column).click()
        return [name.rpartition("/")[2] for name in shown.texts(NAMES)]

    score = shown.page.get_by_role("columnheader", name="Score")
    assert by("Score")[:3] == ["clip 10.mp4", "clip 9.mp4", "film.mp4"]
    assert score.get_attribute("aria-sort") == "descending"
    assert by("Score")[:3] == ["film.mp4", "clip 9.mp4", "clip 10.mp4"]
    assert score.get_attribute("aria-sort") == "ascending"
    assert by("Score") == names and score.get_attribute("aria-sort") == "none"
    sorted_names = by("Video")
    assert sorted_names.index("clip 9.mp4") < sorted_names.index("clip 10.mp4")  # 9 before 10


def test_the_table_filters_by_name_label_score_and_fault(visit):
    shown = visit("labels")
    page = shown.page
    find, label, score, show = (
        page.get_by_label(name, exact=False) for name in ("Find", "Label", "Score from", "Show ")
    )
    find.fill("CLIP")
    assert len(shown.texts(NAMES)) == 2 and shown.texts("output") == ["2 of 5 rows"]
    find.fill("")
    label.select_option("pan")
    assert len(shown.texts(NAMES)) == 3
    score.fill("10")
    assert len(shown.texts(NAMES)) == 2  # of those, in which the label is so likely
    label.select_option("")
    score.fill("80")
    assert [name.rpartition("/")[2] for name in shown.texts(NAMES)] == ["clip 10.mp4"]
    score.fill("")
    show.select_option(label="not read: cannot_decode (1)")
    (row,) = shown.texts(".rows tbody tr")
    assert "cannot_decode: </script><script>" in row and "\\u202egpj.4pm\\xff" in row


def test_a_video_opens_plays_and_jumps_by_mouse_and_by_keys(visit):
    shown = visit("times")
    page = shown.page
    page.get_by_role("button", name="film.mp4").click()
    assert shown.time() == 0
    line = page.get_by_role("slider")
    box = line.bounding_box()
    line.click(position={"x": box["width"] * 0.75, "y": box["height"] / 2})
    assert shown.time() == pytest.approx(4.5, abs=0.05)
    assert line.get_attribute("aria-valuetext").startswith("0:04.5, zoom, 80.0")
    assert shown.texts(".said-now .label") == ["zoom"]
    line.press("PageUp")
    assert shown.time() == pytest.approx(2.0, abs=0.05)
    line.press("PageUp")
    line.press("ArrowRight")
    assert shown.time() == pytest.approx(1.0, abs=0.05)
    assert shown.texts(".said-now .label") == ["pan"]
    page.get_by_role("button", name="0:02.0\u20130:06.0").click()
    assert shown.time() == pytest.approx(2.0, abs=0.05)
    page.evaluate("document.querySelector('video').play()")
    page.wait_for_function("() => document.querySelector('video').currentTime > 2.3")
    assert float(line.get_attribute("aria-valuenow")) > 2  # the cursor goes with the video
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == page.locator("video").count() == 0
    assert page.evaluate("document.activeElement.textContent").endswith("film.mp4")


def test_a_classified_video_shows_when_it_was_seen(visit):
    shown = visit("labels")
    shown.page.get_by_role("button", name="film.mp4").click()
    shown.time()
    line = shown.page.get_by_role("slider")
    shown.page.wait_for_function(
        "() => document.querySelector('[role=slider]').ariaValueMax === '6.0'"
    )
    line.press("PageDown")
    assert shown.time() == pytest.approx(2.0, abs=0.05)
    assert shown.texts(".said-now .number") == ["60.0 %", "30.0 %"]


def test_a_video_that_is_not_there_is_said_and_the_rest_works(visit):
    shown = visit("labels")
    shown.page.get_by_role("button", name="clip 9.mp4").click()
    shown.page.get_by_text("This browser cannot play the video").wait_for()
    shown.page.get_by_role("slider").press("End")
    assert "\\u202egpj" in shown.texts(".said-now .label")[0]
    shown.page.get_by_role("button", name="Previous").click()
    assert shown.texts("dialog h2")[0].endswith("clip 10.mp4")


def test_an_evaluation_begins_with_the_worst_mistakes_and_a_cell_shows_its_videos(visit):
    shown = visit("evaluation")
    videos = shown.page.get_by_role("region", name="Videos")
    names = lambda: [" ".join(t.split()) for t in videos.locator(NAMES).all_inner_texts()]  # noqa: E731
    assert names() == ["3.mp4", "1.mp4"]
    assert "60.0 %" in shown.texts(".scores")[0]  # 3 of 5
    shown.page.get_by_role("button", name="1 video of pan predicted as zoom").click()
    assert names() == ["1.mp4"]
    shown.page.get_by_role("button", name="Show all").click()
    assert len(names()) == 6
    videos.get_by_label("Show ").select_option(label="not read: not_found (1)")
    assert names() == ["x.mp4"]


def test_what_a_library_found_plays_from_its_place(visit):
    shown = visit("hits")
    assert "similarity" not in shown.texts(".rows")[0] and "0.250" in shown.texts(".rows")[0]
    shown.page.locator("button.name").click()
    assert shown.time() == pytest.approx(2.0, abs=0.05)
    shown = visit("pairs")
    assert "+1.50 s" in shown.texts(".rows")[0]
    shown.page.locator("button.name").click()
    places = "() => [...document.querySelectorAll('video')].map((video) => video.currentTime)"
    shown.page.wait_for_function(f"() => ({places})()[1] > 1.4")
    assert shown.page.evaluate(places) == pytest.approx([0, 1.5], abs=0.05)


@pytest.mark.parametrize(
    ("name", "scheme", "width"),
    [
        ("labels", "dark", 375),
        *(
            pytest.param(name, scheme, width, marks=pytest.mark.slow)
            for name in ("labels", "times", "evaluation", "hits", "pairs")
            for scheme, width in (("light", 1280), ("light", 375), ("dark", 1280), ("dark", 375))
        ),
    ],
)
def test_a_report_is_readable_by_everybody(name, scheme, width, visit):
    shown = visit(name, viewport={"width": width, "height": 800}, color_scheme=scheme)
    dark = (
        sum(
            map(
                int,
                shown.page.evaluate("getComputedStyle(document.body).backgroundColor")[4:-1].split(
                    ","
                ),
            )
        )
        < 200
    )
    assert dark == (scheme == "dark")
    shown.require_narrow()
    shown.require_accessible()
    shown.page.locator("button.name").first.click()
    shown.page.locator("dialog[open]").wait_for()
    shown.require_narrow()
    shown.require_accessible()
