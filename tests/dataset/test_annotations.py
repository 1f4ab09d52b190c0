"""Label Studio, CVAT and ActivityNet: samples of three entries, and what is wrong in others."""

import json
from pathlib import Path

import pytest

from timesformer_cli.dataset.labelled import read_labelled_clips
from timesformer_cli.errors import UsageError

ACTIVITY_NET = """{
  "version": "VERSION 1.3",
  "database": {
    "abc": {"duration": 82.7, "subset": "training", "url": "https://a", "annotations": [
      {"segment": [0.01, 12.5], "label": "Drinking coffee"},
      {"segment": ["20.0", "0:31"], "label": "Polishing shoes"}
    ]},
    "-d_e": {"subset": "validation", "annotations": [{"segment": [1, 2], "label": "Drinking coffee"}]},
    "xyz": {"subset": "testing", "annotations": []}
  }
}"""
LABEL_STUDIO = """[
  {"id": 1, "data": {"video": "/data/upload/3/0a1b2c3d-one.mp4", "city": "Ulm"}, "annotations": [
    {"id": 7, "was_cancelled": false, "result": [
      {"type": "timelinelabels", "from_name": "l", "to_name": "v",
       "value": {"ranges": [{"start": 1, "end": 50}, {"start": 101, "end": 101}],
                 "timelinelabels": ["run"]}},
      {"type": "videorectangle", "value": {"sequence": [], "labels": ["man"]}}
    ]},
    {"id": 8, "was_cancelled": true, "result": []}
  ]},
  {"id": 2, "data": {"clip": "/data/local-files/?d=deep/two.mp4", "split": "val"}, "annotations": [
    {"result": [{"type": "choices", "value": {"choices": ["walk"]}}]}
  ]},
  {"id": 3, "data": {"video": "s3://bucket/x/three.mp4"}, "annotations": [
    {"result": [{"type": "labels", "original_length": 9.5,
                 "value": {"start": 0.5, "end": 3.25, "channel": 0, "labels": ["walk"]}}]}
  ]}
]"""
CVAT_VIDEO = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>5</id><name>a task</name><subset>Train</subset>
    <labels><label><name>run</name></label></labels>
    <owner><username>me</username></owner><source>one.mp4</source></task></meta>
  <track id="0" label="run" source="manual">
    <box frame="0" outside="0" keyframe="1" xtl="1" ytl="1" xbr="2" ybr="2"><attribute name="who">ann</attribute></box>
    <box frame="20" outside="0" keyframe="1" xtl="1" ytl="1" xbr="2" ybr="2"></box>
    <box frame="50" outside="1" keyframe="1" xtl="1" ytl="1" xbr="2" ybr="2"></box>
    <box frame="75" outside="0" keyframe="1" xtl="1" ytl="1" xbr="2" ybr="2"></box>
    <box frame="99" outside="0" keyframe="1" xtl="1" ytl="1" xbr="2" ybr="2"></box>
  </track>
  <track id="1" label="walk"><polygon frame="50" outside="0" points="1,2"/></track>
</annotations>"""
CVAT_IMAGES = """<annotations><meta><task><id>5</id><source>one.mp4</source></task></meta>
  <image id="3" name="frame_000003"><tag label="run"/></image>
  <image id="4" name="frame_000004"><tag label="run"/><box label="man"/></image>
  <image id="9" name="frame_000009"><tag label="walk"/></image>
</annotations>"""


def rows(folder: Path, content: str, name: str, **how):
    for video in ("v_abc.mp4", "vids/-d_e.mkv", "one.mp4", "deep/two.mp4", "far/three.mp4"):
        (folder / video).parent.mkdir(exist_ok=True)
        (folder / video).write_bytes(b"\0")
    (folder / name).write_text(content)
    said: list[str] = []
    found = read_labelled_clips(folder / name, note=said.append, **how)
    listed = [
        (str(Path(c.path).relative_to(folder)), c.label, c.split, c.start, c.end) for c in found
    ]
    return listed, said


def test_activity_net(tmp_path):
    found, said = rows(tmp_path, ACTIVITY_NET, "activity_net.v1-3.min.json")
    assert found == [
        ("v_abc.mp4", "Drinking coffee", "train", 0.01, 12.5),
        ("v_abc.mp4", "Polishing shoes", "train", 20.0, 31.0),
        ("vids/-d_e.mkv", "Drinking coffee", "val", 1.0, 2.0),
    ]
    (line,) = said
    assert "read as ActivityNet's annotations: 3 clips of 2 videos; not used: version" in line
    for name in ("duration", "url", "videos without annotations (testing)"):
        assert name in line


def test_label_studio(tmp_path):
    found, said = rows(tmp_path, LABEL_STUDIO, "project.json", fps=25)
    assert found == [
        ("one.mp4", "run", None, 0.0, 2.0),
        ("one.mp4", "run", None, 4.0, 4.04),
        ("deep/two.mp4", "walk", "val", 0.0, None),
        ("far/three.mp4", "walk", None, 0.5, 3.25),
    ]
    assert "Label Studio's export: 4 clips of 3 videos; not used: data.city" in said[0]
    assert "results of type videorectangle, cancelled annotations" in said[0]
    rated = LABEL_STUDIO.replace('"city": "Ulm"', '"fps": 50')
    assert rows(tmp_path, rated, "project.json")[0][0] == ("one.mp4", "run", None, 0.0, 1.0)


def test_the_tracks_of_cvat(tmp_path):
    found, said = rows(tmp_path, CVAT_VIDEO, "annotations.xml", fps=25)
    assert found == [
        ("one.mp4", "run", "train", 0.0, 2.0),
        ("one.mp4", "walk", "train", 2.0, 2.04),
        ("one.mp4", "run", "train", 3.0, 4.0),
    ]
    assert said[0].endswith("CVAT's export: 3 clips of 1 videos; not used: attribute who")


def test_the_tags_of_cvat(tmp_path):
    found, said = rows(tmp_path, CVAT_IMAGES, "annotations.xml", fps=10)
    assert found == [("one.mp4", "run", None, 0.3, 0.5), ("one.mp4", "walk", None, 0.9, 1.0)]
    assert "not used: box of single images" in said[0]


def test_tasks_of_a_project_have_their_own_videos(tmp_path):
    content = """<annotations><meta><project><tasks>
      <task><id>1</id><source>one.mp4</source></task><task><id>2</id><source>two.mp4</source></task>
      </tasks></project></meta>
      <track label="run" task_id="2"><box frame="0" outside="0"/></track>
      <track label="run" task_id="1"><box frame="0" outside="0"/></track></annotations>"""
    found, _ = rows(tmp_path, content, "annotations.xml", fps=1)
    assert {row[0] for row in found} == {"one.mp4", "deep/two.mp4"}


def changed(content: str, old: str, new: str) -> str:
    assert old in content
    return content.replace(old, new, 1)


MALFORMED = {
    "half.json": (ACTIVITY_NET[:150], ":"),
    "twice.json": (changed(ACTIVITY_NET, '"xyz"', '"abc"'), ":3: 'abc' stands twice"),
    "segment.json": (changed(ACTIVITY_NET, "[1, 2]", "[1]"), ":8: 'segment' of '-d_e' is not"),
    "nan.json": (changed(ACTIVITY_NET, "[1, 2]", "[NaN, 2]"), ":8: segment is nan, which is no"),
    "unlabelled.json": (changed(ACTIVITY_NET, '"label": "Po', '"class": "Po'), ":6: an annotation"),
    "subset.json": (changed(ACTIVITY_NET, "validation", "eval"), ":8: subset 'eval'; there are"),
    "list.json": (
        changed(ACTIVITY_NET, '"annotations": []', '"annotations": 3'),
        ":9: 'xyz' has no",
    ),
    "other.json": ('{"images": [], "categories": []}', "is JSON of an unknown kind"),
    "frames.json": (LABEL_STUDIO, ":4: counts in frames"),
    "min.json": ('[{"video": "a", "annotation_id": 1}]', ":1: is Label Studio's JSON-MIN"),
    "value.json": (
        changed(LABEL_STUDIO, '"value": {"choices"', '"v": {"choices"'),
        ":12: a result",
    ),
    "empty.json": (changed(LABEL_STUDIO, '["walk"]', "[]"), ":12: 'choices' holds no label"),
    "key.json": (changed(LABEL_STUDIO, '{"clip"', '{"link": "b.mp4", "clip"'), ":11: 2 videos"),
    "half.xml": (CVAT_VIDEO[:700], ":"),
    "html.xml": ("<html><body/></html>", ":1: is XML of <html>"),
    "entity.xml": ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', ":1: declares a document type"),
    "label.xml": (changed(CVAT_VIDEO, ' label="walk"', ""), ":14: <track> without 'label'"),
    "frame.xml": (changed(CVAT_VIDEO, 'frame="20"', 'frame="x"'), ":9: 'frame' of <box> is 'x'"),
    "order.xml": (changed(CVAT_VIDEO, 'frame="99"', 'frame="3"'), ":12: frame 3 of a track stands"),
    "source.xml": (changed(CVAT_IMAGES, "<source>one.mp4</source>", ""), ":2: no <source>"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_wrong_in_an_annotation_is_one_line_with_its_place(tmp_path, name):
    content, said = MALFORMED[name]
    fps = None if name == "frames.json" else 25
    with pytest.raises(UsageError) as caught:
        rows(tmp_path, content, name, fps=fps)
    text = str(caught.value)
    assert f"{name}{said}" in text.replace(f"{name}: ", name) and "\n" not in text


def test_a_table_is_known_as_json_by_its_content_too(tmp_path):
    assert len(rows(tmp_path, ACTIVITY_NET, "annotations.txt")[0]) == 3
    with pytest.raises(UsageError, match="is JSON, not a table"):
        rows(tmp_path, '{"path": "a.mp4"}\n{"path": "b.mp4"}\n', "lines.txt")


def test_parts_that_contradict_one_another_are_said_by_line(tmp_path):
    one = json.loads(LABEL_STUDIO)
    one[0]["annotations"][0]["result"][0]["value"]["ranges"] = [{"start": 5, "end": 30}]
    again = json.loads(json.dumps(one[0]))
    again["annotations"][0]["result"][0]["value"]["timelinelabels"] = ["walk"]
    content = "[\n" + ",\n".join(map(json.dumps, [one[0], again])) + "\n]"
    with pytest.raises(UsageError, match=r"line 2 'run' .* and line 3 'walk'"):
        rows(tmp_path, content, "project.json", fps=25)
