"""Real footage is judged by measurement: made clips get their right names, and figures are as counted."""

import json
from dataclasses import replace

import numpy as np
import pytest

# OpenCV's wheel needs libGL, which a machine without a screen may lack.
cv2 = pytest.importorskip("cv2", exc_type=ImportError)
pytest.importorskip("av")

from scripts.camera_motion import real
from scripts.camera_motion.figures import UNCLEAR, Row, figures, table
from scripts.camera_motion.film import render
from scripts.camera_motion.oracle import ANSWERS, MotionPicker, Stretch, clear_motions
from scripts.camera_motion.paths import MOTION, MOTIONS, Camera, Ease
from scripts.camera_motion.pictures import draw_texture
from scripts.camera_motion.sheet import HEIGHT, WIDTH
from tests.support import clips
from tests.support.models import randomised, tiny
from timesformer_cli.api import classify
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.weights.load import save_model

SIDE, RATE = 128, 30
WINDOW = Stretch(0.0, 2.1)
MOVES = (0.4, 0.4, 0.35, 0.4)  # over 2.1 seconds: frame widths, twice; log magnification; radians
STEADY = Ease(0, 1, 1, 0)


def film(move, frames=64, shake=0.0):
    """Frames of a texture; the camera moves evenly, by `move` in 2.1 seconds."""
    nothing = np.zeros((4, 1))
    amplitude = np.array([[shake], [shake], [0], [0]])
    whole = np.asarray(move) * (frames - 1) / 63
    camera = Camera(whole, STEADY, np.zeros(4), STEADY, amplitude, nothing + 8, nothing)
    picture = draw_texture(np.random.default_rng(3))
    times, centre = np.linspace(0, 1, frames), np.array([224.0, 224.0])
    return render(picture, camera, centre=centre, view=200, times=times, side=SIDE)


def move_of(label):
    axis, sign = MOTION[label]
    return sign * np.eye(4)[axis] * MOVES[axis]


def written(path, frames, **how):
    return clips.write(path, frames, fps=RATE, size=(frames[0].shape[1], frames[0].shape[0]), **how)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """One window that pans right, and three seconds of zooming in."""
    folder = tmp_path_factory.mktemp("footage")
    written(folder / "pan.mp4", film(move_of(MOTIONS.index("pan right"))))
    written(folder / "zoom.mp4", film(move_of(MOTIONS.index("zoom in")), 94))
    return folder


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """A model of 16 frames, of another size, which may say that it does not know."""
    labels = (*MOTIONS, UNCLEAR)
    model = randomised(tiny(frames=16, classes=len(labels)))
    model.labels, model.sampling = labels, Sampling(frames=16, stride=4)
    model.preprocessing = Preprocessing(resize=72, crop=(64, 64))
    folder = tmp_path_factory.mktemp("longer")
    save_model(model, folder)
    return str(folder)


@pytest.mark.parametrize("label", sorted(MOTION), ids=[MOTIONS[label] for label in sorted(MOTION)])
def test_the_oracle_names_a_made_move(label, tmp_path):
    path = written(tmp_path / "clip.mp4", film(move_of(label)))
    motion = clear_motions(str(path), [WINDOW])[WINDOW]
    assert motion.label == MOTIONS[label]
    # What is in the picture goes against the camera, but grows as it comes closer.
    right, down, closer, roll = move_of(label)
    expected = [-right, -down, closer, -np.degrees(roll)]
    found = list(motion.numbers.values())
    assert np.allclose(found, expected, atol=[0.05, 0.05, 0.05, 2.0])


def test_the_oracle_calls_a_standing_camera_static(tmp_path):
    path = written(tmp_path / "clip.mp4", film(np.zeros(4)))
    assert clear_motions(str(path), [WINDOW])[WINDOW].label == "static"


@pytest.mark.parametrize(
    ("move", "shake"),
    [
        pytest.param((0.3, 0, 0.3, 0), 0.0, id="pan and zoom"),
        pytest.param((0.3, 0.3, 0, 0), 0.0, id="pan and tilt"),
        pytest.param((0.05, 0, 0, 0), 0.0, id="a small pan"),
        pytest.param((0.3, 0, 0, 0), 0.02, id="a shaking pan"),
        pytest.param((0, 0, 0, 0), 0.02, id="shake"),
    ],
)
def test_the_oracle_is_silent_where_no_name_is_right(move, shake, tmp_path):
    path = written(tmp_path / "clip.mp4", film(move, shake=shake))
    assert clear_motions(str(path), [WINDOW]) == {}


def test_the_oracle_is_silent_where_the_picture_shows_nothing_or_cuts(tmp_path):
    grey = written(tmp_path / "grey.mp4", np.full((64, SIDE, SIDE, 3), 90, np.uint8))
    assert clear_motions(str(grey), [WINDOW]) == {}
    pan = film(move_of(MOTIONS.index("pan left")))
    pan[32:] = pan[32:, ::-1, ::-1]
    cut = written(tmp_path / "cut.mp4", pan)
    assert clear_motions(str(cut), [WINDOW]) == {}


def test_a_turned_video_is_judged_as_it_is_shown(tmp_path):
    frames = film(move_of(MOTIONS.index("tilt up")))[:, 16:-16]
    path = written(tmp_path / "clip.mp4", clips.turned(frames, -1), rotation=90)
    motion = clear_motions(str(path), [WINDOW])[WINDOW]
    assert motion.label == "tilt up"
    assert motion.down == pytest.approx(0.4, abs=0.05)  # in widths of the picture as it is shown


def test_windows_that_share_frames_are_judged_as_if_alone(footage):
    path = str(footage / "zoom.mp4")
    windows = [Stretch(start, start + 2.1) for start in (0.0, 0.5, 1.0)]
    alone = {key: motion for one in windows for key, motion in clear_motions(path, [one]).items()}
    assert clear_motions(path, windows) == alone
    assert list(alone) == windows


def test_only_the_frames_of_one_window_are_kept():
    windows = [Stretch(start, start + 2.1) for start in (0.0, 0.5, 1.0, 30.0)]
    picker = MotionPicker(windows, 1 / RATE, 1 / RATE)
    flat, most = np.zeros((8, 8), np.uint8), 0
    for number in range(40 * RATE):
        if not picker.offer(number / RATE, lambda: flat, lambda: flat):
            break
        most = max(most, len(picker._frames))
    assert number == pytest.approx(32.1 * RATE, abs=1)
    assert most <= 2.1 * RATE + 2


@pytest.fixture(autouse=True)
def threads_stay(monkeypatch):
    """The script's one thread is not for the tests after it."""
    monkeypatch.setattr(real.torch, "set_num_threads", lambda count: None)


def run(capsys, *words):
    real.main([str(word) for word in words])
    return capsys.readouterr()


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_models_are_measured_side_by_side_on_what_classify_sees(footage, longer, tmp_path, capsys):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    out = tmp_path / "rows.jsonl"
    models = ["--model", "camera-motion", longer]
    said = run(capsys, footage, broken, *models, "-o", out)
    assert "| what the oracle says | clear windows | camera-motion |" in said.out
    assert f"| called {UNCLEAR} |  | 0 |" in said.out
    assert f"left out: {broken}" in said.err
    rows = rows_of(out)
    assert [(row["oracle"], row["start"]) for row in rows] == [
        ("pan right", 0.0),
        ("zoom in", 0.0),
        ("zoom in", 0.5),
        ("zoom in", 1.0),
    ]
    # The video is one window long, so that classify takes the same frames.
    for model, (label, score) in rows[0]["answers"].items():
        (result,) = classify(footage / "pan.mp4", model)
        assert result.predictions[0].label == label
        assert result.predictions[0].score == pytest.approx(score, abs=0.01)
    assert rows[0]["answers"]["camera-motion"][0] == "pan right"


def test_known_motions_are_taken_and_windows_are_shown(footage, tmp_path, capsys, monkeypatch):
    out, again, sheet = (tmp_path / name for name in ("rows.jsonl", "again.jsonl", "sheet.png"))
    first = run(capsys, footage, "-o", out)
    monkeypatch.setattr(real, "clear_motions", None)
    second = run(capsys, footage, "-o", again, "--known", out, "--sheet", sheet)
    assert (second.out, again.read_text()) == (first.out, out.read_text())
    picture = cv2.imread(str(sheet))
    assert picture.shape[0] == 4 * HEIGHT
    start, end = (picture[:HEIGHT, left : left + WIDTH] for left in (0, 2 * WIDTH))
    assert np.abs(start.astype(int) - end).mean() > 10
    with pytest.raises(SystemExit, match="give the --hop of their run"):
        run(capsys, footage, "--known", out, "--hop", "0.7")


def test_at_most_so_many_windows_are_taken_evenly(footage, tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    run(capsys, footage / "zoom.mp4", "--most", "2", "-o", out)
    assert [row["start"] for row in rows_of(out)] == [0.0, 1.0]


def test_models_that_cannot_share_windows_are_refused(longer, tmp_path):
    for change, reason in (
        ({"sampling": Sampling(frames=8, stride=4)}, "different lengths"),
        ({"sampling": Sampling(frames=8, stride=None)}, "no windows"),
        ({"labels": tuple("abcde")}, "no label 'static'"),
    ):
        labels = change.get("labels", MOTIONS)
        model = randomised(tiny(frames=8, classes=len(labels)))
        model.labels, model.sampling = labels, change.get("sampling", Sampling(frames=8, stride=8))
        folder = tmp_path / reason.replace(" ", "-")
        save_model(model, folder)
        with pytest.raises(SystemExit, match=reason):
            real.labels_of([longer, str(folder)])


def row(oracle, label, score, start=0.0):
    return Row(
        video="a.mp4",
        start=start,
        end=start + 2.1,
        oracle=oracle,
        right=0.0,
        down=0.0,
        growth=0.0,
        turn=0.0,
        answers={"m": (label, score)},
    )


def test_figures_are_as_counted_by_hand():
    rows = [
        row("static", "static", 0.95),
        row("static", "static", 0.88),
        row("static", "zoom in", 0.82),
        row("pan left", "pan left", 0.5),
        row("pan left", UNCLEAR, 0.81),
    ]
    found = figures(rows, "m", (*MOTIONS, UNCLEAR))
    assert found.right == {"static": 2, "pan left": 1}
    assert found.wrong == {("static", "zoom in"): 1, ("pan left", UNCLEAR): 1}
    assert found.accuracy == pytest.approx(3 / 5)
    assert found.class_mean == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert (found.standing, found.moving) == pytest.approx((2 / 3, 1 / 2))
    # Tenths: 0.5 alone, 0.81 with 0.82 and 0.88, 0.95 alone.
    assert found.calibration == pytest.approx((0.5 + abs(1 - 0.81 - 0.82 - 0.88) + 0.05) / 5)
    # An answer that says nothing is not relied upon, however sure.
    assert found.confident == pytest.approx(3 / 5)
    assert found.precision == pytest.approx(2 / 3)
    assert found.unclear == 1
    assert found.otherwise == pytest.approx(3 / 4)


def test_figures_of_nothing_are_none():
    found = figures([row("pan left", "pan right", 0.3)], "m", MOTIONS)
    assert (found.standing, found.precision, found.unclear) == (None, None, None)
    assert found.accuracy == found.confident == 0
    told = table([row("pan left", "pan right", 0.3)], {"m": MOTIONS})
    assert "- pan left: pan right 1" in told
    assert f"called {UNCLEAR}" not in told


def test_the_same_windows_are_drawn_each_time():
    rows = [row("static", "static", 0.9, start) for start in range(20)]
    rows[3] = replace(rows[3], answers={"m": ("shake", 0.9)})
    chosen = real.drawn(rows, 5, wrong_only=False)
    assert chosen == real.drawn(rows, 5, wrong_only=False)
    assert len(chosen) == 5
    assert chosen == sorted(chosen, key=lambda one: one.start)
    assert real.drawn(rows, 5, wrong_only=True) == [rows[3]]


def test_the_oracle_knows_the_labels_but_shake():
    assert set(ANSWERS) == set(MOTIONS) - {"shake"}
