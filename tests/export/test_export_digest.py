"""An exported file carries a digest of itself: a changed bit is refused, or changes no answer."""

import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import onnx
import pytest
import torch

from tests.export.test_export import EXAMPLE, exported, frames_of, small
from timesformer_cli.errors import ExitCode, WeightsError
from timesformer_cli.export import write
from timesformer_cli.inference.exported import pt2_file
from timesformer_cli.inference.exported.manifest import DIGEST
from timesformer_cli.inference.exported.open import open_exported, read_manifest
from timesformer_cli.inference.open import open_model
from timesformer_cli.weights.hub.locate import locate

KINDS = {"onnx": {}, "int8": {"dtype": "int8"}, "pt2": {}}
FLIPS = 40
CHANGED = "not those that were exported; export it again or copy it anew"


@pytest.fixture(scope="module")
def model():
    return small(depth=1)


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """One file of each kind, by its name in KINDS."""
    made = {}
    for name, changes in KINDS.items():
        folder = tmp_path_factory.mktemp(name)
        made[name] = exported(folder, model, "pt2" if name == "pt2" else "onnx", **changes)
    return made


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def spread(size: int, count: int = FLIPS) -> list[int]:
    """Bits at random, one in each of equal parts of the file."""
    chance, part = random.Random(0), 8 * size // count
    return [number * part + chance.randrange(part) for number in range(count)]


def refusal(path, reads=open_exported) -> str:
    """Why the file is refused; empty where it is not. Any other error is a fault of ours."""
    try:
        reads(path)
    except WeightsError as error:
        return str(error)
    return ""


def scores(path, frames):
    with torch.inference_mode():
        return open_exported(path)(frames)


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_refused_or_changes_no_score(kind, files, model, tmp_path):
    source, frames = files[kind], frames_of(model, 1)
    content, wanted = source.read_bytes(), scores(source, frames)
    path, refused = tmp_path / source.name, 0
    for bit in spread(len(content)):
        path.write_bytes(flipped(content, bit))
        if reason := refusal(path):
            refused += 1
            assert "\n" not in reason and str(path) in reason, bit
        else:
            assert torch.equal(scores(path, frames), wanted), bit
    assert refused > FLIPS // 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_ends_the_command_in_one_line(kind, files, tmp_path):
    content = files[kind].read_bytes()
    path = tmp_path / files[kind].name
    path.write_bytes(flipped(content, 8 * (len(content) // 3) + 6))
    command = [sys.executable, "-m", "timesformer_cli", "classify", str(EXAMPLE), "-m", str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout) == (ExitCode.WEIGHTS, "")
    assert ran.stderr == f"error: {path}: its weights or graph are {CHANGED}\n"


@pytest.mark.parametrize("kind", KINDS)
def test_the_digest_is_checked_before_a_runtime_or_a_reader_of_labels(
    kind, files, tmp_path, monkeypatch
):
    content = files[kind].read_bytes()
    path = tmp_path / files[kind].name
    path.write_bytes(flipped(content, 8 * (len(content) // 3) + 6))
    monkeypatch.setattr(torch.export, "load", None)
    for reads in (open_exported, read_manifest):
        with pytest.raises(WeightsError, match=CHANGED):
            reads(path)


def without_digest(path: Path) -> Path:
    """The file as it was written before there were digests."""
    if path.suffix == ".onnx":
        model = onnx.load(path, load_external_data=False)
        kept = [entry for entry in model.metadata_props if not entry.key.startswith(DIGEST)]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)
        path.write_bytes(model.SerializeToString())
        return path
    made = path.with_name("older.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith(pt2_file.MANIFEST):
                data = data.replace(DIGEST.encode(), b"other")
            new.writestr(name, data)
    os.replace(made, path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_from_before_there_was_a_digest_loads_with_a_note(kind, files, model, tmp_path):
    path = tmp_path / files[kind].name
    path.write_bytes(files[kind].read_bytes())
    frames = frames_of(model, 1)
    whole, notes = open_model(locate(str(path)))
    assert notes == () and whole.manifest.digest
    older, (note,) = open_model(locate(str(without_digest(path))))
    assert torch.equal(older(frames), whole(frames))
    assert note == (
        f"{path}: exported before there were digests, so a damaged weight would not show; "
        f"export it again"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_any_flip_in_a_file_without_a_digest_is_no_traceback(kind, files, tmp_path):
    path = tmp_path / files[kind].name
    path.write_bytes(files[kind].read_bytes())
    content = without_digest(path).read_bytes()
    for bit in spread(len(content), 150):
        path.write_bytes(flipped(content, bit))
        assert "\n" not in refusal(path, reads=read_manifest), bit


def test_tensors_beside_an_onnx_file_are_covered(model, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "LARGEST_INSIDE", 1000)
    path = exported(tmp_path, model, "onnx")
    assert open_exported(path).manifest.digest
    data = path.with_name(f"{path.name}.data")
    content = data.read_bytes()
    for bit in spread(len(content), 5):
        data.write_bytes(flipped(content, bit))
        with pytest.raises(WeightsError, match=CHANGED):
            open_exported(path)
    data.write_bytes(content)
    open_exported(path)


def test_the_graph_and_the_labels_are_covered_too(files, tmp_path):
    """Other words of the same length in the metadata, and another operator in the graph."""
    for kind, old, new in (
        ("onnx", b"LABEL_3", b"LABEL_4"),
        ("pt2", b"LABEL_3", b"LABEL_4"),
        ("onnx", b"Softmax", b"Softmin"),
        ("pt2", b"aten.add.Tensor", b"aten.sub.Tensor"),
    ):
        content = files[kind].read_bytes()
        assert old in content
        path = tmp_path / files[kind].name
        path.write_bytes(content.replace(old, new))
        with pytest.raises(WeightsError, match=CHANGED):
            open_exported(path)


def test_an_export_twice_is_the_same_file(model, tmp_path):
    (tmp_path / "again").mkdir()
    one, other = (exported(place, model, "pt2") for place in (tmp_path, tmp_path / "again"))
    assert one.read_bytes() == other.read_bytes()
