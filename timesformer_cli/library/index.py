"""An index over a library's vectors, so that a search looks at a part of them only.

It is one of Lance's own: vectors lie in partitions, each number rounded to a byte. A search takes the
partitions nearest to what is searched for, and compares the best of their rows once more with the
vectors as they are. Rows that came after the index are compared one by one, as without an index,
until it is made anew. `scripts/library/index_kinds.py` measured the kinds; docs/library.md has the
figures.
"""

from math import isqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import lance

# With fewer rows every vector is compared: 768 wide, 50,000 take 0.16 s of a processor.
FEWEST = 50_000
NAME, KIND = "vectors", "IVF_SQ"
# A search looks into this share of the partitions, but at least so many, and compares so many times
# the rows that are asked for: a constant number found 0.99 of 200,000 rows, and 0.90 of a million.
LOOKED_AT, LEAST_LOOKED, COMPARED = 1 / 13, 20, 2
GROWN = 1.5  # times the partitions that the rows were parted into: it is made from nothing


def partitions_for(rows: int) -> int:
    """How many partitions so many rows are parted into."""
    return max(1, isqrt(rows) * 4 // 7)  # 255 of 200,000


def how_to_look(dataset: "lance.LanceDataset") -> dict[str, Any]:
    """What a search says of the index; empty where there is none."""
    if not dataset.has_index:
        return {}
    looked = max(LEAST_LOOKED, round(LOOKED_AT * partitions_for(dataset.count_rows())))
    return {"nprobes": looked, "refine_factor": COMPARED}


def refresh_index(dataset: "lance.LanceDataset") -> int:
    """Make an index where there are rows enough, or take new rows into it; returns how many it has."""
    rows = dataset.count_rows()
    if rows < FEWEST:
        return 0
    if dataset.has_index:
        told = dataset.stats.index_stats(NAME)
        wide = told["indices"][0]["num_partitions"]
        if partitions_for(rows) <= GROWN * wide:
            if told["num_unindexed_rows"]:
                dataset.optimize.optimize_indices(index_names=[NAME])
            return rows
    dataset.create_index(
        "vector",
        KIND,
        name=NAME,
        metric="cosine",
        replace=True,
        num_partitions=partitions_for(rows),
    )
    return rows
