"""Tables and lists of labelled clips as spreadsheets, scripts and other code bases write them."""

import codecs
import io
import json
import sys
import unicodedata
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support import clips
from tests.support.public_cases import public_case
from timesformer_cli.cli.app import app
from timesformer_cli.dataset.labelled import class_names, read_labelled_clips
from timesformer_cli.errors import UsageError

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux file names")


@pytest.fixture
def read(tmp_path):
    """Writes a table, reads it, and gives (path below its folder, label) of each clip."""

    def reading(content: str | bytes, name: str = "clips.csv", **how):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return [
            (str(Path(clip.path).relative_to(tmp_path)), clip.label)
            for clip in read_labelled_clips(path, **how)
        ]

    return reading


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("quoted_headerless.csv", [("a,b c.mp4", "1"), ("d.mp4", "0")]),
        ("semicolon.csv", [("d.mp4", "run"), ("a,b c.mp4", "walk")]),
        ("video_path.csv", [("d.mp4", "run")]),
        ("backslash.csv", [("sub/e.mp4", "run"), ("d.mp4", "walk")]),
    ],
)
def test_the_tables_of_the_public_cases(name, expected):
    path = public_case("data/tables") / name
    found = [
        (str(Path(clip.path).relative_to(path.parent)), clip.label)
        for clip in read_labelled_clips(path)
    ]
    assert found == expected


@pytest.mark.parametrize("separator", [" ", "\t", ",", ";", "|", ", ", "  "])
def test_a_list_without_headings_is_read_with_each_separator(read, separator):
    rows = [('"a, b c.mp4"', "1"), ("d e.mp4", "0"), ('"say ""hi"".mp4"', '"2"'), ("f.mp4", "3.0")]
    content = "\r\n".join(separator.join(row) for row in rows)
    assert read(content) == [
        ("a, b c.mp4", "1"),
        ("d e.mp4", "0"),
        ('say "hi".mp4', "2"),
        ("f.mp4", "3"),
    ]


@linux_only
def test_a_name_with_quotes_that_is_there_keeps_them(read, tmp_path):
    touch(tmp_path, '"q".mp4', '"r.mp4"')
    assert read('"q".mp4 1\n"r.mp4" 0\n') == [('"q".mp4', "1"), ('"r.mp4"', "0")]


@pytest.mark.parametrize("separator", [";", "|", "\t", ",", " "])
def test_a_table_is_read_with_each_separator(read, separator):
    rows = [("path", "label"), ("d.mp4", "run"), ('"a, b;c|.mp4"', '"long jump"')]
    assert read("\n".join(map(separator.join, rows))) == [
        ("d.mp4", "run"),
        ("a, b;c|.mp4", "long jump"),
    ]


@pytest.mark.parametrize("breaks", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_table_is_read_in_each_encoding(read, encoding, breaks):
    for content, expected in (
        ("path,label\n動.mp4,é\n\nb.mp4,y\n", [("動.mp4", "é"), ("b.mp4", "y")]),
        ("動.mp4 1\n\nb.mp4 0\n", [("動.mp4", "1"), ("b.mp4", "0")]),
    ):
        assert read(content.replace("\n", breaks).encode(encoding)) == expected


@pytest.mark.parametrize(
    "path", ["video_path", "Video Path", "FILE", "file-name", "filepath", "clip"]
)
@pytest.mark.parametrize("label", ["class", "Label ", "label_name", "CATEGORY", "target"])
def test_headings_have_many_names(read, path, label):
    assert read(f'id,"{path}",{label},notes\n1,a.mp4,run,"x, y"\n') == [("a.mp4", "run")]


def test_our_own_heading_comes_before_others_of_its_kind(read):
    assert read("video,path,label,class\nx,a.mp4,run,7\n") == [("a.mp4", "run")]


def test_the_line_for_excel_is_no_row(read):
    assert read("sep=;\r\nfile;class\r\na.mp4;run\r\n") == [("a.mp4", "run")]
    assert read('"sep=^"\npath^label\na b.mp4^r;n\n') == [("a b.mp4", "r;n")]
    assert read("SEP=,\na.mp4,1\n") == [("a.mp4", "1")]


@pytest.mark.parametrize("written", [["1.0", "2.0", "10.0"], ["1", "2.", "10.00"]])
def test_numbers_that_a_spreadsheet_wrote_are_whole(read, written):
    rows = "".join(f"{number}.mp4,{label}\n" for number, label in enumerate(written))
    assert [label for _, label in read(f"path,label\n{rows}")] == ["1", "2", "10"]
    assert [label for _, label in read(f"path,label\n{rows}x.mp4,v1\n")] == [*written, "v1"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("video,file,label\na,b,c\n", ":1: 'video' and 'file' may each be the path"),
        ("path,class,category\na,b,c\n", ":1: 'class' and 'category' may each be the label"),
        ("path,label,label\na,b,c\n", ":1: 'label' and 'label' may each be the label"),
        ("name,label\na,b\n", ":1: no column 'path'; there are name, label; names known for it"),
        ("\nclip;colour\na;b\n", ":2: no column 'label'; there are clip, colour; names known"),
        ("name,action_kind\na,b\n", ":1: neither a heading with known columns"),
        ("a.mp4 1\nb.mp4\n", ":2: 'b.mp4' is not a path and a class number"),
        ("a.mp4 1\nb.mp4 -1\n", ":2: 'b.mp4 -1' is not"),
        ("a.mp4 1\nb.mp4 1.5\n", ":2: 'b.mp4 1.5' is not"),
        ('a.mp4 1\n"b.mp4 1\n', ":2: a quote that is not closed"),
        ('path;label\na;b\n"c;d\ne;f\n', ":3: a quote that begins here is not closed"),
        ('path,label\n"c",d\n"e"f,g\n', ":3: "),
        (f'path,label\n"c,d\n{"e,f" * 70000}\n', ":2: a quote that begins here is not closed"),
        ('path,label\n"c,d\ne,f\n"g,h\n', ":2: "),
        ('path,label\n"c\nd",e\n', ":2: a line break within quotes"),
        ("path;label\na;b;c\n", ":2: 3 cells under 2 headings; quote what has a semicolon in it"),
        ("path\tlabel\na\n", ":2: 1 cells under 2 headings; quote what has a tab in it"),
        ("path,label,split\na,b,val\nc,d,validation\n", "the splits val and validation are one"),
        ("path,label,split\na,b,eval\n", ":2: split 'eval'; there are train, val, test"),
        ("path,label\ncafé,x\n".encode("latin-1"), ":2: not UTF-8 (byte 0xe9)"),
        ("path,label\ra,b\rcafé,x\r".encode("cp1252"), ":3: not UTF-8 (byte 0xe9)"),
        ("a.mp4 1\nb“.mp4 0\n".encode("cp1252"), ":2: not UTF-8 (byte 0x93)"),
        (b"path,label\na\0b,c\n", ":2: holds a NUL byte"),
        (codecs.BOM_UTF16_LE + b"a\0b", "not UTF-8"),
        ('[{"path": "a.mp4", "label": "x"}]', "is JSON"),
        ('{"path": "a.mp4"}\n{"path": "b.mp4"}\n', "is JSON"),
        (b"PAR1\0\0PAR1", "is a Parquet file, not a table"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is an Excel workbook (.xls)"),
        (b"\x1f\x8b\x08\0", "is compressed (gzip)"),
        (b"\0\0\0\x18ftypmp42\0\0", "is a video (mp4 or mov)"),
    ],
)
def test_what_is_no_table_is_said_with_its_place(read, content, said):
    with pytest.raises(UsageError) as caught:
        read(content)
    text = str(caught.value)
    assert said in text and "clips.csv" in text and "\n" not in text


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["xl/workbook.xml"], "an Excel workbook (.xlsx)"),
        (["mimetype"], "an OpenDocument spreadsheet (.ods)"),
        (["Index/Tables.iwa"], "a Numbers document"),
        (["clips.csv"], "an archive (zip)"),
    ],
)
def test_a_workbook_is_named(read, names, said):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "application/vnd.oasis.opendocument.spreadsheet")
    with pytest.raises(UsageError, match="save the table as CSV") as caught:
        read(content.getvalue())
    assert said in str(caught.value)


def test_a_name_may_begin_with_a_bracket(read):
    assert read("[2020]/a.mp4 1\n{x}.mp4 0\n") == [("[2020]/a.mp4", "1"), ("{x}.mp4", "0")]


@pytest.mark.parametrize(("table", "disk"), [("NFC", "NFD"), ("NFD", "NFC")])
@linux_only
def test_a_name_is_found_in_the_other_unicode_form(read, tmp_path, table, disk):
    def form(kind: str, *names: str) -> list[str]:
        return [unicodedata.normalize(kind, name) for name in names]

    names = "café.mp4", "über/한국.mp4"
    touch(tmp_path, *form(disk, *names))
    said: list[str] = []
    content = "path,label\n" + "".join(f"{name},x\n" for name in form(table, *names))
    assert [path for path, _ in read(content, note=said.append)] == form(disk, *names)
    assert not said


def test_a_windows_path_and_a_stem_are_read_and_said(read, tmp_path):
    touch(tmp_path, "sub/e.mp4", "v_abc_g01.avi", "v_abc_g01.txt", "v.2.mkv")
    said: list[str] = []
    content = "path,label\nsub\\e.mp4,a\nv_abc_g01,b\n.\\v.2,c\nmissing.mp4,d\n"
    found = [path for path, _ in read(content, note=said.append)]
    assert found == ["sub/e.mp4", "v_abc_g01.avi", "v.2.mkv", "missing.mp4"]
    assert len(said) == 1
    assert "3 paths are not there as written; 'sub\\e.mp4' was read as 'sub/e.mp4'" in said[0]


@pytest.mark.parametrize("line", ["a.mp4 120 5", "a.mp4,120,5", "a.mp4;1.5;2.0;5"])
def test_a_list_with_more_than_paths_and_numbers_is_said(read, tmp_path, line):
    touch(tmp_path, "a.mp4")
    with pytest.raises(UsageError, match=r":1: '1.*' stands between the path and the class"):
        read(f"{line}\n")


@linux_only
def test_a_backslash_that_is_part_of_a_name_stays(read, tmp_path):
    touch(tmp_path, "sub\\e.mp4", "sub/e.mp4", "[x]*.mp4", "xy.mp4")
    content = "path,label\nsub\\e.mp4,a\n[x]*.mp4,b\n"
    assert [path for path, _ in read(content)] == ["sub\\e.mp4", "[x]*.mp4"]


def test_a_stem_of_several_videos_names_them(read, tmp_path):
    touch(tmp_path, "v.mp4", "v.avi")
    with pytest.raises(UsageError, match=r":2: 'v' may be v.avi or v.mp4: write the whole name"):
        read("path,label\nv,a\n")


def test_splits_of_a_table_in_other_words(tmp_path):
    rows = "Training,TRAINING,Validation,Test Set".split(",")
    lines = [f"{number}.mp4,x,{split}" for number, split in enumerate(rows)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,Split", *lines]))
    found = [clip.split for clip in read_labelled_clips(tmp_path / "t.csv")]
    assert found == ["train", "train", "val", "test"]


def test_the_order_of_classes_is_the_same_in_every_process(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("path,label\na,01\nb,1\nc,001\nd,0\n")
    assert class_names(read_labelled_clips(path)) == ("0", "001", "01", "1")


@pytest.mark.parametrize("again", ["a.mp4", "./a.mp4", "sub/../a.mp4", "link.mp4", "hard.mp4"])
def test_a_clip_that_comes_again_counts_once_and_with_two_labels_is_said(read, tmp_path, again):
    touch(tmp_path, "a.mp4", "sub/b.mp4")
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    (tmp_path / "hard.mp4").hardlink_to(tmp_path / "a.mp4")
    said: list[str] = []
    content = f"path,label\na.mp4,Walk\nsub/b.mp4,run\n{again},walk\n"
    assert read(content, note=said.append) == [("a.mp4", "Walk"), ("sub/b.mp4", "run")]
    assert len(said) == 1 and said[0].endswith("1 clip counts once, though listed again")
    with pytest.raises(UsageError, match=r"is labelled 'walk'.* and 'run'; keep one"):
        read(f"path,label\na.mp4,walk\n{again},run\n")


def test_a_missing_clip_that_comes_again_counts_once(read):
    assert len(read("path,label\ngone.mp4,a\n./gone.mp4,a\n")) == 1


def tsf(*arguments: object):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_train_and_evaluate_count_the_same_clips(tmp_path, model_folder):
    for name in ("a.mp4", "b.mp4", "c.mp4", "d.mp4"):
        clips.write(tmp_path / name, 12)
    data = tmp_path / "t.csv"
    data.write_text('file;class\r\na.mp4;a\r\nb.mp4;b\r\n.\\c.mp4;a\r\n"d.mp4";b\r\na.mp4;a\r\n')
    ran = tsf("evaluate", data, "--model", model_folder, "--format", "json")
    assert ran.exit_code == 0, ran.stderr
    assert json.loads(ran.stdout)["evaluations"][0]["scores"]["videos"] == 4
    assert "1 clip counts once, though listed again" in ran.stderr
    ran = tsf("train", data, "--init", model_folder, "--dry-run", "-o", tmp_path / "run")
    assert ran.exit_code == 0, ran.stderr
    assert "1 clip counts once, though listed again" in ran.stderr
    assert [line.split() for line in ran.stdout.splitlines()[1:3]] == [["a", "2"], ["b", "2"]]


def test_the_repeated_clips_of_the_public_cases(model_folder):
    said: list[str] = []
    assert len(read_labelled_clips(public_case("train/dup.csv"), note=said.append)) == 12
    assert "clips count once, though listed again" in said[0]
    for command in (["evaluate", "--model"], ["train", "--dry-run", "--init"]):
        ran = tsf(command[0], public_case("train/contra.csv"), *command[1:], model_folder)
        assert ran.exit_code == 2
        assert "red_0.mp4 is labelled 'red' and 'blue'" in ran.stderr
