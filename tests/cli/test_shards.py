"""`--shard` on several machines, and `tsf merge`: every video once, or an error that says which."""

import json
from collections import Counter

import pytest
from typer.testing import CliRunner

from tests.support import clips
from timesformer_cli.cli.answers import share_of
from timesformer_cli.cli.app import app


def tsf(*words: object):
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number in range(5):
        clips.write(folder / f"{number}.mp4", 16)
    return folder


def test_a_share_is_what_its_path_says_for_ever():
    assert [share_of(path, 4) for path in ("a.mp4", "b.mp4", "é/c.mp4")] == [1, 1, 3]
    shares = Counter(share_of(f"/data/{number:06}.mp4", 8) for number in range(8000))
    assert sorted(shares) == list(range(1, 9)) and min(shares.values()) > 850


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_the_parts_together_are_the_whole(videos, model_folder, tmp_path, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    command = "embed" if suffix == "parquet" else "classify"
    parts = [tmp_path / f"part-{number}.{suffix}" for number in (1, 2, 3)]
    for number, part in enumerate(parts, 1):
        ran = tsf(command, videos, "-m", model_folder, "--shard", f"{number}/3", "-o", part)
        assert ran.exit_code == 0 and f"shard {number}/3: " in ran.stderr, ran.stderr
    whole = tmp_path / f"whole.{suffix}"
    ran = tsf("merge", *parts, "-o", whole, "--of", videos)
    assert ran.exit_code == 0 and "5 videos of 3 parts" in ran.stderr, ran.stderr
    if suffix == "parquet":
        from pyarrow import parquet

        found = parquet.read_table(whole).column("video").to_pylist()
    elif suffix == "jsonl":
        found = [json.loads(line)["video"] for line in whole.read_text().splitlines()]
    else:
        heading, *rows = whole.read_text().splitlines()
        assert heading.startswith("video,status") and len(rows) == 5 * 5
        found = [row.split(",")[0] for row in rows[::5]]
    assert sorted(found) == sorted(str(path) for path in videos.iterdir())


def line(video: str) -> str:
    return json.dumps({"video": video}) + "\n"


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (line("a"), line("b") + line("a"), "a is in "),
        (
            line("a"),
            '{"video": "b',
            "2.jsonl, line 1: is no answer of a video; was its run stopped?",
        ),
        (line("a"), "[]\n", "2.jsonl, line 1: is no answer"),
    ],
)
def test_what_is_double_or_cut_is_an_error_and_nothing_is_written(tmp_path, first, second, message):
    parts = [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    for path, text in zip(parts, (first, second), strict=True):
        path.write_text(text)
    ran = tsf("merge", *parts, "-o", tmp_path / "whole.jsonl")
    assert ran.exit_code == 2 and message in ran.stderr
    assert sorted(tmp_path.iterdir()) == parts


def test_a_missing_part_is_told_by_its_videos(videos, tmp_path):
    part, whole = tmp_path / "1.jsonl", tmp_path / "whole.jsonl"
    part.write_text(line(str(videos / "0.mp4")))
    ran = tsf("merge", part, "-o", whole, "--of", videos)
    assert ran.exit_code == 2 and "4 videos are in no part: " in ran.stderr
    part.write_text(line("other.mp4"))
    ran = tsf("merge", part, "-o", whole, "--of", videos / "0.mp4")
    assert ran.exit_code == 2 and "a video is in no part: " in ran.stderr
    assert not whole.exists()


def test_tables_of_other_columns_are_no_parts_of_one(tmp_path):
    (tmp_path / "1.csv").write_text("video,status\na,ok\n")
    (tmp_path / "2.csv").write_text("video,label\nb,x\n")
    ran = tsf("merge", tmp_path / "1.csv", tmp_path / "2.csv", "-o", tmp_path / "w.csv")
    assert ran.exit_code == 2 and "2.csv: has other columns than" in ran.stderr
    ran = tsf("merge", tmp_path / "1.csv", "-o", tmp_path / "w.jsonl")
    assert ran.exit_code == 2 and "parts and --output have one suffix" in ran.stderr
    ran = tsf("merge", tmp_path / "no.csv", "-o", tmp_path / "w.csv")
    assert ran.exit_code == 2 and "no.csv: No such file or directory" in ran.stderr


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3"])
def test_a_share_that_is_none_is_refused(videos, model_folder, shard):
    ran = tsf("classify", videos, "-m", model_folder, f"--shard={shard}")
    assert ran.exit_code == 2 and "--shard is I/N with I from 1 to N" in ran.stderr


def test_an_empty_share_is_an_empty_answer(videos, model_folder, tmp_path):
    video = videos / "0.mp4"
    other = next(n for n in range(1, 3) if n != share_of(str(video), 2))
    words = ["classify", video, "-m", model_folder, "--shard", f"{other}/2"]
    for name in ("o.jsonl", "o.csv", "o.txt"):
        ran = tsf(*words, "-o", tmp_path / name)
        assert ran.exit_code == 0, ran.stderr
        assert len((tmp_path / name).read_text().splitlines()) <= 1  # a heading
