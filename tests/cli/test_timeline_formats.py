"""Timelines as subtitles and edit lists, read back by programs that others wrote."""

import csv
import io
import json
import unicodedata
from fractions import Fraction

import av
import opentimelineio
import pytest
from opentimelineio import opentime

from tests.support.timelines import segment, timeline
from timesformer_cli.cli.show.timeline import RENDERERS
from timesformer_cli.errors import ErrorKind, UsageError
from timesformer_cli.inference.classified import Failed, Fault
from timesformer_cli.results import to_json
from timesformer_cli.timelines import edit_lists
from timesformer_cli.timelines.edit_lists import require_edit_lists, timecode_rate, to_edl, to_otio
from timesformer_cli.timelines.subtitles import to_srt, to_vtt
from timesformer_cli.timelines.text import clock, one_line, parse_clock
from timesformer_cli.video.windows import Shot

WRITERS = {"srt": to_srt, "vtt": to_vtt}
HOSTILE = [
    "a --> b",
    "<b>bold</b> <font color=red>x",
    "{\\an8}top\\Nline",
    "1\n00:00:00,000 --> 00:00:09,000\nnot a cue",
    "a\r\n\r\nNOTE b\x1b[31m\x00\u2028c",
    "&lt;i&gt; & Co",
    "\u202eabc\u2066",
    "\u05e9\u05dc\u05d5\u05dd",
    "\ud800",
]
# A 23.976-fps video has its own rate; that of a file is a float of a fraction, or a rounded one.
RATES = [Fraction(24000, 1001), 23.976, 25, Fraction(30000, 1001), 29.97, 30, Fraction(60000, 1001)]


def cues(text: str, format: str, folder) -> list[tuple[int, int, str]]:
    """Start, length in milliseconds and words of each cue, as FFmpeg reads them."""
    path = folder / f"subtitles.{format}"
    path.write_text(text, encoding="utf-8")
    found = []
    with av.open(str(path)) as container:
        (stream,) = container.streams
        assert stream.type == "subtitle"
        for packet in container.demux(stream):
            if packet.size:
                unit = packet.time_base * 1000
                # Its ninth field is the text; FFmpeg escapes braces and backslashes by a mark.
                words = [word.ass.decode().split(",", 8)[8] for word in packet.decode()]
                words = [word.replace("{}", "").replace("\u2060", "") for word in words]
                found.append((int(packet.pts * unit), int(packet.duration * unit), *words))
    return found


@pytest.mark.parametrize("format", WRITERS)
def test_a_players_library_reads_each_segment_at_its_time(format, tmp_path):
    told = timeline(
        segment(0.0, 2.625),
        segment(2.625, 59.999, "zoom in", score=0.505),
        segment(3599.9, 36000.001, "hours later"),
    )
    found = cues(WRITERS[format](told), format, tmp_path)
    times = [(start, length) for start, length, _ in found]
    assert times == [(0, 2625), (2625, 57374), (3599900, 32400101)]
    assert [words for *_, words in found] == [
        "pan left (96 %)",
        "zoom in (50 %)",
        "hours later (96 %)",
    ]


@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize("label", HOSTILE, ids=ascii)
def test_no_label_makes_or_breaks_a_cue(label, format, tmp_path):
    told = timeline(segment(1.0, 2.0, label), segment(3.0, 4.0, "next"))
    first, second = cues(WRITERS[format](told), format, tmp_path)
    assert first[:2] == (1000, 1000) and second[:2] == (3000, 1000)
    words = first[2]
    assert words.endswith("(96 %)")
    # What FFmpeg took for a tag it has turned into a mark in braces, or thrown away.
    assert "{\\" not in words.replace("\\{", "").replace("\\\\", "")
    shown = [char for char in words if unicodedata.category(char) in ("Cc", "Zl", "Cf", "Cs")]
    assert not shown
    letters = [char for char in one_line(label) if char.isalnum()]
    assert [char for char in words if char.isalnum()][: len(letters)] == letters


@pytest.mark.parametrize("label", HOSTILE, ids=ascii)
def test_nothing_in_a_subrip_cue_is_a_mark(label):
    number, times, *words = to_srt(timeline(segment(1, 2, label))).split("\n")
    assert (number, times) == ("1", "00:00:01,000 --> 00:00:02,000")
    assert words[1:] == ["", ""]
    assert not set("<>{}\\") & set(words[0])


def test_a_label_of_which_nothing_is_left_goes_by_its_number():
    assert "class 7 (" in to_srt(timeline(segment(0, 1, "\u202e\n", index=7)))


def test_without_segments_the_files_are_empty_but_valid():
    assert to_srt(timeline()) == ""
    assert to_vtt(timeline()) == "WEBVTT\n\n"
    assert to_edl(timeline()) == "TITLE: film.mp4\nFCM: NON-DROP FRAME\n\n"
    read = opentimelineio.adapters.read_from_string(to_otio(timeline(shots=())), "otio_json")
    assert len(read.tracks) == 1 and not list(read.find_clips())


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_an_otio_file_has_a_clip_for_each_segment_at_its_frames(fps):
    rate = float(fps)
    told = timeline(
        segment(2.0, 3.5), segment(3.5, 10.25, "zoom in"), fps=rate, video="a b/film.mp4"
    )
    read = opentimelineio.adapters.read_from_string(to_otio(told), "otio_json")
    exact = timecode_rate(rate)
    assert [clip.name for clip in read.find_clips()] == ["pan left", "zoom in"]
    for clip, part in zip(read.find_clips(), told.segments, strict=True):
        there = clip.transformed_time_range(clip.trimmed_range(), read.tracks)
        for placed in (clip.source_range, there):
            assert placed.start_time == opentime.RationalTime(round(part.start * exact), exact)
            end = placed.end_time_exclusive()
            assert end == opentime.RationalTime(round(part.end * exact), exact)
            assert placed.start_time.rate == exact == pytest.approx(rate, rel=1e-4)
        assert clip.media_reference.target_url.startswith("file:///")
        assert clip.media_reference.target_url.endswith("/a%20b/film.mp4")
        assert clip.media_reference.available_range.duration.value == round(60 * exact)
        assert clip.metadata["tsf"]["score"] == 0.9567


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_timecodes_of_an_edit_list_are_exact_to_the_frame(fps):
    """Also over an hour, where those of 29.97 frames a second have left out 108 numbers."""
    rate = timecode_rate(float(fps))
    bounds = [0.0, 59.96, 60.0, 61.5, 599.97, 3601.2]
    told = timeline(
        *(segment(*bounds[i : i + 2], f"part {i}") for i in range(5)), fps=float(fps), end=4000.0
    )
    text = to_edl(told)
    events = [line.split() for line in text.splitlines() if line[:1].isdigit()]
    assert [event[0] for event in events] == ["001", "002", "003", "004", "005"]
    assert {(event[1], event[2], event[3]) for event in events} == {("FILM", "V", "C")}
    for event, part in zip(events, told.segments, strict=True):
        expected = [
            opentime.to_timecode(opentime.RationalTime(round(moment * rate), rate), rate)
            for moment in (part.start, part.end)
        ]
        assert event[4:] == expected * 2
    dropping = rate in (30000 / 1001, 60000 / 1001)
    assert text.splitlines()[1] == f"FCM: {'DROP' if dropping else 'NON-DROP'} FRAME"
    assert (";" in events[0][4]) == dropping
    assert text.count("TITLE: film.mp4\n") == text.count("TITLE") == 1
    read = opentimelineio.adapters.read_from_string(text, "cmx_3600", rate=rate)
    assert [clip.name for clip in read.find_clips()] == [f"part {i}" for i in range(5)]
    for clip, part in zip(read.find_clips(), told.segments, strict=True):
        assert clip.source_range.start_time.value == round(part.start * rate)


def test_known_timecodes():
    """As SMPTE 12M has them: a minute drops two numbers, each tenth none."""
    told = timeline(segment(60.06, 600.6), fps=30000 / 1001, end=700.0)
    assert "00:01:00;02 00:10:00;18" in to_edl(told)
    assert "00:01:00:02 00:10:00:15" in to_edl(timeline(segment(60.06, 600.6), end=700.0))
    told = timeline(segment(60.06, 600.6), fps=24000 / 1001, end=700.0)
    assert "00:01:00:00 00:10:00:00" in to_edl(told)


@pytest.mark.parametrize(
    ("fps", "rate"),
    [(15, 30), (12.5, 25), (10, 30), (120, 60), (100, 50), (12, 24), (17.3, 30), (1, 24)],
)
def test_frames_without_timecodes_are_counted_at_a_rate_that_fits(fps, rate, capsys):
    assert timecode_rate(fps) == rate
    stream = io.StringIO()
    RENDERERS["edl"]([timeline(segment(1.0, 2.0), fps=float(fps))], stream, ["film.mp4"])
    assert "00:00:01:00 00:00:02:00 00:00:01:00 00:00:02:00\n" in stream.getvalue()
    assert f"the edit list counts {rate}" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("label", HOSTILE, ids=ascii)
def test_no_label_and_no_name_breaks_an_edit_list(label):
    name = label.replace("/", "").replace("\0", "").replace("\ud800", "")
    told = timeline(segment(0, 1, label), segment(2, 3, "next"), video=f"{name}\udcff.mp4")
    read = opentimelineio.adapters.read_from_string(to_edl(told), "cmx_3600", rate=25)
    first, second = read.find_clips()
    assert second.name == "next" and second.source_range.start_time.value == 50
    assert first.name == (one_line(label) or "class 1")
    to_edl(told).encode()
    read = opentimelineio.adapters.read_from_string(to_otio(told), "otio_json")
    assert [clip.name for clip in read.find_clips()] == [first.name, "next"]


def test_a_day_is_too_long_for_timecodes():
    with pytest.raises(UsageError, match=r"write \.otio"):
        to_edl(timeline(segment(0, 1), end=90000.0))
    assert to_otio(timeline(segment(0, 1), end=90000.0))


def test_segments_shorter_than_a_frame_keep_one_each():
    told = timeline(segment(1.0, 1.01), segment(1.01, 1.02, "b"), segment(1.02, 2.0, "c"))
    events = [line.split()[4:6] for line in to_edl(told).splitlines() if line[:1].isdigit()]
    assert events == [
        ["00:00:01:00", "00:00:01:01"],
        ["00:00:01:01", "00:00:01:02"],
        ["00:00:01:02", "00:00:02:00"],
    ]


def test_what_is_missing_is_named_in_one_line(monkeypatch):
    monkeypatch.setattr(opentimelineio.adapters, "available_adapter_names", list)
    require_edit_lists("otio")
    with pytest.raises(UsageError, match=r"edl needs otio-cmx3600-adapter: pip install"):
        require_edit_lists("edl")
    monkeypatch.setitem(__import__("sys").modules, "opentimelineio", None)
    with pytest.raises(UsageError, match=r"otio needs opentimelineio: pip install"):
        require_edit_lists("otio")
    assert edit_lists.ADAPTER == "cmx_3600"


def rendered(format: str, *results) -> str:
    stream = io.StringIO()
    RENDERERS[format](list(results), stream, [result.video for result in results])
    return stream.getvalue()


def test_a_row_of_csv_is_a_segment_and_no_cell_is_a_formula():
    told = timeline(segment(0, 1, "=cmd"), segment(1, 2, 'a,"b\n'), video="@film.mp4")
    failed = Failed("gone.mp4", "error", Fault(ErrorKind.NOT_FOUND, "does not exist"))
    empty = timeline(video="empty.mp4", status="partial", error="cut off")
    rows = list(csv.DictReader(io.StringIO(rendered("csv", told, failed, empty))))
    assert [row["video"] for row in rows] == ["'@film.mp4"] * 2 + ["gone.mp4", "empty.mp4"]
    assert [row["label"] for row in rows] == ["'=cmd", 'a,"b\\n', "", ""]
    assert rows[0] | {"video": "", "label": ""} == {
        "video": "",
        "status": "ok",
        "start": "0",
        "end": "1",
        "label": "",
        "index": "1",
        "score": "0.9567",
        "peak": "0.9593",
        "runner_up": "zoom in",
        "windows": "3",
        "shot": "0",
        "error_kind": "",
        "error_message": "",
    }
    assert (rows[2]["error_kind"], rows[2]["error_message"]) == ("not_found", "does not exist")
    assert (rows[3]["error_kind"], rows[3]["error_message"]) == ("partial", "cut off")


def test_json_is_the_timeline_field_for_field():
    told = timeline(segment(0, 1))
    failed = Failed("gone.mp4", "error", Fault(ErrorKind.NOT_FOUND, "does not exist"))
    first, second = json.loads(rendered("json", told, failed))
    assert first == json.loads(json.dumps(to_json(told)))
    assert list(first)[:4] == ["schema", "video", "status", "model"]
    assert second["error"] == {"kind": "not_found", "message": "does not exist"}
    assert [json.loads(line) for line in rendered("jsonl", told, failed).splitlines()] == [
        first,
        second,
    ]


@pytest.fixture
def width(monkeypatch):
    """The table's width, as a shell says it."""
    return lambda columns: monkeypatch.setenv("COLUMNS", str(columns))


LONG = timeline(
    segment(0.0, 1800.0, "Pretending to put something into something, but it is left beside it"),
    segment(2700.0, 3600.0, "zoom in\x1b[31m", score=1.0),
    end=3600.0,
    shots=(Shot(0.0, 1800.0), Shot(1800.0, 3600.0)),
)


def test_the_table_shows_where_in_the_video_a_segment_lies(width):
    width(80)
    heading, *rows = rendered("table", LONG).splitlines()
    assert heading == "film.mp4  1:00:00.0, 2 shots, tiny"
    assert all(len(row) <= 80 for row in rows)
    assert "\x1b" not in "".join(rows)
    starts = [row.split()[0] for row in rows if "-" in row[:20]]
    assert starts == ["0:00.0-30:00.0", "30:00.0-45:00.0", "45:00.0-1:00:00.0"]
    bars = [row[row.index("%") + 1 :].strip() for row in rows if "%" in row]
    assert len({len(bar) for bar in bars}) == 1 and len(bars[0]) > 20
    first, last = bars
    half, quarter = len(first) // 2, len(first) // 4
    assert first.startswith("█" * half + "·") and set(first[half + 1 :]) == {"·"}
    assert last.endswith("·" + "█" * quarter) and set(last[: -quarter - 1]) == {"·"}
    (gap,) = [row for row in rows if "(nothing)" in row]
    assert "█" not in gap and "%" not in gap


def test_the_shortest_segment_is_still_seen(width):
    width(80)
    parts = segment(0.0, 1800.0), segment(1800.0, 1800.1), segment(1800.1, 3600.0)
    rows = rendered("table", timeline(*parts, end=3600.0)).splitlines()[1:]
    assert rows[1].count("█") == 1
    parts = segment(0.0, 3599.9), segment(3599.9, 3600.0)
    rows = rendered("table", timeline(*parts, end=3600.0)).splitlines()[1:]
    assert rows[1].endswith("·█")


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_a_table_of_any_width_keeps_times_labels_and_scores(columns, width):
    width(columns)
    shown = rendered("table", timeline(segment(0.0, 30.0, "pan left"), segment(30.0, 60.0)))
    heading, *rows = shown.splitlines()
    assert heading.startswith("film.mp4  1:00.0, 1 shot")
    joined = " ".join(shown.split())
    assert joined.count("pan left") == 2 and joined.count("95.7 %") == 2
    assert ("█" in joined) == (columns >= 60)
    assert all(len(row.rstrip()) <= max(columns, 34) for row in rows)


def test_what_failed_or_is_partial_says_so_in_the_table():
    failed = Failed("gone.mp4", "error", Fault(ErrorKind.NOT_FOUND, "does not\nexist"))
    partial = timeline(segment(0, 60), status="partial", error="bad packet")
    first, _, heading, fault, row = rendered("table", failed, partial).splitlines()
    assert first == "gone.mp4  not_found: does not\\nexist"
    assert heading.startswith("film.mp4")
    assert fault == "partial: known up to 1:00.0 only: bad packet"
    assert "pan left" in row


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90.5", 90.5),
        ("0", 0),
        ("1:30", 90),
        ("01:30", 90),
        ("0:01:30.5", 90.5),
        ("1:01:30", 3690),
        ("100:00:00", 360000),
        (" 5. ", 5),
    ],
)
def test_clock_times_are_read_as_people_type_them(text, seconds):
    assert parse_clock(text, "--from") == seconds


@pytest.mark.parametrize(
    "text",
    ["", "x", "-5", "1:60", "1:5", "60:00:", ":30", "1:2:3:4", "1,5", "nan", "inf", "1e3", "٣"],
)
def test_what_is_no_clock_time_is_refused(text):
    with pytest.raises(UsageError, match="--from is a time in the video"):
        parse_clock(text, "--from")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00.0"), (5.26, "0:05.3"), (59.96, "1:00.0"), (90.5, "1:30.5"), (3690.5, "1:01:30.5")],
)
def test_clock_times_are_written_so_that_they_can_be_read(seconds, text):
    assert clock(seconds) == text
    assert parse_clock(text, "--to") == pytest.approx(seconds, abs=0.051)
    assert clock(3599.7, 0) == "1:00:00"


def test_labels_that_overlap_have_tracks_of_their_own_and_no_edl(tmp_path):
    both = timeline(segment(0, 4, "walk"), segment(2, 6, "talk"), segment(5, 8, "walk"))
    read = opentimelineio.adapters.read_from_string(to_otio(both), "otio_json")
    tracks = {track.name: [clip.name for clip in track.find_clips()] for track in read.tracks}
    assert {name: len(clips) for name, clips in tracks.items()} == {"walk": 2, "talk": 1}
    (walk, _) = read.tracks
    starts = [clip.range_in_parent().start_time.to_seconds() for clip in walk.find_clips()]
    assert starts == [0, 5]
    assert [start for start, _, _ in cues(to_srt(both), "srt", tmp_path)] == [0, 2000, 5000]
    with pytest.raises(UsageError, match=r"write \.otio in place of it"):
        to_edl(both)
