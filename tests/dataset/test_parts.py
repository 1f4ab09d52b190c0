"""Parts of videos in tables: times, contradictions, columns that nothing reads, ids of videos."""

from pathlib import Path

import pytest

from timesformer_cli.dataset.labelled import read_labelled_clips
from timesformer_cli.dataset.part_times import parse_time
from timesformer_cli.dataset.splits import split_clips
from timesformer_cli.errors import UsageError


def parts(folder: Path, content: str, **how):
    """(name, label, start, end) of each clip of a table, and what was noted."""
    (folder / "clips.csv").write_text(content)
    said: list[str] = []
    found = read_labelled_clips(folder / "clips.csv", note=said.append, **how)
    rows = [(Path(clip.path).name, clip.label, clip.start, clip.end) for clip in found]
    return rows, said


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("12.5", 12.5),
        ("12,5", 12.5),
        ("7 s", 7.0),
        ("1:02.5", 62.5),
        ("0:01:02", 62.0),
        ("01:00:00,250", 3600.25),
        ("90:00", 5400.0),
        (".5", 0.5),
        ("", None),
    ],
)
def test_a_time_is_seconds_or_a_clock(written, seconds):
    assert parse_time("here", "start", written) == seconds


@pytest.mark.parametrize(
    "written", ["-1", "nan", "inf", "1:60", "1:2:3:4", "1:75:00", "later", "1,2,3"]
)
def test_what_is_no_time_is_said(written):
    with pytest.raises(UsageError, match=r"here: .*start"):
        parse_time("here", "start", written)


@pytest.mark.parametrize(
    "heading", ["start,end", "start_time,end_time", "Time Start,Time End", "begin,stop"]
)
def test_a_video_has_many_parts(tmp_path, heading):
    content = (
        f"path,label,{heading}\na.mp4,run,1.5,0:04\na.mp4,walk,4,\nb.mp4,run,,\na.mp4,run,0,1\n"
    )
    rows, said = parts(tmp_path, content)
    assert rows == [
        ("a.mp4", "run", 1.5, 4.0),
        ("a.mp4", "walk", 4.0, None),
        ("b.mp4", "run", 0.0, None),
        ("a.mp4", "run", 0.0, 1.0),
    ]
    assert said == []


def test_frames_are_seconds_at_a_rate(tmp_path):
    content = "path,label,start_frame,end_frame\na.mp4,run,25,50\n"
    assert parts(tmp_path, content, fps=25.0)[0] == [("a.mp4", "run", 1.0, 2.0)]
    with pytest.raises(UsageError, match=r"clips.csv:2: counts in frames.*--fps"):
        parts(tmp_path, content)


def test_columns_that_nothing_reads_are_named(tmp_path):
    content = "id,path,label,actor,split,group,start_frame,start,end\n1,a.mp4,x,me,train,g,9,1,2\n"
    rows, said = parts(tmp_path, content)
    assert rows == [("a.mp4", "x", 1.0, 2.0)]
    assert said == [f"{tmp_path / 'clips.csv'}: columns that are not used: id, actor, start_frame"]
    assert parts(tmp_path, content, group_by="actor")[1][0].endswith("used: id, group, start_frame")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a,x,5,3\nb,x,1,2\nc,x,2,2\n", "lines 2 (5 to 3 s), 4 (2 to 2 s): a part that ends"),
        ("a,x,1,4\na,y,3,6\n", "line 2 'x' (1 to 4 s) and line 3 'y' (3 to 6 s) of a"),
        ("a,x,1,4\na,y,,\n", "line 3 'y' and line 2 'x' (1 to 4 s) of a"),
        ("a,x,1,4\n./a,y,1,4\n", "line 2 'x' (1 to 4 s) and line 3 'y' (1 to 4 s)"),
        ("a,x,1,9\n" + "".join(f"a,y,{n},{n + 1}\n" for n in range(2, 9)), "; and 2 more; mend"),
        ("a,x,one,4\n", ":2: 'one' under 'start' is no time"),
    ],
)
def test_a_table_that_contradicts_itself_is_said_by_line(tmp_path, rows, said):
    with pytest.raises(UsageError) as caught:
        parts(tmp_path, "path,label,start,end\n" + rows)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_parts_may_meet_overlap_alike_and_come_again(tmp_path):
    content = "path,label,start,end\na,x,0,4\na,y,4,8\na,X,2,3\nb,y,2,3\na,x,0,4\n"
    rows, said = parts(tmp_path, content)
    assert [row[2:] for row in rows] == [(0, 4), (4, 8), (2, 3), (2, 3)]
    assert len(said) == 1 and said[0].endswith("1 clip counts once, though listed again")


def test_parts_with_several_labels_may_overlap(tmp_path):
    content = "path,label,start,end\na,x,0,4\na,y,2,8\na,y,0,4\n"
    rows, _ = parts(tmp_path, content, multi_label=True)
    assert rows == [("a", "x|y", 0, 4), ("a", "y", 2, 8)]


def test_the_parts_of_one_video_stay_in_one_split(tmp_path):
    lines = [f"{v}.mp4,{'xy'[n % 2]},{n},{n + 1}" for v in range(10) for n in range(6)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,start,end", *lines]))
    for seed in range(5):
        clips = split_clips(read_labelled_clips(tmp_path / "t.csv"), 0.3, seed)
        splits = {clip.path: set() for clip in clips}
        for clip in clips:
            splits[clip.path].add(clip.split)
        assert all(len(one) == 1 for one in splits.values())
        assert sum(one == {"val"} for one in splits.values()) == 3


def test_kinetics_names_videos_by_their_ids(tmp_path):
    for name in ("train/run/abc_000010_000020.mp4", "full/-dEf.mkv", "full/v_ghi.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0")
    content = (
        "label,youtube_id,time_start,time_end,split,is_cc\n"
        "run,abc,10,20,train,0\nrun,-dEf,3,13,validate,0\njump,ghi,1,11,test,1\njump,gone,0,10,train,0\n"
    )
    rows, said = parts(tmp_path, content)
    assert rows == [
        ("abc_000010_000020.mp4", "run", 0.0, None),
        ("-dEf.mkv", "run", 3.0, 13.0),
        ("v_ghi.mp4", "jump", 1.0, 11.0),
        ("gone", "jump", 0.0, 10.0),
    ]
    assert said[0].endswith("columns that are not used: is_cc")
    assert "1 clip is a file of the part alone" in said[1]
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "-dEf.mp4").write_bytes(b"\0")
    with pytest.raises(UsageError, match=r"clips.csv:3: '-dEf' may be "):
        parts(tmp_path, content)
