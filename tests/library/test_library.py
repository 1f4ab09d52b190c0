"""Libraries: what is known is passed over, nothing is there twice, and what is alike is found."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.support import clips
from tests.support.contract import require_valid
from timesformer_cli.cli.app import app
from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.library.embed import Embedded, Embedding
from timesformer_cli.library.fill import Filling
from timesformer_cli.library.search import Hit, labelled, similar
from timesformer_cli.library.store import KnownFile, Library, Making
from timesformer_cli.video import VideoPath

pytest.importorskip("lance")


@pytest.fixture
def tsf(model_folder):
    """A command, with the small model where it takes one."""

    def ran(command: str, *arguments: object):
        words = [command, *map(str, arguments)]
        if command == "embed":
            words += ["-m", str(model_folder), "--device", "cpu", "--dtype", "float32"]
        return CliRunner().invoke(app, words)

    return ran


@pytest.fixture
def videos(tmp_path) -> Path:
    """Three videos that differ."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for number, name in enumerate("abc"):
        frames = (clips.barcode((7 * number + 11 * n) % 256) for n in range(45))
        clips.write(folder / f"{name}.mp4", frames)
    return folder


def rows(library: Path) -> list[dict]:
    import lance

    return sorted(
        lance.dataset(str(library)).to_table().to_pylist(), key=lambda r: (r["video"], r["start"])
    )


def said(ran) -> str:
    return ran.stderr.splitlines()[-1]


def test_a_second_run_adds_what_is_new_and_replaces_what_changed(tsf, videos, tmp_path):
    library = tmp_path / "l.lance"
    (videos / "broken.mp4").write_text("no video\n" * 9)
    ran = tsf("embed", videos, "-o", library, "--every", "0.5")
    assert ran.exit_code == 1 and said(ran) == "3 new, 1 failed", ran.stderr
    (videos / "broken.mp4").unlink()
    before = rows(library)
    assert {Path(row["video"]).name for row in before} == {"a.mp4", "b.mp4", "c.mp4"}
    ran = tsf("embed", videos, "-o", library, "--every", "0.5")
    assert ran.exit_code == 0 and said(ran) == "3 known"
    assert rows(library) == before
    clips.write(videos / "b.mp4", 30)  # other content
    shutil.copy(videos / "a.mp4", videos / "copy.mp4")
    (videos / "c.mp4").rename(videos / "moved.mp4")
    clips.write(videos / "new.mp4", 20)
    ran = tsf("embed", videos, "-o", library, "--every", "0.5")
    assert said(ran) == "1 new, 1 changed, 1 moved, 2 known", ran.stderr
    after = rows(library)
    names = {Path(row["video"]).name for row in after}
    assert names == {"a.mp4", "b.mp4", "moved.mp4", "new.mp4"}
    assert len({(row["content"], row["start"]) for row in after}) == len(after)
    ran = tsf("embed", videos, "-o", library, "--every", "0.5")
    assert said(ran) == "5 known"
    # The same rows as if all had been done in one run.
    whole = tmp_path / "whole.lance"
    tsf("embed", videos, "-o", whole, "--every", "0.5")
    kept = ("content", "start", "end", "label", "vector")
    one, other = ([[row[n] for n in kept] for row in rows(each)] for each in (library, whole))
    assert sorted(one) == sorted(other)


def test_a_picture_that_changes_in_a_folder_is_seen(tsf, tmp_path):
    pictures, library = tmp_path / "pictures", tmp_path / "l.lance"
    pictures.mkdir()
    for number in range(20):
        Image.fromarray(clips.barcode(number)).save(pictures / f"{number:02}.png")
    words = ["embed", pictures, "--fps", "25", "-o", library]
    assert said(tsf(*words)) == "1 new" and said(tsf(*words)) == "1 known"
    facts = pictures.stat()
    Image.fromarray(clips.barcode(99)).save(pictures / "09.png")
    os.utime(pictures, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert said(tsf(*words)) == "1 changed"


def test_a_video_that_goes_away_meanwhile_is_kept_and_stops_nothing(videos, tmp_path):
    library = Library.create(tmp_path / "l.lance", Making(model="m", revision="r"))
    filling = Filling(library)
    found = list(filling.to_embed([VideoPath(str(path)) for path in sorted(videos.iterdir())]))
    results = [made(tmp_path / "x", n) for n in range(3)]
    results = [
        replace(each, video=video.path, content=filling.contents[video.path])
        for each, video in zip(results, found, strict=True)
    ]
    (videos / "b.mp4").unlink()
    assert len(list(filling.write(results))) == 3
    assert len({row["video"] for row in rows(library.path)}) == 3 and filling.added.new == 3


def test_vectors_that_were_made_otherwise_are_refused(tsf, videos, tmp_path, model_folder):
    library = tmp_path / "l.lance"
    assert tsf("embed", videos / "a.mp4", "-o", library).exit_code == 0
    ran = tsf("embed", videos / "b.mp4", "-o", library, "--every", "1")
    assert ran.exit_code == 2 and "was made otherwise (every None)" in ran.stderr
    words = ["embed", str(videos / "b.mp4"), "-o", str(library), "-m", "camera-motion"]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 2 and "was made with other weights" in ran.stderr
    assert len(rows(library)) == 1
    (tmp_path / "file.lance").write_text("")
    ran = tsf("embed", videos, "-o", tmp_path / "file.lance")
    assert ran.exit_code == 2 and "is a file, and a library is a folder" in ran.stderr
    ran = tsf("embed", videos, "-o", videos, "--format", "lance")
    assert ran.exit_code == 2 and "is a folder, and no library" in ran.stderr


def test_what_looks_like_a_clip_is_found_but_not_the_clip_itself(tsf, videos, tmp_path):
    library = tmp_path / "l.lance"
    near = (clips.barcode((11 * n) % 256) for n in range(45))
    clips.write(videos / "near.mp4", near, codec="mpeg4")  # a.mp4 in another coding
    assert tsf("embed", videos, "-o", library).exit_code == 0
    ran = tsf("search", library, videos / "a.mp4", "--format", "json", "--dtype", "float32")
    assert ran.exit_code == 0, ran.stderr
    hits = json.loads(ran.stdout)
    require_valid("search", hits[0])
    assert Path(hits[0]["video"]).name == "near.mp4" and len(hits) == 3
    assert 1 >= hits[0]["similarity"] > hits[-1]["similarity"]
    label = hits[0]["label"]
    ran = tsf("search", library, "--label", label, "--format", "csv", "-k", "2")
    heading, *found = ran.stdout.splitlines()
    assert heading.startswith("video,start,end,label,score") and 1 <= len(found) <= 2
    ran = tsf("search", library, "--label", label, "--format", "m3u")
    assert ran.stdout.startswith("#EXTM3U\n#EXTINF:") and "start-time=" in ran.stdout
    ran = tsf("search", library, "--label", "nonsense")
    assert ran.exit_code == 2 and "has the label 'nonsense'" in ran.stderr
    for words, message in (
        ([], "say what to look for"),
        (["--label", label, "--from", "1"], "--from and --to are a part of CLIP"),
        ([videos / "no.mp4"], "does not exist"),
    ):
        ran = tsf("search", library, *words)
        assert ran.exit_code == 2 and message in ran.stderr
    ran = tsf("search", tmp_path, "--label", "a")
    assert ran.exit_code == 2 and "is no library" in ran.stderr


def test_a_library_is_told_checked_and_forgets(tsf, videos, tmp_path):
    library = tmp_path / "l.lance"
    tsf("embed", videos, "-o", library)
    told = json.loads(tsf("library", library, "--format", "json").stdout)
    require_valid("library", told)
    assert (told["videos"], told["vectors"]) == (3, 3)
    assert sum(told["labels"].values()) == 3 and told["folders"] == {str(videos): 3}
    assert tsf("library", library, "--check").exit_code == 0
    clips.write(videos / "b.mp4", 12)
    (videos / "c.mp4").unlink()
    ran = tsf("library", library, "--check")
    assert ran.exit_code == 1
    assert "b.mp4: has other content now" in ran.stderr
    assert "c.mp4: cannot be read now" in ran.stderr
    ran = tsf("library", library, "--forget", videos / "c.mp4", "--compact")
    assert ran.exit_code == 0 and "1 vectors removed" in ran.stderr and "of 2 videos" in ran.stdout
    ran = tsf("library", library, "--forget", "c.mp4")
    assert ran.exit_code == 2 and "paths are as they were given" in ran.stderr


def made(path: Path, number: int, vectors: int = 2) -> Embedded:
    path.write_text(str(number))
    random = np.random.default_rng(number)
    embeddings = tuple(
        Embedding(
            start=float(n),
            end=n + 1.0,
            predictions=(Prediction("it's", 0, 0.5),),
            vector=random.normal(size=8).astype(np.float32),
        )
        for n in range(vectors)
    )
    return Embedded(
        video=str(path), status="ok", content=f"content {number}", model="m", revision="r",
        device="cpu", dtype="float32", decoder="av", embeddings=embeddings,
    )  # fmt: skip


def looked(videos: list[Embedded]) -> dict[str, KnownFile]:
    return {video.video: KnownFile(video.video, video.content, 1, 2) for video in videos}


def test_writers_at_one_time_write_everything_once(tmp_path):
    library = Library.create(tmp_path / "l.lance", Making(model="m", revision="r"))
    files = [made(tmp_path / f"it's {n}.mp4", n) for n in range(12)]

    def write(first: int) -> None:
        for number in range(12):  # each writes all, in another order
            own = Library.create(library.path, library.making)
            own.add([files[(first + number) % 12]], looked(files))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, (0, 4, 8)))
    assert len(rows(library.path)) == 24
    hits = similar(library, files[3].embeddings[1].vector, 1, label="it's", least=0.4)
    assert (hits[0].video, hits[0].start) == (files[3].video, 1.0)
    assert hits[0].similarity == pytest.approx(1, abs=1e-5)
    assert labelled(library, "it's", 3)[0].score == 0.5


def test_of_windows_that_overlap_the_best_is_found(tmp_path):
    library = Library.create(tmp_path / "l.lance", Making(model="m", revision="r", every=0.5))
    video = made(tmp_path / "a.mp4", 1, 40)
    close = [
        replace(each, start=each.start / 2, end=each.start / 2 + 2) for each in video.embeddings
    ]
    library.add([replace(video, embeddings=tuple(close))], looked([video]))
    wanted = close[7]
    for hits in (similar(library, wanted.vector, 30), labelled(library, "it's", 30)):
        assert 5 <= len(hits) <= 11
        times = sorted((hit.start, hit.end) for hit in hits)
        assert all(end <= start for (_, end), (start, _) in pairwise(times))
    assert similar(library, wanted.vector, 1)[0].start == wanted.start
    itself = Hit("", video.content, wanted.start, wanted.end, "", 0)
    assert similar(library, wanted.vector, 1, without=[itself])[0].start != wanted.start


KILLED = """
import sys
from pathlib import Path
from tests.library.test_library import looked, made
from timesformer_cli.library.fill import Filling
from timesformer_cli.library.store import Library, Making
folder = Path(sys.argv[1])
library = Library.create(folder / "l.lance", Making(model="m", revision="r"))
print("ready", flush=True)
for number in range(40):
    video = made(folder / f"{number}.mp4", number)
    library.add([video], looked([video]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_a_writer_that_is_killed_leaves_whole_videos(tmp_path):
    library = Library(tmp_path / "l.lance", Making(model="m", revision="r"))
    for wait in (0.0, 0.05, 0.13, 0.21):
        command = [sys.executable, "-c", KILLED, str(tmp_path)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        ) as run:
            assert run.stdout is not None and run.stdout.readline()
            time.sleep(wait)
            os.kill(run.pid, signal.SIGKILL)
        if library.exists:
            by_video: dict[str, int] = {}
            for row in rows(library.path):
                by_video[row["video"]] = by_video.get(row["video"], 0) + 1
            assert set(by_video.values()) <= {2}
    videos = [made(tmp_path / f"{number}.mp4", number) for number in range(40)]
    library.add(videos, looked(videos))
    assert len(rows(library.path)) == 80


def test_without_lance_it_is_said_what_to_install(tsf, videos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lance", None)
    ran = tsf("embed", videos, "-o", tmp_path / "l.lance")
    assert ran.exit_code == 2 and "a library needs pylance: " in ran.stderr


def test_an_index_finds_what_is_in_it_and_what_came_later(tmp_path, monkeypatch):
    from timesformer_cli.library import index

    monkeypatch.setattr(index, "FEWEST", 500)
    library = Library.create(tmp_path / "l.lance", Making(model="m", revision="r"))
    videos = [made(tmp_path / f"{number}.mp4", number, 20) for number in range(40)]
    library.add(videos[:10], looked(videos[:10]))
    assert library.compact() == 0 and index.how_to_look(library.dataset()) == {}
    library.add(videos[10:39], looked(videos[10:39]))
    assert library.compact() == 780 and index.how_to_look(library.dataset())
    library.add(videos[39:], looked(videos[39:]))  # one that the index does not have

    def finds(number: int) -> bool:
        wanted = videos[number].embeddings[5]
        (hit,) = similar(library, wanted.vector, 1)
        found = hit.video == videos[number].video and hit.start == wanted.start
        return found and hit.similarity == pytest.approx(1, abs=1e-4)

    assert finds(0) and finds(25) and finds(39)
    # All that fit are found, also those in partitions which are not looked into.
    assert len(similar(library, videos[3].embeddings[0].vector, 500)) == 500
    assert library.compact() == 800  # now it has them all
    told = library.dataset().stats.index_stats(index.NAME)
    assert told["num_unindexed_rows"] == 0 and finds(39)
    library.forget([videos[25].video])
    assert not finds(25) and finds(39)
    before = told["indices"][0]["num_partitions"]
    monkeypatch.setattr(index, "partitions_for", lambda rows: 2 * before)
    library.compact()  # grown by much: from nothing
    told = library.dataset().stats.index_stats(index.NAME)
    assert told["indices"][0]["num_partitions"] == 2 * before and finds(39)
