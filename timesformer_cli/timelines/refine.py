"""Find the moment of a change of label more exactly, by windows between two neighbours."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from timesformer_cli.timelines.results import Segment

STEPS = 2  # halvings: a change is then known to a quarter of the time between two windows


def refine_segments(
    segments: Sequence[Segment],
    scores_at: Callable[[float], Mapping[int, float] | None],
    every: float,
) -> list[Segment]:
    """The segments with their inner bounds moved; those at a cut or beside nothing stay.

    `scores_at` gives the scores of the window around a moment, by the labels' numbers, or None where
    there is none. Two windows stand `every` seconds apart with the bound in their middle; each step halves the stretch.

        a . . . . | . . . . b      the window at | says a: the bound lies to its right
        a . . . . . . | . . b      the window at | says b: between the two
    """
    refined = list(segments)
    for index in range(len(refined) - 1):
        left, right = refined[index], refined[index + 1]
        if left.shot != right.shot or left.end != right.start:
            continue
        low, high = left.end - every / 2, left.end + every / 2
        for _ in range(STEPS):
            middle = (low + high) / 2
            scores = scores_at(middle)
            if scores is None:
                break
            if scores[left.index] >= scores[right.index]:
                low = middle
            else:
                high = middle
        bound = round((low + high) / 2, 3)
        refined[index] = replace(left, end=bound)
        refined[index + 1] = replace(right, start=bound)
    return refined
