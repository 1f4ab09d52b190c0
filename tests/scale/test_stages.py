"""What runs on a cluster's actors, called here without one: the same answers as one process gives."""

import io
import tarfile
from functools import partial

import pytest
from typer.testing import CliRunner

from tests.support import clips
from tests.support.words import colour_clip, colour_model
from timesformer_cli.callbacks import ignore_note
from timesformer_cli.cli.app import app
from timesformer_cli.cli.options import parse_labels
from timesformer_cli.cli.show.classify import PARQUET_COLUMNS, parquet_columns, parquet_rows_of
from timesformer_cli.cli.show.timeline import COLUMNS as SEGMENT_COLUMNS
from timesformer_cli.cli.show.timeline import FITTED_COLUMNS, segment_rows_of
from timesformer_cli.inference.classify import ClassifyOptions
from timesformer_cli.inference.open import describe_model
from timesformer_cli.inference.scorer import clips_for
from timesformer_cli.library.fill import Filling
from timesformer_cli.library.store import Library, Making
from timesformer_cli.library.write import COLUMNS, embedded_of_rows, rows_of
from timesformer_cli.parquet import LOOK
from timesformer_cli.scale.inputs import members, name_inputs, to_table
from timesformer_cli.scale.stages import ClipStage, ClusterJob, ModelStage, WindowStage
from timesformer_cli.timelines.options import TimelineOptions
from timesformer_cli.video.look import WIDTH
from timesformer_cli.weights.hub.locate import locate
from timesformer_cli.weights.revision import revision_of

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    clips.write(folder / "a.mp4", 30)
    clips.write(folder / "long.mp4", 90)
    (folder / "bad.mp4").write_text("no video\n" * 9)
    return folder


@pytest.fixture
def job(model_folder):
    located = locate(str(model_folder))
    shared = {"located": located.to_text(), "revision": revision_of(located)}
    return partial(ClusterJob, **shared), {"model": located, "dtype": "float32", "device": "cpu"}


@pytest.fixture
def single(model_folder, videos, tmp_path):
    """The rows of the plain command."""

    def ran(command: str, *words: str) -> list[dict]:
        output = tmp_path / f"{command}.parquet"
        words = [*words, "-m", str(model_folder), "--dtype", "float32", "--device", "cpu", "-q"]
        done = CliRunner().invoke(app, [command, str(videos), *words, "-o", str(output)])
        assert done.exit_code == 1, done.stderr
        return parquet.read_table(output).to_pylist()

    return ran


def inputs(*names: object):
    return to_table(name_inputs(list(map(str, names)), (), ignore_note))


def of_clips(job: ClusterJob, table) -> list[dict]:
    """The rows of one actor that decodes and scores, which are those of two with a table between."""
    stage = ClipStage(job)
    with stage.decoding.pool:  # an actor's end ends it, too
        rows = stage(table).to_pylist()
        decoded = list(stage.decoding(table))
    assert [len(one) for one in decoded] == [1] * len(table), "large ones can be parted"
    close(ModelStage(job)(pyarrow.concat_tables(decoded)).to_pylist(), rows)
    return rows


def of_windows(job: ClusterJob, table) -> list[dict]:
    stage = WindowStage(job)
    with stage.run:
        return stage(table).to_pylist()


def close(rows: list[dict], others: list[dict]) -> None:
    for row, other in zip(rows, others, strict=True):
        for name in row:
            if name == "predictions" and row[name]:
                for one, two in zip(row[name], other[name], strict=True):
                    assert one["label"] == two["label"]
                    assert one["score"] == pytest.approx(two["score"], abs=1e-5)
            elif name in ("vector", "score", "peak", "similarity") and row[name] is not None:
                assert row[name] == pytest.approx(other[name], abs=1e-4)
            else:
                assert row[name] == other[name], name


def test_labels_and_vectors_are_those_of_one_process(job, single, videos):
    make, shared = job
    options = ClassifyOptions(**shared)
    taken = clips_for(describe_model(shared["model"]), options)
    table = inputs(videos)
    labels = make(options=options, rows_of=parquet_rows_of, columns=PARQUET_COLUMNS, clips=taken)
    close(of_clips(labels, table), single("classify"))
    vectors = make(options=options, rows_of=rows_of, columns=COLUMNS, clips=taken, vectors=True)
    close(of_clips(vectors, table), single("embed"))


def test_windows_are_those_of_one_process(job, single, videos):
    make, shared = job
    options = TimelineOptions(**shared, every=0.5)
    segments = make(options=options, rows_of=segment_rows_of, columns=SEGMENT_COLUMNS)
    found = of_windows(segments, inputs(videos))
    close(found, single("timeline", "--every", "0.5"))
    vectors = make(options=options, rows_of=rows_of, columns=COLUMNS, vectors=True)
    found = of_windows(vectors, inputs(videos))
    assert len(found) > 5
    close(found, single("embed", "--every", "0.5"))


def test_labels_in_words_are_those_of_one_process(tmp_path):
    folder, video = str(colour_model(tmp_path / "model")), tmp_path / "clip.mp4"
    colour_clip(video, "red")
    located = locate(folder)
    make = partial(ClusterJob, located=located.to_text(), revision=revision_of(located))
    asked = parse_labels("red,blue", None)
    shared = {"model": located, "dtype": "float32", "device": "cpu", **asked}
    options = ClassifyOptions(**shared)
    labels = make(
        options=options,
        rows_of=partial(parquet_rows_of, similarity=True),
        columns=parquet_columns(True),
        clips=clips_for(describe_model(located), options),
    )
    segments = make(
        options=TimelineOptions(**shared),
        rows_of=partial(segment_rows_of, columns=FITTED_COLUMNS),
        columns=FITTED_COLUMNS,
    )
    for command, found in (
        ("classify", of_clips(labels, inputs(video))),
        ("timeline", of_windows(segments, inputs(video))),
    ):
        output = tmp_path / f"{command}.parquet"
        chosen = ["-m", folder, "--dtype", "float32", "--device", "cpu", "-o", str(output)]
        done = CliRunner().invoke(app, [command, str(video), "--labels", "red,blue", *chosen])
        assert done.exit_code == 0, done.stderr
        assert found[0]["label"] == "red" and found[0]["similarity"] > 0
        close(found, parquet.read_table(output).to_pylist())


def test_a_member_of_a_shard_is_what_the_file_was(job, single, videos, tmp_path):
    make, shared = job
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("a.mp4", "bad.mp4", "long.mp4"):
            tar.add(videos / name, arcname=name)
        tar.addfile(tarfile.TarInfo("../x.mp4"), io.BytesIO())
    options = ClassifyOptions(**shared)
    taken = clips_for(describe_model(shared["model"]), options)
    made = make(options=options, rows_of=rows_of, columns=COLUMNS, clips=taken, vectors=True)
    found = of_clips(made, to_table(members(str(tmp_path / "s.tar"))))
    assert found[-1]["error_kind"] == "unsafe_name"
    others = single("embed")
    for row, other in zip(found, others, strict=False):
        assert row["video"] == f"{tmp_path}/s.tar/{other['video'].rpartition('/')[2]}"
        assert row["content"] == other["content"]
        row["video"] = other["video"]
    close(found[:-1], others)
    windows = make(
        options=TimelineOptions(**shared), rows_of=rows_of, columns=COLUMNS, vectors=True
    )
    (member, *_) = members(str(tmp_path / "s.tar"))
    (row, *_) = of_windows(windows, to_table([member]))
    assert row["video"] == member.video and row["content"] == found[0]["content"]


def test_rows_fill_a_library_once(job, videos, tmp_path):
    pytest.importorskip("lance")
    make, shared = job
    options = ClassifyOptions(**shared)
    taken = clips_for(describe_model(shared["model"]), options)
    columns = {**COLUMNS, LOOK: LOOK}
    made = make(options=options, rows_of=rows_of, columns=columns, clips=taken, vectors=True)
    rows = of_clips(made, inputs(videos))
    facts = {row["video"]: (7, 0) for row in rows}
    for known in (0, 2):
        making = Making(model=options.name, revision=made.revision)
        filling = Filling(Library.create(tmp_path / "l.lance", making))
        unknown = filling.unknown(facts)
        assert len(unknown) == 3 - known
        results = [embedded_of_rows([row]) for row in rows if row["video"] in unknown]
        assert [r.status for r in filling.write(results)].count("ok") == 2 - known
        assert (filling.added.new, filling.added.known) == (2 - known, known)
    looks = Library.open(tmp_path / "l.lance").dataset().to_table(columns=[LOOK])[LOOK]
    assert [len(look) for look in looks.to_pylist()] == [WIDTH] * 2, "copies are found by them"
    changed = Filling(Library.open(tmp_path / "l.lance")).unknown(dict.fromkeys(facts, (8, 1)))
    assert len(changed) == 3
