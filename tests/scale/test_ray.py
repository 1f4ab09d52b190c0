"""`--engine ray` on clusters of this machine: every video once, whatever is lost on the way."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.support import clips
from tests.support.storage import FlakyStorage, storage
from timesformer_cli.cli.app import app

__all__ = ["storage"]
FAULTY = Path(__file__).parents[1] / "support" / "faulty"
# Ray takes loopback, and nothing that other machines reach.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
CLIPS, BROKEN = int(os.environ.get("TSF_CLUSTER_CLIPS", "150")), 20
GOOD = CLIPS - BROKEN - 3
LIMIT = 6.0 * CLIPS  # seconds, on a machine that others use, too


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "timesformer_cli", *map(str, words)]


def tsf(*words: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env=os.environ | LOOPBACK | environment,
    )


def rows(folder: Path) -> list[dict]:
    parquet = pytest.importorskip("pyarrow.parquet")
    parts = sorted(folder.glob("*.parquet"))
    return [row for part in parts for row in parquet.read_table(part).to_pylist()]


def write_clips(folder: Path, count: int) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        pictures = (clips.barcode((number * 7 + at) % 256) for at in range(20))
        clips.write(folder / f"{number:04}.mp4", pictures)


def break_some(folder: Path, count: int) -> None:
    """Files that are no videos: empty, text, cut, without a picture, other bytes."""
    whole = (folder / "0000.mp4").read_bytes()
    kinds = [b"", b"text\n" * 20, whole[:300], whole[:-900], np.random.bytes(5000)]
    for number in range(count):
        (folder / f"broken{number:02}.mp4").write_bytes(kinds[number % len(kinds)])


def require_same(found: list[dict], single: list[dict]) -> None:
    """The rows of one process, in any order, with scores to 1e-5."""
    expected = {row["video"]: row for row in single}
    assert Counter(row["video"] for row in found) == Counter(iter(expected))
    for row in found:
        other = expected[row["video"]]
        assert (row["status"], row["error_kind"]) == (other["status"], other["error_kind"])
        pairs = zip(row["predictions"] or (), other["predictions"] or (), strict=True)
        for one, two in pairs:
            assert one["label"] == two["label"]
            assert one["score"] == pytest.approx(two["score"], abs=1e-5)


def test_what_needs_a_cluster_is_one_line(monkeypatch, tmp_path, model_folder):
    clip = clips.write(tmp_path / "a.mp4", 8)
    run = CliRunner()
    model = ["-m", str(model_folder)]
    for words, said in (
        (["--address", "auto"], "--address is where a cluster is; it needs --engine ray"),
        (["--engine", "ray"], "--engine ray writes a folder of Parquet parts; name it with -o"),
        (["--engine", "ray", "-o", "x", "--shard", "1/2"], "--shard is for --engine local"),
        (["--engine", "ray", "-o", "x.lance"], "tsf embed fills libraries"),
    ):
        ran = run.invoke(app, ["classify", str(clip), *model, *words])
        assert ran.exit_code == 2 and said in ran.stderr
        assert len(ran.stderr.splitlines()) == 1
    monkeypatch.setitem(sys.modules, "ray.data", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    ran = run.invoke(app, ["classify", str(clip), *model, "--engine", "ray", "-o", "x"])
    assert ran.exit_code == 2 and "--engine ray needs Ray Data: " in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_urls_are_refused_without_the_engine(model_folder):
    ran = CliRunner().invoke(app, ["classify", "s3://clips/a.mp4", "-m", str(model_folder)])
    assert ran.exit_code == 1 and "is a URL" in ran.stdout


@pytest.mark.slow
def test_a_node_and_the_driver_are_lost_and_every_video_is_there_once(
    tmp_path, model_folder, monkeypatch
):
    pytest.importorskip("ray")
    for name, value in LOOPBACK.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(FAULTY))
    from ray.cluster_utils import Cluster

    videos, parts = tmp_path / "videos", tmp_path / "parts"
    write_clips(videos, GOOD)
    break_some(videos, BROKEN)
    for name in ("hangs0", "hangs1", "kills0"):
        (videos / f"{name}.mp4").write_bytes((videos / "0000.mp4").read_bytes())
    words = ["classify", videos, "-m", model_folder, "--dtype", "float32", "--device", "cpu"]
    words += ["--timeout", 20]
    said = {"num_cpus": 1, "object_store_memory": 200 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=said | {"include_dashboard": False})
    lost = [cluster.add_node(**said) for _ in range(2)]
    on_ray = [*words, "--engine", "ray", "--address", cluster.address, "-o", parts]
    events = []
    try:
        driver = subprocess.Popen(command(*on_ray), stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline and driver.poll() is None:
            known = len(rows(parts))
            if known >= CLIPS / 3 and not events:
                cluster.remove_node(lost[0], allow_graceful=False)
                events.append(("node", known))
            if known >= CLIPS * 2 / 3:
                driver.send_signal(signal.SIGKILL)
                events.append(("driver", known))
                break
            time.sleep(0.2)
        driver.wait()
        assert [name for name, known in events if known < CLIPS] == ["node", "driver"], events
        time.sleep(5)
        ran = tsf(*on_ray)
        assert ran.returncode == 1, ran.stderr
    finally:
        cluster.shutdown()
    single = tmp_path / "single.parquet"
    assert tsf(*words, "-o", single).returncode == 1
    parquet = pytest.importorskip("pyarrow.parquet")
    found = rows(parts)
    print(events, ran.stderr)
    require_same(found, parquet.read_table(single).to_pylist())
    kinds = Counter(row["error_kind"] for row in found if row["status"] == "error")
    assert len(found) == CLIPS and sum(kinds.values()) == BROKEN + 3
    assert kinds["timeout"] == 2 and kinds["decoder_crashed"] == 1
    assert f"{CLIPS} videos, {BROKEN + 3} failed" in ran.stderr


@pytest.mark.slow
def test_shards_and_storage_are_read_and_written(tmp_path, model_folder, storage: FlakyStorage):
    pytest.importorskip("ray")
    write_clips(tmp_path / "videos", 10)
    files = sorted((tmp_path / "videos").iterdir())
    for number in range(10):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            for member in range(100):
                name = f"{member:03}.mp4" if (number, member) != (3, 5) else "../../evil.mp4"
                tar.add(files[member % 10], arcname=name)
        cut = -150_000 if number == 7 else None
        storage.put(f"shards/{number}.tar", data.getvalue()[:cut])
    storage.failing = 0.02
    url = f"s3://{storage.bucket}"
    words = ["-m", model_folder, "--dtype", "float32", "--device", "cpu", "--engine", "ray"]
    before = set(tmp_path.parent.rglob("evil*"))
    ran = tsf("embed", f"{url}/shards/", *words, "-o", f"{url}/vectors")
    print(ran.stderr, storage.failed)
    assert ran.returncode == 1 and " videos, " in ran.stderr, ran.stderr
    assert before == set(tmp_path.parent.rglob("evil*")) == set()
    from pyarrow import dataset, fs

    storage.failing = 0.0
    bucket = fs.FileSystem.from_uri(url)[0]
    table = dataset.dataset(f"{storage.bucket}/vectors", filesystem=bucket).to_table().to_pylist()
    kinds = Counter(row["error_kind"] for row in table)
    assert kinds["unsafe_name"] == 1 and kinds["truncated_shard"] in (1, 2)
    assert max(Counter(row["video"] for row in table).values()) == 1
    cut = [row for row in table if "/7.tar" in row["video"] and row["status"] == "ok"]
    assert kinds[None] == 9 * 100 - 1 + len(cut) and 0 < len(cut) < 100
    vectors = {row["video"]: row["vector"] for row in table if row["status"] == "ok"}
    first, again = (vectors[f"{url}/shards/0.tar/{name}.mp4"] for name in ("004", "014"))
    assert first == pytest.approx(again, abs=1e-5)
    ran = tsf("embed", f"{url}/shards/", *words, "-o", f"{url}/vectors")
    assert f"{len(table)} were known" in ran.stderr.replace(",", "")


@pytest.mark.slow
def test_windows_and_a_library_are_those_of_one_process(tmp_path, model_folder):
    pytest.importorskip("ray")
    lance = pytest.importorskip("lance")
    write_clips(tmp_path / "videos", 4)
    clips.write(tmp_path / "videos" / "long.mp4", 200)
    (tmp_path / "videos" / "bad.mp4").write_bytes(b"text\n" * 9)
    words = [tmp_path / "videos", "-m", model_folder, "--dtype", "float32", "--device", "cpu"]
    every = ["--every", "0.5"]
    ray = ["--engine", "ray", "-o"]
    assert tsf("embed", *words, *every, *ray, tmp_path / "ray.lance").returncode == 1
    assert tsf("embed", *words, *every, "-o", tmp_path / "one.lance").returncode == 1
    tables = [
        lance.dataset(str(tmp_path / name)).to_table().to_pylist()
        for name in ("ray.lance", "one.lance")
    ]
    keys = [sorted((row["content"], row["start"]) for row in table) for table in tables]
    assert keys[0] == keys[1] and len(keys[0]) > 10
    again = tsf("embed", *words, *every, *ray, tmp_path / "ray.lance")
    assert "5 were known" in again.stderr
    assert tsf("timeline", *words, *every, *ray, tmp_path / "parts").returncode == 1
    assert tsf("timeline", *words, *every, "-o", tmp_path / "one.parquet").returncode == 1
    parquet = pytest.importorskip("pyarrow.parquet")
    one = parquet.read_table(tmp_path / "one.parquet").to_pylist()
    assert sorted(map(json.dumps, rows(tmp_path / "parts"))) == sorted(map(json.dumps, one))
    other = tsf("timeline", *words, "--every", "1", *ray, tmp_path / "parts")
    assert other.returncode == 2 and "was begun with another every" in other.stderr
