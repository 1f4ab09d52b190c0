"""Which of many unlabelled clips are worth a label next: those that a model is unsure of, each unlike.

1. The margin of a clip is the score of its best label less that of the second one. Of several
   labels a clip, it is how far the least sure one is from a half, doubled.
2. The clips with the smallest margins are candidates, ten for each that is wanted.
3. One after another the clip is taken that is unsure and far from all that were taken before: the
   largest product of 1 less its margin and its distance (1 less the cosine, of centred vectors).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.library.embed import Embedded

CANDIDATES = 10  # for each clip that is wanted
FEWEST = 1000  # candidates, where there are so many clips
FARTHEST = 2.0  # what 1 less a cosine can be


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """A clip that is worth a label."""

    video: str
    guess: str  # what the model would say
    score: float
    margin: float  # from 0, unsure, to 1
    distance: float  # from the nearest one that was suggested before, 0 to 2; 2 for the first


def suggest_clips(
    clips: Sequence[Embedded], count: int, *, multi_label: bool = False
) -> list[Suggestion]:
    """So many of the clips, the one that is worth most first; each has one vector."""
    known = sorted(
        ((_margin(clip.embeddings[0].predictions, multi_label), clip) for clip in clips),
        key=lambda pair: pair[0],
    )[: max(FEWEST, CANDIDATES * count)]
    if not known:
        return []
    margins = np.array([margin for margin, _ in known])
    vectors = _directions(np.stack([clip.embeddings[0].vector for _, clip in known]))
    distances = np.full(len(known), FARTHEST)
    left = np.ones(len(known), dtype=bool)
    found = []
    for _ in range(min(count, len(known))):
        # Where all that is left is like something taken, the smallest margin decides.
        worth = np.where(left, (1 - margins) * distances + 1e-9 * (1 - margins), -1.0)
        place = int(worth.argmax())
        margin, clip = known[place]
        best = clip.embeddings[0].predictions[0]
        found.append(
            Suggestion(
                video=clip.video,
                guess=best.label,
                score=best.score,
                margin=margin,
                distance=float(distances[place]),
            )
        )
        left[place] = False
        distances = np.minimum(distances, np.maximum(0.0, 1 - vectors @ vectors[place]))
    return found


def _margin(predictions: Sequence[Prediction], multi_label: bool) -> float:
    if multi_label:
        return min(abs(2 * one.score - 1) for one in predictions)
    return predictions[0].score - (predictions[1].score if len(predictions) > 1 else 0.0)


def _directions(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The vectors without their mean, each of length 1; a vector that is the mean stays zero."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.where(lengths > 0, lengths, 1.0))
