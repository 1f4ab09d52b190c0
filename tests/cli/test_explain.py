"""`tsf explain`: tables, files, and what is refused."""

import io
import json
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.support import clips
from tests.support.models import randomised, tiny
from timesformer_cli.cli.app import app
from timesformer_cli.cli.draw import explain as draw
from timesformer_cli.cli.draw.explain import STRIP, _film, as_colours
from timesformer_cli.weights.load import save_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Frames of 4 by 4 patches of 64 x 64 pixels, in two tubelets of two."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(randomised(tiny(attention="vivit-1", frames=4)), folder)
    return str(folder)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A video of 128 x 96 pixels: 42 and 43 columns of 85 are cut off at 64 rows."""
    return str(clips.write(tmp_path_factory.mktemp("videos") / "wide.mp4", 20, size=(128, 96)))


def run(*arguments):
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


def test_the_map_is_said_with_its_place_in_the_video(model, wide):
    ran = run(wide, "-m", model, "--format", "json")
    assert ran.exit_code == 0, ran.stderr
    (said,) = json.loads(ran.stdout)
    assert np.shape(said["map"]) == (2, 4, 4)
    assert np.sum(said["map"]) == pytest.approx(1, abs=1e-4)
    assert len(said["times"]) == 4 and len(said["carried"]) == 2
    assert said["label"] == said["best"] and 0 < said["score"] < 1
    assert said["crop"] == pytest.approx(
        {"left": 10 * 128 / 85, "top": 0, "width": 64 * 128 / 85, "height": 96}, abs=0.01
    )
    assert "pictures" not in said and "proof" not in said


@pytest.mark.parametrize("method", ["rollout", "gradient", "integrated", "attention", "occlusion"])
def test_every_method_gives_a_map_and_sentences(model, wide, method):
    ran = run(wide, "-m", model, "--method", method, "--prove")
    assert ran.exit_code == 0, ran.stderr
    assert "than chance" in ran.stdout or "nothing is proved" in ran.stdout
    assert "LABEL_" in ran.stdout
    assert ran.stdout.count(" s  ") == 2


def test_nothing_is_proved_of_a_still_clip(model, tmp_path):
    picture = np.full((64, 64, 3), 90, np.uint8)
    still = clips.write(tmp_path / "still.mp4", [picture] * 20, size=(64, 64))
    ran = run(still, "-m", model, "--prove")
    assert ran.exit_code == 0, ran.stderr
    assert "nothing is proved: where every place stands still" in ran.stdout


def test_another_label_is_explained_where_it_is_asked_for(model, wide):
    ran = run(wide, "-m", model, "--label", "LABEL_1")
    assert ran.exit_code == 0 and "LABEL_1" in ran.stdout.splitlines()[0]


@pytest.mark.parametrize("method", ["combined", "occlusion"])
def test_another_scheme_takes_the_place_of_the_models_own(model, wide, method):
    typed = (
        "t h w -> (t) (h w); t h w -> (h w) (t) cls=absent; tubelet=2 positions=table; name=mine"
    )
    chosen = ["--attention", typed, "--method", method, "--format", "json"]
    ran = run(wide, "-m", model, *chosen)
    assert ran.exit_code == 0, ran.stderr
    assert "with mine in place of vivit-1" in ran.stderr
    (own,), (other,) = (json.loads(r.stdout) for r in (run(wide, "-m", model, *chosen[2:]), ran))
    assert np.shape(other["map"]) == np.shape(own["map"])
    assert other["score"] != own["score"] and other["map"] != own["map"]


def test_pictures_are_written_and_the_table_is_still_said(model, wide, tmp_path):
    sizes = {}
    for suffix in ("png", "gif", "mp4", "npz"):
        path = tmp_path / f"looked.{suffix}"
        ran = run(wide, "-m", model, "-o", path)
        assert ran.exit_code == 0 and "looked at" in ran.stdout
        sizes[suffix] = path.stat().st_size
    assert all(sizes.values())
    with Image.open(tmp_path / "looked.png") as sheet:
        assert sheet.width > 800
    with Image.open(tmp_path / "looked.gif") as gif:
        assert (gif.n_frames, gif.info["loop"]) == (4, 0)
        coloured = np.asarray(gif.convert("RGB"), int)
    with np.load(tmp_path / "looked.npz") as said:
        assert said["map"].shape == (2, 4, 4) and said["crop"].shape == (4,)
        assert json.loads(str(said["about"]))["method"] == "combined"
    with av.open(str(tmp_path / "looked.mp4")) as film:
        shown = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(shown) == 4 and min(shown[0].shape[:2]) >= 320
    assert coloured.shape == shown[0].shape and shown[0][-20:].any()  # with its strip of words
    assert np.quantile(np.abs(coloured - shown[0]), 0.999) < 40  # the film is packed, too


def test_a_gif_keeps_the_colours_that_are_rare():
    """Its brightest patch is one of 48 on a grey ramp, which most of 256 colours would go to."""
    map = np.zeros((2, 6, 8), np.float32)
    map[0, 2, 3] = 1
    pictures = np.arange(96, dtype=np.uint8)[:, None, None].repeat(128, 1).repeat(3, 2)
    result = SimpleNamespace(
        label="a name so long that no film of a hand's width has room for all of it " * 2,
        score=0.5,
        map=map,
        times=(0.0, 0.5),
        pictures=np.stack([pictures] * 2),
        seen=(0, 0, 128, 96),
    )
    frames, rate = _film(result)
    assert (rate, frames.shape) == (2, (2, 96 * 4 + STRIP, 128 * 4, 3))
    written = io.BytesIO()
    as_colours(frames[0]).save(written, "GIF")
    with Image.open(written) as gif:
        shown = np.asarray(gif.convert("RGB"), int)
    assert np.abs(shown - frames[0]).max() <= 16


def test_a_film_may_have_more_frames_than_pixels(monkeypatch):
    monkeypatch.setattr(draw, "SMALLEST", 8)
    result = SimpleNamespace(
        label="a",
        score=0.5,
        map=np.ones((20, 1, 1), np.float32),
        times=tuple(range(20)),
        pictures=np.zeros((20, 8, 8, 3), np.uint8),
        seen=(0, 0, 8, 8),
    )
    assert _film(result)[0].shape == (20, 8 + STRIP, 8, 3)


def test_several_videos_go_into_a_folder(model, wide, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    ran = run(
        wide,
        tmp_path / "broken.mp4",
        "-m",
        model,
        "--output-dir",
        tmp_path / "out",
        "--format",
        "png",
    )
    assert ran.exit_code == 1
    assert len(list((tmp_path / "out").rglob("*.png"))) == 1
    assert "broken.mp4" in ran.stdout


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--label", "no such"], "has no label 'no such'"),
        (["--attention", "nosuch"], "unknown attention scheme 'nosuch'"),
        (["--attention", "t h w -> (t h)"], "behind the arrow stand two lists"),
        (["--attention", "vivit-2", "--frames", "3"], "frame count 3 is not a multiple"),
        (["--layer", "1"], "--layer is for --method attention, not combined"),
        (["--method", "attention", "--layer", "9"], "--layer is 9"),
        (["--method", "attention", "--query", "1,5,1"], "--query's row is 5"),
        (["--method", "attention", "--query", "0,1,1"], "--query is FRAME,ROW,COLUMN"),
        (["--format", "png"], "--format png needs a file"),
        (["-o", "x.csv"], "no format goes by .csv here"),
        (["-o", "x.png", "--format", "gif"], "--format gif contradicts .png"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(model, wide, options, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = run(wide, "-m", model, *options)
    assert ran.exit_code == 2
    assert reason in " ".join(ran.stderr.split())
    assert not any(tmp_path.iterdir())
