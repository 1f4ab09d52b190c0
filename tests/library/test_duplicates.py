"""`tsf search --duplicates`: copies are found with their offset, and what is only like them is not."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.support import clips
from tests.support.contract import require_valid
from timesformer_cli.cli.app import app
from timesformer_cli.library.duplicates import duplicates_of
from timesformer_cli.video.look import WIDTH, look_of_clip

SEEN = 40  # windows of a made video


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def scene(seed: int, times: np.ndarray) -> np.ndarray:
    """Looks that change slowly and smoothly with the time in a scene."""
    random = np.random.default_rng(seed)
    waves, phases = random.normal(size=(6, 32)), random.uniform(0, 6, 6)
    rates = random.uniform(0.2, 1.2, 6)
    return unit(np.sin(times[:, None] * rates + phases) @ waves)


def found(
    *videos: tuple[str, np.ndarray, np.ndarray], least: float = 0.95, hop: float | None = 0.5
):
    looks = np.concatenate([looks for _, looks, _ in videos])
    names = [name for name, looks, _ in videos for _ in looks]
    starts = np.concatenate([starts for _, _, starts in videos])
    return duplicates_of(looks, names, starts, least, hop)


GRID = np.arange(SEEN) * 0.5


@pytest.mark.parametrize("offset", [-3.2, 0.0, 0.5, 4.75])
@pytest.mark.parametrize("pace", [1.0, 24 / 25, 25 / 24])
def test_an_offset_and_a_pace_are_found(offset, pace):
    # What the first shows at t, the second shows at offset + pace * t.
    (pair,) = found(
        ("a", scene(1, GRID), GRID),
        ("b", scene(1, (GRID - offset) / pace), GRID),
        ("c", scene(2, GRID), GRID),
        least=0.8,
    )
    assert (pair.video, pair.other) == ("a", "b")
    middle = 10.0  # there both lines must agree, whichever pace was taken
    assert pair.offset + pair.pace * middle == pytest.approx(offset + pace * middle, abs=0.5)
    assert pair.shared > 0.5


def test_a_short_piece_is_found_in_a_long_video_whichever_comes_first():
    piece = ("piece", scene(3, GRID[10:18]), GRID[:8])
    whole = ("whole", scene(3, GRID), GRID)
    (pair,) = found(piece, whole)
    assert pair.offset == pytest.approx(5.0, abs=0.25) and pair.shared == 1
    (pair,) = found(whole, piece)
    assert pair.video == "whole" and pair.offset == pytest.approx(-5.0, abs=0.25)


def test_the_same_pictures_in_another_order_are_no_copy():
    shuffled = scene(4, np.random.default_rng(0).permutation(GRID) * 3)
    assert not found(("a", scene(4, GRID * 3), GRID), ("b", shuffled, GRID), least=0.99)


def test_one_scene_in_common_makes_no_pair_and_neither_does_what_shows_nothing():
    mixed = scene(5, GRID)
    mixed[: SEEN // 3] = scene(6, GRID)[: SEEN // 3]
    black = np.zeros_like(mixed)
    assert not found(
        ("a", scene(6, GRID), GRID), ("b", mixed, GRID), ("c", black, GRID), ("d", black, GRID)
    )


def test_still_pictures_are_in_step():
    still = np.repeat(scene(7, GRID[:1]), SEEN, axis=0)
    (pair,) = found(("a", still, GRID), ("b", still[:20], GRID[:20]))
    assert (pair.offset, pair.pace, pair.shared) == (0, 1, 1)


def test_one_vector_a_video_has_no_offset():
    (pair,) = found(*((n, scene(8, GRID[:1]), GRID[:1]) for n in "ab"), hop=None)
    assert (pair.offset, pair.pace) == (None, None)


def test_every_block_of_windows_is_compared(monkeypatch):
    from timesformer_cli.library import duplicates

    videos = [(f"{n}", scene(n // 2, GRID), GRID) for n in range(8)]
    whole = found(*videos)
    assert [(pair.video, pair.other) for pair in whole] and len(whole) == 4
    monkeypatch.setattr(duplicates, "AT_ONCE", 1000)  # three windows at a time
    assert found(*videos) == whole


def test_a_look_survives_a_crop_and_a_logo_and_tells_pictures_apart():
    random = np.random.default_rng(1)
    pictures = [
        np.kron(random.integers(0, 256, (6, 6, 3)), np.ones((32, 32, 1))).astype(np.uint8)
        for _ in range(2)
    ]
    looks = [look_of_clip(np.stack([picture] * 4)) for picture in pictures]
    cropped = pictures[0][4:-4, 4:-4].copy()
    cropped[150:, 140:] = 255
    look = look_of_clip(np.stack([cropped] * 4))
    assert look.shape == (WIDTH,) and np.linalg.norm(look) == pytest.approx(1, abs=1e-5)
    assert look @ looks[0] > 0.8 > 0.4 > abs(looks[1] @ looks[0])
    assert not look_of_clip(np.full((4, 96, 96, 3), 7, np.uint8)).any()


@pytest.fixture
def library(model_folder, tmp_path) -> Path:
    """Two videos, one of them twice: the second time cut, small, and coded anew."""
    pytest.importorskip("lance")
    folder, made = tmp_path / "videos", tmp_path / "l.lance"
    folder.mkdir()
    random = np.random.default_rng(3)
    grounds = [random.integers(0, 256, (5, 30, 3)) for _ in range(2)]

    def frame(number: int, ground: np.ndarray) -> np.ndarray:
        piece = ground[:, number // 8 : number // 8 + 8]
        return np.kron(piece, np.ones((36, 36, 1))).astype(np.uint8)

    clips.write(folder / "a.mp4", (frame(n, grounds[0]) for n in range(120)), size=(288, 180))
    clips.write(folder / "b.mp4", (frame(n, grounds[1]) for n in range(120)), size=(288, 180))
    clips.write(
        folder / "copy.mp4",
        (frame(n, grounds[0])[::2, ::2] for n in range(30, 120)),
        size=(144, 90),
        codec="mpeg4",
    )
    words = ["embed", str(folder), "-o", str(made), "--every", "0.25", "-m", str(model_folder)]
    ran = CliRunner().invoke(app, [*words, "--device", "cpu", "--dtype", "float32"])
    assert ran.exit_code == 0, ran.stderr
    return made


def test_the_command_tells_pairs_in_all_formats(library, tmp_path):
    def tsf(*words: object):
        return CliRunner().invoke(app, ["search", str(library), *map(str, words)])

    ran = tsf("--duplicates", "--format", "json")
    assert ran.exit_code == 0, ran.stderr
    (pair,) = json.loads(ran.stdout)
    require_valid("duplicates", pair)
    assert Path(pair["video"]).name == "a.mp4" and Path(pair["other"]).name == "copy.mp4"
    assert pair["offset"] == pytest.approx(-1, abs=0.26) and pair["similarity"] > 0.9
    assert "copy.mp4" in tsf("--duplicates").stdout
    assert json.loads(tsf("--duplicates", "--format", "jsonl").stdout) == pair
    (row,) = csv.DictReader(tsf("--duplicates", "--format", "csv").stdout.splitlines())
    assert float(row["offset"]) == pair["offset"]
    playlist = tsf("--duplicates", "--format", "m3u").stdout
    assert playlist.count("#EXTINF:-1,") == 2 and f"start-time={-pair['offset']:g}" in playlist
    page = tsf("--duplicates", "--format", "html").stdout
    (told,) = json.loads(re.findall(r'id="data">(.*?)</script>', page)[0])["media"]
    assert [Path(address).name for address, _ in told] == ["a.mp4", "copy.mp4"]
    assert [start for _, start in told] == [-pair["offset"], 0]
    assert "no two videos" in tsf("--duplicates", "--min-similarity", "1").stdout
    for words, message in (
        (["--duplicates", "--label", "x"], "--duplicates compares all videos"),
        (["--label", "x", "--min-similarity", "0.5"], "--min-similarity is for CLIP"),
    ):
        ran = tsf(*words)
        assert ran.exit_code == 2 and message in ran.stderr


def test_a_library_of_an_earlier_release_has_no_looks(library):
    import lance

    lance.dataset(str(library)).drop_columns(["look"])
    ran = CliRunner().invoke(app, ["search", str(library), "--duplicates"])
    assert ran.exit_code == 2 and "an earlier release made it" in ran.stderr
