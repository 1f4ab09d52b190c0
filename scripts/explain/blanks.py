"""How to blank parts of a clip, so that proofs tell maps from chance: a table of docs/explain.md.

    python -m scripts.explain.blanks --model camera-motion examples/*.mp4

Patches are blanked one at a time, or a place in all frames at once. Beside orders at random, which
are scattered, stands the map itself, moved by a random distance along each axis: it is as compact,
and means nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import torch
from numpy.typing import NDArray

from timesformer_cli.errors import VideoError
from timesformer_cli.explain.blanking import (
    RANDOM_ORDERS,
    Score,
    blurred,
    curves_of,
    standing_still,
)
from timesformer_cli.explain.maps import map_by
from timesformer_cli.explain.options import METHODS, ExplainOptions
from timesformer_cli.explain.results import Curve, Map
from timesformer_cli.explain.run import Explainer, open_explained
from timesformer_cli.video import DecodePool, VideoPath
from timesformer_cli.video.facts import Pixels

GREY = 115  # the level that the bundled model's preprocessing subtracts
Blank = Callable[[Pixels], Pixels]


def grey(frames: Pixels) -> Pixels:
    """One level."""
    return np.full_like(frames, GREY)


def mean_over_time(frames: Pixels) -> Pixels:
    """Each place with its mean colour of all frames."""
    return np.stack([frames.mean(0).round().astype(np.uint8)] * len(frames))


def frame_before(frames: Pixels) -> Pixels:
    """Each frame as the one before it; the first as the second."""
    return np.concatenate([frames[1:2], frames[:-1]])


# Whether places are blanked in all frames at once, and what they show then.
WAYS: dict[str, tuple[bool, Blank]] = {
    "places, first frame": (True, standing_still),
    "places, mean over time": (True, mean_over_time),
    "patches, first frame": (False, standing_still),
    "patches, mean over time": (False, mean_over_time),
    "patches, frame before": (False, frame_before),
    "patches, blurred": (False, blurred),
    "patches, blurred mean": (False, lambda frames: blurred(mean_over_time(frames))),
    "patches, grey": (False, grey),
}
Curves = dict[str, list[Curve]]  # of the map, of orders at random, and of the map elsewhere


def curves(frames: Pixels, map: Map, blank: Pixels, score: Score) -> Curves:
    """The curves of one clip with one way to blank."""
    random = np.random.default_rng(0)
    scattered = [random.random(map.shape, np.float32) for _ in range(RANDOM_ORDERS)]
    moved = [
        np.roll(map, [int(random.integers(size)) for size in map.shape], (0, 1, 2))
        for _ in range(RANDOM_ORDERS)
    ]
    own, *others = curves_of(frames, [map, *scattered, *moved], blank, score, random)
    return {"map": [own], "random": others[:RANDOM_ORDERS], "moved": others[RANDOM_ORDERS:]}


def measured(options: ExplainOptions, paths: list[str], ways: list[str]) -> dict[str, list[Curves]]:
    """For each way to blank, the curves of all clips."""
    found: dict[str, list[Curves]] = {name: [] for name in ways}
    with ExitStack() as stack:
        pool = stack.enter_context(DecodePool(1, options.timeout))
        explainer = Explainer(options, *open_explained(options, print, stack))
        assert explainer.network is not None
        videos = [VideoPath(path) for path in paths]
        decoded = pool.decode(videos, explainer.sampling, explainer.preprocessing, 1, 0)
        for path, clip in zip(paths, decoded, strict=True):
            if isinstance(clip, VideoError):
                raise SystemExit(f"{path}: {clip}")
            frames, _ = explainer.cropped(clip.frames[0])
            (scores,) = explainer.scored(iter([frames]))
            label = int(scores.argmax())
            map = map_by(explainer.network, frames, label, options)

            def score(clips: Iterator[Pixels], label: int = label) -> NDArray[np.float32]:
                return np.stack([each[label] for each in explainer.scored(clips)])

            for name in ways:
                places, blank = WAYS[name]
                order = map.sum(0, keepdims=True) if places else map
                found[name].append(curves(frames, order, blank(frames), score))
    return found


def row(name: str, found: list[Curves]) -> str:
    """One line of the table: mean areas, and how often the map wins against the mean of others."""
    cells = [name]
    for area, sign in (("deleted", -1), ("inserted", 1)):
        of = {
            kind: np.array([np.mean([getattr(c, area) for c in each[kind]]) for each in found])
            for kind in found[0]
        }
        cells.append(f"{of['map'].mean():.3f}")
        for other in ("random", "moved"):
            wins = (sign * (of["map"] - of[other]) > 0).mean()
            cells.append(f"{of[other].mean():.3f} ({wins:.0%})")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--model", default="camera-motion")
    parser.add_argument("--method", choices=METHODS[:5], default=METHODS[0])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = ExplainOptions(model=options.model, method=options.method)
    print("| blank | deletion | at random (wins) | moved | insertion | at random | moved |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    for name, found in measured(chosen, options.videos, options.ways).items():
        print(row(name, found), flush=True)


if __name__ == "__main__":
    main()
