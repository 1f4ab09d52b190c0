"""Build each kind of index over a library of made vectors, and search through it.

The vectors are drawn from a seed: clusters of very different sizes, as videos have windows. Each
kind is built in a process of its own, and searched in another, so that memory is that kind's
alone. The truth is NumPy's product of all vectors with the query. Needs pylance, and usearch
where it is to stand beside Lance's own kinds:

    LANCE_CPU_THREADS=2 nice -n 10 python -m scripts.library.index_kinds --folder build/index
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import lance
import numpy as np
import pyarrow
from numpy.typing import NDArray

from timesformer_cli.library.store import META
from timesformer_cli.parquet import VECTOR, arrow_type

Floats = NDArray[np.float32]
SEED, WIDTH, AT_ONCE = 20, 768, 10_000
WINDOWS = 100  # vectors of a cluster, on average
SPREAD = 0.7  # of a cluster's vectors, where the spread of the clusters' centres is 1
QUERIES, COUNT = 200, 10
# What a kind is built with and searched with. nprobes is the share of the partitions that are
# looked into; refine_factor times as many rows are compared with their own vectors.
PARTS = 256
KINDS: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "exact": ({}, [{}]),
    "IVF_FLAT": ({}, [{"nprobes": n} for n in (4, 16)]),
    "IVF_SQ": ({}, [{"nprobes": n, "refine_factor": 2} for n in (4, 16)]),
    "IVF_PQ": (
        {"num_sub_vectors": WIDTH // 8},
        [{"nprobes": n, "refine_factor": r} for n, r in ((4, 5), (16, 5), (16, 10))],
    ),
    "IVF_RQ": ({}, [{"nprobes": n, "refine_factor": r} for n, r in ((4, 5), (16, 5), (16, 10))]),
    "IVF_HNSW_SQ": (
        {},
        [{"nprobes": n, "ef": e, "refine_factor": 2} for n, e in ((4, 64), (16, 64), (16, 128))],
    ),
    "usearch": ({}, [{"expansion_search": n} for n in (64, 128, 256)]),
}


def drawn(rows: int, seed: int = SEED) -> Iterator[Floats]:
    """The vectors, some thousands at a time."""
    rng = np.random.default_rng(seed)
    clusters = max(1, rows // WINDOWS)
    centres = np.random.default_rng(SEED).standard_normal((clusters, WIDTH), np.float32)
    shares = np.random.default_rng(SEED + 1).pareto(1.5, clusters) + 0.1
    for first in range(0, rows, AT_ONCE):
        count = min(AT_ONCE, rows - first)
        of = rng.choice(clusters, count, p=shares / shares.sum())
        yield centres[of] + SPREAD * rng.standard_normal((count, WIDTH), np.float32)


def asked(rows: int) -> Floats:
    """The vectors that are searched for: others of the same clusters."""
    rng = np.random.default_rng(SEED + 2)
    clusters = max(1, rows // WINDOWS)
    centres = np.random.default_rng(SEED).standard_normal((clusters, WIDTH), np.float32)
    noise = rng.standard_normal((QUERIES, WIDTH), np.float32)
    found: Floats = centres[rng.integers(clusters, size=QUERIES)] + SPREAD * noise
    return found


def write(folder: Path, rows: int) -> Path:
    """The vectors as a dataset, and which rows are nearest to each query."""
    path = folder / f"{rows}.lance"
    if path.exists():
        return path
    schema = pyarrow.schema(
        [("row", pyarrow.int64()), ("vector", arrow_type(VECTOR, WIDTH))], {META: "{}"}
    )
    queries = asked(rows)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    best = np.full((QUERIES, COUNT), -2.0, np.float32)
    which = np.zeros((QUERIES, COUNT), np.int64)

    def batches() -> Iterator[pyarrow.RecordBatch]:
        nonlocal best, which
        first = 0
        for vectors in drawn(rows):
            numbers = np.arange(first, first + len(vectors))
            alike = queries @ (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T
            alike = np.hstack([best, alike])
            known = np.hstack([which, np.broadcast_to(numbers, (QUERIES, len(numbers)))])
            order = np.argsort(-alike, axis=1)[:, :COUNT]
            best, which = (np.take_along_axis(each, order, 1) for each in (alike, known))
            column = pyarrow.FixedSizeListArray.from_arrays(vectors.ravel(), WIDTH)
            yield pyarrow.record_batch([pyarrow.array(numbers), column], schema=schema)
            first += len(vectors)

    part = folder / f"{rows}.part"
    lance.write_dataset(pyarrow.RecordBatchReader.from_batches(schema, batches()), str(part))
    np.save(folder / f"{rows}.npy", which)
    part.rename(path)
    return path


def peak() -> float:
    """Most memory that this process had resident so far, in MB.

    Not by getrusage, which a process inherits from the one that started it.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def build(kind: str, path: Path) -> dict[str, Any]:
    """Build one index."""
    dataset = lance.dataset(str(path))
    began, cpu = time.perf_counter(), time.process_time()
    if kind == "usearch":
        from usearch.index import Index

        index = Index(ndim=WIDTH, metric="cos", dtype="i8")
        for batch in dataset.to_batches(columns=["row", "vector"], batch_size=AT_ONCE):
            vectors = batch.column("vector").flatten().to_numpy().reshape(-1, WIDTH)
            index.add(batch.column("row").to_numpy(), vectors, threads=2)
        index.save(str(path.with_suffix(".usearch")))
    elif kind != "exact":
        options = {"num_partitions": PARTS, **KINDS[kind][0]}
        dataset.create_index("vector", kind, metric="cosine", replace=True, **options)
    return {
        "build_s": time.perf_counter() - began,
        "build_cpu_s": time.process_time() - cpu,
        "build_mb": peak(),
    }


def searcher(kind: str, path: Path, how: dict[str, Any]) -> Callable[[Floats], list[int]]:
    """A function that finds the rows nearest to a vector."""
    dataset = lance.dataset(str(path))
    if kind == "usearch":
        from usearch.index import Index

        index = Index.restore(str(path.with_suffix(".usearch")), view=True)
        index.expansion_search = how["expansion_search"]

        def by_usearch(query: Floats) -> list[int]:
            """The best 50, compared once more with their own vectors, as Lance refines."""
            keys = sorted(index.search(query, 5 * COUNT, threads=2).keys.tolist())
            table = dataset.take(keys, columns=["vector"])
            vectors = table.column("vector").combine_chunks().flatten().to_numpy()
            vectors = vectors.reshape(-1, WIDTH)
            alike = vectors @ query / np.linalg.norm(vectors, axis=1)
            return [keys[n] for n in np.argsort(-alike)[:COUNT]]

        return by_usearch
    nearest = {"column": "vector", "k": COUNT, "metric": "cosine", **how}
    if kind == "exact":
        nearest["use_index"] = False

    def by_lance(query: Floats) -> list[int]:
        table = dataset.to_table(columns=["row", "_distance"], nearest={**nearest, "q": query})
        return list(table.column("row").to_pylist())

    return by_lance


def search(kind: str, path: Path, how: dict[str, Any]) -> dict[str, Any]:
    """Search for all queries, twice where that is affordable; the second time counts."""
    truth = np.load(path.with_suffix(".npy"))
    queries, found = asked(int(path.stem)), searcher(kind, path, how)
    before = peak()
    if kind == "exact":
        truth, queries = truth[:15], queries[:15]
    else:
        for query in queries:
            found(query)
    waited, cpu, right = [], time.process_time(), 0
    for query, best in zip(queries, truth, strict=True):
        began = time.perf_counter()
        rows = found(query)
        waited.append(1000 * (time.perf_counter() - began))
        right += len(set(rows) & set(best.tolist()))
    return {
        "recall": right / truth.size,
        "median_ms": median(waited),
        "p95_ms": float(np.quantile(waited, 0.95)),
        "cpu_ms": 1000 * (time.process_time() - cpu) / len(queries),
        "search_mb": peak(),
        "before_mb": before,
    }


def child(*words: str) -> dict[str, Any]:
    """What a process of its own says on its last line."""
    command = [sys.executable, "-m", "scripts.library.index_kinds", *words]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return told


def index_bytes(path: Path, kind: str) -> int:
    """What an index takes on the disk: the newest one, since older ones lie beside it."""
    if kind == "usearch":
        return path.with_suffix(".usearch").stat().st_size
    made = sorted((path / "_indices").glob("*"), key=lambda each: each.stat().st_mtime)
    return sum(file.stat().st_size for file in made[-1].rglob("*")) if made else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/index"))
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--one", nargs="+", help="for its own processes")
    arguments = parser.parse_args()
    if arguments.one:
        what, kind, path, *rest = arguments.one
        how = json.loads(rest[0]) if rest else {}
        done = build(kind, Path(path)) if what == "build" else search(kind, Path(path), how)
        print(json.dumps(done))
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = write(arguments.folder, arguments.rows)
    print(f"{arguments.rows:,} vectors of {WIDTH}; load {os.getloadavg()[0]:.1f} at the start\n")
    print("| kind | built, s | CPU s | MB | on disk, MB | searched with | recall at 10 | median ms "
          "| 95 % ms | CPU ms | resident MB |")  # fmt: skip
    print("| --- |" + " ---: |" * 4 + " --- |" + " ---: |" * 5, flush=True)
    for kind in arguments.kinds:
        built = child("--one", "build", kind, str(path))
        size = 0 if kind == "exact" else index_bytes(path, kind)
        for how in KINDS[kind][1]:
            found = child("--one", "search", kind, str(path), json.dumps(how))
            said = ", ".join(f"{name} {value}" for name, value in how.items())
            print(
                f"| {kind} | {built['build_s']:.0f} | {built['build_cpu_s']:.0f} | "
                f"{built['build_mb']:.0f} | {size / 1e6:.0f} | {said} | {found['recall']:.3f} | "
                f"{found['median_ms']:.1f} | {found['p95_ms']:.1f} | {found['cpu_ms']:.0f} | "
                f"{found['search_mb']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
