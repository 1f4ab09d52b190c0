"""`tsf timeline` as a user meets it: answers as they come, files, pictures, errors and exit codes."""

import csv
import io
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from tests.support import clips
from tests.support.timelines import segment, timeline
from timesformer_cli.cli import timeline_progress
from timesformer_cli.cli.app import app
from timesformer_cli.cli.draw import timeline as drawing
from timesformer_cli.timelines.options import TimelineOptions
from timesformer_cli.video.windows import Shot

EXAMPLE = Path(__file__).parents[2] / "examples" / "pan_left_then_zoom_in.mp4"
KEYS = (
    "schema video status model device dtype decoder fps span every duration shots segments warnings error"
).split()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Four seconds of one shot, in which the small model's windows are half a second long."""
    ramp = np.linspace(40, 200, 160).astype(np.uint8)
    picture = np.broadcast_to(ramp[None, :, None], (120, 160, 3))
    drifting = (np.roll(picture, number // 4, axis=1) for number in range(120))
    return clips.write(tmp_path_factory.mktemp("clips") / "clip.mp4", drifting)


@pytest.fixture
def tsf(model_folder):
    """`tsf timeline` on the small model."""

    def ran(*arguments: object, input: str | None = None):
        words = ["timeline", *map(str, arguments), "-m", str(model_folder), "--device", "cpu"]
        return CliRunner().invoke(app, words, input=input)

    return ran


def test_a_bundled_model_finds_two_motions_in_one_shot():
    words = ["timeline", str(EXAMPLE), "-m", "camera-motion", "--format", "json"]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.stderr
    (found,) = json.loads(ran.stdout)
    assert [part["label"] for part in found["segments"]] == ["pan left", "zoom in"]
    assert found["shots"] == [{"start": 0.0, "end": 6.0}]
    assert found["segments"][0]["end"] == pytest.approx(3, abs=0.6)
    assert (found["fps"], found["status"]) == (30, "ok")
    refined = json.loads(CliRunner().invoke(app, [*words, "--refine"]).stdout)[0]
    assert refined["segments"][0]["end"] == pytest.approx(3, abs=0.3)


def test_json_has_the_promised_fields_and_windows_only_where_asked_for(tsf, clip):
    ran = tsf(clip, "--format", "jsonl", "--every", "1", "--from", "1", "--to", "0:03.5")
    assert ran.exit_code == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert [key for key in KEYS if key in found] == list(found)
    assert (found["every"], found["duration"]) == (1.0, 2.5)
    assert found["shots"] == [{"start": 1.0, "end": 3.5}]
    ran = tsf(clip, "--format", "json", "--every", "1", "--windows", "--top-k", "2", "--no-cuts")
    (found,) = json.loads(ran.stdout)
    assert [window["start"] for window in found["windows"]] == [0.0, 1.0, 2.0, 3.0]
    assert {len(window["predictions"]) for window in found["windows"]} == {2}


@pytest.mark.parametrize("format", ["jsonl", "csv", "table"])
def test_an_answer_is_out_before_the_next_video_is_looked_at(
    format, tsf, clip, tmp_path, monkeypatch
):
    from timesformer_cli.timelines.run import TimelineRun

    written = []

    def followed(self, video, *_):
        written.append(sys.stdout.buffer.getvalue().decode())
        yield from ()
        return timeline(segment(0, 2), video=video.path)

    monkeypatch.setattr(TimelineRun, "timeline", followed)
    second = shutil.copy(clip, tmp_path / "b.mp4")
    ran = tsf(clip, second, "--format", format)
    assert ran.exit_code == 0, ran.stderr
    assert str(clip) not in written[0]
    assert "pan left" in written[1] and str(second) not in written[1]
    answer = tmp_path / "answer"
    assert tsf(clip, second, "--format", format, "-o", answer).exit_code == 0
    assert answer.read_text() and not list(tmp_path.glob(".*"))


def test_a_file_appears_whole_or_not_at_all(tsf, clip, tmp_path, monkeypatch):
    from timesformer_cli.errors import DeviceError
    from timesformer_cli.timelines.run import TimelineRun

    def followed(self, video, *_):
        if video.path != str(clip):
            raise DeviceError("no memory left")
        yield from ()
        return timeline(segment(0, 2), video=video.path)

    monkeypatch.setattr(TimelineRun, "timeline", followed)
    second, answer = shutil.copy(clip, tmp_path / "b.mp4"), tmp_path / "answer.jsonl"
    answer.write_text("the one before")
    ran = tsf(clip, second, "-o", answer)
    assert ran.exit_code == 4
    assert answer.read_text() == "the one before"
    left = {".answer.jsonl.journal", "answer.jsonl", "b.mp4"}  # with which --resume goes on
    assert {path.name for path in tmp_path.iterdir()} == left


def test_several_videos_come_in_order_and_a_failed_one_costs_its_own_row(tsf, clip, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("this is no video")
    ran = tsf(text, clip, "gone.mp4", "--format", "jsonl")
    assert ran.exit_code == 1
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [one["status"] for one in found] == ["error", "ok", "error"]
    assert [one["video"] for one in found] == [str(text), str(clip), "gone.mp4"]
    assert found[2]["error"]["kind"] == "not_found"
    assert "3 videos, 2 failed" in ran.stderr
    ran = tsf("-", "--format", "csv", input=f"{clip}\n{text}\n")
    rows = list(csv.DictReader(io.StringIO(ran.stdout)))
    assert rows[-1]["error_kind"] == "cannot_decode" and rows[0]["label"] in "abcde"


def cut_short(path: Path, folder: Path) -> Path:
    """A video whose last half is missing, with its index at the front."""
    whole = clips.write(
        folder / "whole.mp4", 120, container_options={"movflags": "faststart"}, options={"g": "1"}
    )
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return path


@pytest.mark.parametrize("format", ["json", "vtt"])
def test_a_cut_video_keeps_what_was_seen_and_is_warned_of(format, tsf, tmp_path):
    ran = tsf(cut_short(tmp_path / "cut.mp4", tmp_path), "--format", format)
    assert ran.exit_code == 1
    if format == "json":
        (found,) = json.loads(ran.stdout)
        assert 1.0 < found["duration"] < 3.0 and found["segments"]
        assert found["status"] == "partial" and "claims 4.0 s, holds" in found["error"]
    else:
        assert ran.stdout.startswith("WEBVTT")
        assert "claims 4.0 s, holds" in ran.stderr


def test_timestamps_that_jump_back_are_read_on_as_one_video(tsf, tmp_path):
    """Two transport streams in one file, as `cat` joins them."""
    parts = [
        clips.write(tmp_path / f"{n}.ts", 60, format="mpegts", options={"g": "10"}) for n in (1, 2)
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    ran = tsf(joined, "--format", "json", "--no-cuts", "--every", "0.25", "--windows")
    assert ran.exit_code == 0, ran.stderr
    (found,) = json.loads(ran.stdout)
    assert found["duration"] == pytest.approx(4.0, abs=0.2)
    starts = [window["start"] for window in found["windows"]]
    assert starts == sorted(starts) and starts[-1] > 3


@pytest.mark.parametrize("format", ["srt", "table"])
def test_a_partial_video_ends_with_1_and_says_so(format, tsf, clip, monkeypatch):
    from timesformer_cli.timelines.run import TimelineRun

    told = timeline(segment(0, 2), end=2.0, status="partial", error="bad packet", video=str(clip))

    def followed(self, video, *_):
        yield from ()
        return told

    monkeypatch.setattr(TimelineRun, "timeline", followed)
    ran = tsf(clip, "--format", format)
    assert ran.exit_code == 1
    assert "pan left" in ran.stdout
    assert "partial: known up to 0:02.0 only: bad packet" in " ".join(ran.output.split())


def sound(folder: Path) -> Path:
    return clips.write_sound(folder / "sound.mp4")


def empty(folder: Path) -> Path:
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


def text(folder: Path) -> Path:
    (folder / "text.mp4").write_text("this is no video")
    return folder / "text.mp4"


def half(folder: Path) -> Path:
    """Without its index, which stands at the end."""
    whole = clips.write(folder / "whole.mp4", 60)
    (folder / "half.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return folder / "half.mp4"


@pytest.mark.parametrize("make", [sound, empty, text, half])
@pytest.mark.parametrize("format", ["table", "srt"])
def test_what_is_no_video_is_one_line_and_no_file(make, format, tsf, tmp_path):
    video, answer = make(tmp_path), tmp_path / "answer"
    ran = tsf(video, "--format", format, *(["-o", answer] if format == "srt" else []))
    assert ran.exit_code == 1
    said = ran.stderr if format == "srt" else ran.stdout
    assert said.count("\n") == 1 and str(video) in said and "Traceback" not in said
    assert not answer.exists()


def test_from_behind_the_end_is_an_error_of_the_video(tsf, clip):
    ran = tsf(clip, "--from", "1:00:00")
    assert ran.exit_code == 1
    assert "no_frames: ends at 4.0 s, before 3600 s" in ran.stdout


WRONG = {
    "--every 0": "--every is at least 0.001 seconds; got 0",
    "--every -1": "--every is at least",
    "--every nan": "--every is at least",
    "--every inf": "--every is at least",
    "--from x": "--from is a time in the video",
    "--to 1:75": "--to is a time in the video",
    "--from 10 --to 0:05": "--to 0:05 is not after --from 10",
    "--to 0": "--to 0 is not after --from 0",
    "--threshold 2": "--threshold is a score from 0 to 1; got 2",
    "--threshold nan": "--threshold is a score",
    "--smooth much": "--smooth is auto, or a number of nats, 0 or more; got 'much'",
    "--smooth -1": "--smooth is auto",
    "--labels ,": "--labels names no label",
    "--windows": "--windows is for --format json, jsonl or html, not table",
    "--top-k 3 --format json": "it needs --windows",
    "--format srt CLIP2": "a file of srt holds one video, not 2; --output-dir",
    "--format edl CLIP2": "a file of edl holds one video, not 2; --output-dir",
    "-o OUT.csv --format srt": "--format srt contradicts .csv",
    "-o OUT.mp3": "no format goes by .mp3 here",
    "-o OUT.csv --output-dir OUT": "give --output, one file, or --output-dir",
    "--plot OUT.txt": "give a file ending in .png",
    "--plot OUT.png -o OUT.png": "",
    "--plot CLIP": "",
    "-o CLIP --format srt": "",
    "--device gpu": "no device 'gpu'",
    "--frames 0": "--frames",
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_is_one_line_before_a_model_is_looked_for(words, clip, tmp_path, monkeypatch):
    from timesformer_cli.weights.hub import locate as module

    def refuse(*arguments, **options):
        raise AssertionError("a model was looked for")

    monkeypatch.setattr(module, "locate", refuse)
    other = tmp_path / "other.mp4"
    shutil.copy(clip, other)
    before = other.read_bytes()
    places = {"CLIP": str(other), "CLIP2": str(other)}
    filled = [
        places.get(word, word.replace("OUT", str(tmp_path / "out"))) for word in words.split()
    ]
    ran = CliRunner().invoke(
        app, ["timeline", str(clip), str(other)][: 3 - ("CLIP2" in words)] + filled
    )
    assert ran.exit_code == 2, ran.output
    assert ran.stdout == "" and ran.stderr.count("\n") == 1
    assert WRONG[words] in ran.stderr
    assert other.read_bytes() == before


def test_labels_that_count_are_those_of_the_model(tsf, clip):
    ran = tsf(clip, "--labels", 'a, "B"', "--smooth", "0", "--format", "csv")
    assert ran.exit_code == 0, ran.stderr
    assert {row["label"] for row in csv.DictReader(io.StringIO(ran.stdout))} <= {"a", "b", ""}
    ran = tsf(clip, "--labels", "a,walking")
    assert ran.exit_code == 2 and ran.stderr.count("\n") == 1
    assert "walking" in ran.stderr


def test_where_nothing_reaches_the_threshold_nothing_is_said(tsf, clip, model_folder):
    ran = tsf(clip, "--threshold", "1")
    assert ran.exit_code == 0
    heading, row = ran.stdout.splitlines()
    assert heading == f"{clip}  0:04.0, 1 shot, {model_folder}"
    assert row.split()[:2] == ["0:00.0-0:04.0", "(nothing)"]
    assert "█" not in row and "%" not in row


@pytest.mark.parametrize("format", ["srt", "vtt", "otio", "edl", "json", "table"])
def test_each_video_has_its_own_file(format, tsf, clip, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in ("a/x.mp4", "b/x.mp4"):
        (folder / name).parent.mkdir(parents=True)
        shutil.copy(clip, folder / name)
    (folder / "b" / "text.mp4").write_text("this is no video")
    ran = tsf(folder, "--output-dir", out, "--format", format, "-q")
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr.count("\n") == 1 and "text.mp4: cannot_decode" in ran.stderr
    suffix = "txt" if format == "table" else format
    made = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert made == [f"a/x.mp4.{suffix}", f"b/x.mp4.{suffix}"]
    assert (out / made[0]).read_text().strip()


def test_the_suffix_chooses_the_format_and_stdout_takes_one_video(tsf, clip, tmp_path):
    for suffix, beginning in (
        ("srt", "1\n00:00:00,000 --> "),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> "),
    ):
        answer = tmp_path / f"answer.{suffix}"
        ran = tsf(clip, "-o", answer)
        assert (ran.exit_code, ran.stdout) == (0, ""), ran.stderr
        assert answer.read_text().startswith(beginning)
        assert tsf(clip, "--format", suffix).stdout == answer.read_text()


def test_a_folder_of_pictures_has_a_timeline(tsf, tmp_path):
    for number in range(30):
        picture = Image.fromarray(clips.barcode(number))
        picture.save(tmp_path / f"{number}.png")
    ran = tsf(tmp_path, "--fps", "10", "--format", "json", "--plot", tmp_path / "plot.svg")
    assert ran.exit_code == 0, ran.stderr
    (found,) = json.loads(ran.stdout)
    assert (found["fps"], found["duration"], found["decoder"]) == (10, 3.0, "pillow")
    assert "<image" in (tmp_path / "plot.svg").read_text()


def test_a_plot_has_pictures_rows_and_cuts(tmp_path):
    """Blue and red halves of a video are in the right places of its picture."""
    colours = [(200, 30, 30)] * 60 + [(30, 30, 200)] * 60
    video = clips.write(
        tmp_path / "two.mp4", [np.full((96, 128, 3), colour, np.uint8) for colour in colours]
    )
    told = timeline(
        segment(0, 2, "walk\x1b"),
        segment(2, 4, "run", score=0.2),
        end=4.0,
        shots=(Shot(0, 2), Shot(2, 4)),
        video=str(video),
    )
    drawing.draw_timelines([told], tmp_path / "plot.png", TimelineOptions(), None)
    picture = np.asarray(Image.open(tmp_path / "plot.png").convert("RGB")).astype(int)
    red = (picture[..., 0] > 150) & (picture[..., 2] < 90) & (picture[..., 1] < 60)
    blue = (picture[..., 2] > 150) & (picture[..., 0] < 90) & (picture[..., 1] < 60)
    assert red.sum() > 10_000 and blue.sum() > 10_000
    assert np.nonzero(red)[1].max() < np.nonzero(blue)[1].min()
    drawing.draw_timelines([told] * 3, tmp_path / "plot.svg", TimelineOptions(), None)
    drawn = (tmp_path / "plot.svg").read_text()
    assert drawn.count(">run<") == 3 and drawn.count(">0:01.0<") == 3
    assert "walk\\x1b" in drawn and "\x1b" not in drawn


def test_a_plot_starts_where_the_timeline_does(tmp_path):
    """Each frame carries its number, which the pictures of the strip still show."""
    clip = clips.write(tmp_path / "numbered.mp4", 120)
    with drawing.DecodePool(1) as pool:
        shown = list(drawing._pictures(drawing.VideoPath(str(clip)), 2.0, 4.0, pool))
    numbers = [clips.read_barcode(picture) for picture in shown]
    step = 60 / len(shown)
    assert numbers == pytest.approx(
        [60 + (place + 0.5) * step for place in range(len(shown))], abs=1
    )
    assert 3 <= len(shown) <= drawing.MOST_PICTURES


def test_more_videos_than_a_plot_has_room_for_are_refused(tsf, clip, tmp_path):
    for number in range(7):
        shutil.copy(clip, tmp_path / f"{number}.mp4")
    ran = tsf(tmp_path, "--plot", tmp_path / "plot.png")
    assert ran.exit_code == 2
    assert ran.stderr == "error: --plot draws up to 6 videos, not 7; give fewer\n"
    ran = tsf("gone.mp4", "--plot", tmp_path / "plot.png")
    assert ran.exit_code == 1 and "no video could be read" in ran.stderr
    assert not (tmp_path / "plot.png").exists()


def test_a_terminal_sees_the_cost_and_the_progress_in_video_time(
    model_folder, clip, tmp_path, monkeypatch
):
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=160, highlight=False)
    monkeypatch.setattr(timeline_progress, "stderr", lambda: console)
    shutil.copy(clip, tmp_path / "b.mp4")
    words = ["timeline", str(clip), str(tmp_path / "b.mp4"), "-m", str(model_folder)]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.stderr
    said = shown.getvalue()
    # Windows of 15/30 s each quarter of a second: the last begins at 3.5 s.
    line = rf"{clip}: 0:04.0 of video, about (\d+) windows of 0.5 s, up to 0.\d+ GMACs each"
    assert re.findall(line, said) == ["15"]
    assert "1/2" in said and "2/2" in said
    assert re.search(r"0:0[1-4] of 0:04, [\d.]+x real time, 0:0\d left", said)


def test_progress_is_told_in_video_time():
    line = timeline_progress.progress_line
    assert line(12, 200, 4) == "0:12 of 3:20, 3.0x real time, 1:03 left"
    assert line(0, 200, 0.1) == "0:00 of 3:20"
    assert line(30, None, 60) == "0:30, 0.5x real time"
    assert line(5000, 4000, 10) == "1:23:20 of 1:06:40, 500x real time, 0:00 left"


def test_a_pipe_sees_nothing_of_it(tsf, clip):
    ran = tsf(clip)
    assert (ran.exit_code, ran.stderr) == (0, "")
