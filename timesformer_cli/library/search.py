"""Searching a library: what is like a vector, or has a label."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from timesformer_cli.library.embed import Vector
from timesformer_cli.library.index import how_to_look
from timesformer_cli.library.store import AT_ONCE, Library, quoted
from timesformer_cli.results import IF_ANY


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that was found."""

    video: str
    content: str
    start: float
    end: float
    label: str
    score: float  # of the label
    # Cosine with what was searched for.
    similarity: float | None = field(default=None, metadata=IF_ANY)


_HIT = ("video", "content", "start", "end", "label", "score")


def similar(
    library: Library,
    vector: Vector,
    count: int,
    *,
    label: str | None = None,
    least: float = 0.0,
    without: Collection[Hit] = (),
) -> list[Hit]:
    """The rows whose vectors have the largest cosine with this one, best first.

    Exact where there is no index, or where it gives too few rows that fit. Of rows that overlap in a video only the best is taken, and none that overlaps one of
    `without`.
    """
    columns = [*_HIT, "_distance"]
    dataset = library.dataset()
    total, asked, how = dataset.count_rows(), count, how_to_look(dataset)
    while True:
        asked = min(total, 8 * asked)
        wanted = {"column": "vector", "q": vector, "k": max(1, asked), "metric": "cosine"}
        table = dataset.to_table(
            columns=columns,
            nearest=wanted | (how or {"use_index": False}),
            filter=_where(label, least),
            prefilter=True,
        )
        rows = zip(*(table.column(name).to_pylist() for name in columns), strict=True)
        hits = (replace(Hit(*row[:-1]), similarity=round(1 - row[-1], 6)) for row in rows)
        found = _apart(hits, without)
        if len(found) >= count or (not how and (asked >= total or len(table) < asked)):
            return found[:count]
        if len(table) < asked:  # what is left lies in partitions that were not looked into
            how = {}


def labelled(library: Library, label: str, count: int, *, least: float = 0.0) -> list[Hit]:
    """The rows with this label, the highest scores first; of those that overlap, the best."""
    dataset = library.dataset()
    best: dict[str, list[Hit]] = {}  # by content
    batches = dataset.to_batches(
        columns=list(_HIT), filter=_where(label, least), batch_size=AT_ONCE
    )
    for batch in batches:
        rows = zip(*(batch.column(name).to_pylist() for name in _HIT), strict=True)
        for hit in (Hit(*row) for row in rows):
            best.setdefault(hit.content, []).append(hit)
    kept = [hit for hits in best.values() for hit in _apart(sorted(hits, key=_order))]
    return sorted(kept, key=_order)[:count]


def _order(hit: Hit) -> tuple[float, str, float]:
    """The highest score first."""
    return -hit.score, hit.video, hit.start


def _apart(hits: Iterable[Hit], without: Collection[Hit] = ()) -> list[Hit]:
    """The hits that overlap no earlier one, and none of `without`."""
    taken: dict[str, list[Hit]] = {}
    for hit in without:
        taken.setdefault(hit.content, []).append(hit)
    found = []
    for hit in hits:
        others = taken.setdefault(hit.content, [])
        if all(hit.end <= other.start or hit.start >= other.end for other in others):
            found.append(hit)
            others.append(hit)
    return found


def _where(label: str | None, least: float) -> str | None:
    conditions = [f"label = {quoted(label)}"] if label is not None else []
    conditions += [f"score >= {least!r}"] if least else []
    return " AND ".join(conditions) or None
