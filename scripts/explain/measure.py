"""Whether maps show what decides, on clips of which it is known: the tables of docs/explain.md.

Each model of a folder that `scripts.explain.train` wrote explains clips that it gets right:

    python -m scripts.explain.measure build/explain

Peak: how often the highest patch of the map is one of those that decide. Mass: their share of the
map over their share of the clip, 1 by chance. When: how often the frame with the largest share of the
map is one of the three that decide.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray

from scripts.explain.clips import PATCH, STEPS, make_clips
from scripts.explain.train import FRESH, TESTED, answers, as_input, batches, new_model
from timesformer_cli.explain.blanking import occlusion
from timesformer_cli.explain.maps import attention_maps, map_by
from timesformer_cli.explain.options import METHODS, ExplainOptions
from timesformer_cli.explain.results import Map
from timesformer_cli.model import TimeSformer
from timesformer_cli.video.facts import Pixels
from timesformer_cli.weights.load import load_model

CLIPS, SLOW = 200, 20  # explained by each model; of which by the slow methods, too
BRIGHTNESS, UNTRAINED = "brightness of the clip", "combined, untrained"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What one map shows of the patches that decide."""

    peak: bool  # whether the highest patch is one of them
    mass: float  # their share of the map over their share of the clip
    when: bool  # whether the frame with the largest share of the map is one of theirs


def judge(map: Map, decisive: NDArray[np.bool_]) -> Judgement:
    """Compare a map `(t h w)` with the patches that decide; a map of zeros shows nothing."""
    total = float(map.sum())
    share = float(map[decisive].sum()) / total if total else 0.0
    frames = decisive.any((1, 2))
    return Judgement(
        peak=bool(total and decisive.flat[map.argmax()]),
        mass=share / float(decisive.mean()),
        when=bool(total and frames[map.sum((1, 2)).argmax()]),
    )


def maps_of(
    model: TimeSformer, frames: Pixels, label: int, *, slow: bool
) -> Iterator[tuple[str, Map]]:
    """The map of each method, by its name, and what needs no model."""
    together = attention_maps(model, as_input(model, frames[None]), label)
    for name in ("combined", "gradient", "rollout"):
        yield name, getattr(together, name).numpy()
    yield "attention", map_by(model, frames, label, ExplainOptions(method="attention"))
    yield BRIGHTNESS, brightness(frames)
    if slow:
        yield "integrated", map_by(model, frames, label, ExplainOptions(method="integrated"))
        score = partial(scores, model, label)
        yield "occlusion", occlusion(frames, model.config.grid, score)


def brightness(frames: Pixels) -> Map:
    """How much brighter each patch is than the clip's median one."""
    patches = rearrange(frames, "t (h y) (w x) c -> t h w (y x c)", y=PATCH, x=PATCH)
    levels = patches.mean(-1, dtype=np.float32)
    above: Map = (levels - np.median(levels)).clip(0)
    return above


def scores(model: TimeSformer, label: int, clips: Iterable[Pixels]) -> NDArray[np.float32]:
    """The score of one class for each clip."""
    with torch.inference_mode():
        logits = [model(as_input(model, part)) for part in batches(np.stack(list(clips)))]
    found: NDArray[np.float32] = torch.cat(logits).softmax(1)[:, label].numpy()
    return found


def judgements(folder: Path, count: int, slow: int) -> dict[str, list[Judgement]]:
    """Of each method, on clips that the model gets right, and of the network before its training."""
    scheme, _, seed = folder.name.rpartition("-")
    model, untrained = load_model(str(folder))[0], new_model(scheme, int(seed))
    random = np.random.default_rng(FRESH + 1 + int(seed))
    made = make_clips(random, round(1.8 * count), in_time=model.config.scheme.sees_time)
    right = answers(model, made.frames).numpy() == made.classes
    told = np.flatnonzero(right & (made.classes < len(STEPS)))[:count]
    found: dict[str, list[Judgement]] = {}
    for done, number in enumerate(told):
        frames, label = made.frames[number], int(made.classes[number])
        maps = dict(maps_of(model, frames, label, slow=done < slow))
        maps[UNTRAINED] = map_by(untrained, frames, label, ExplainOptions())
        for name, map in maps.items():
            found.setdefault(name, []).append(judge(map, made.decisive[number]))
    return found


def measured(folder: Path, count: int, slow: int) -> dict[str, list[Judgement]]:
    """As `judgements`, which are kept beside the model."""
    kept = folder / "judgements.json"
    if not kept.exists():
        found = judgements(folder, count, slow)
        rows = {name: [asdict(row) for row in each] for name, each in found.items()}
        kept.write_text(json.dumps(rows))
    told: dict[str, list[dict[str, Any]]] = json.loads(kept.read_text())
    return {name: [Judgement(**row) for row in rows] for name, rows in told.items()}


def table(of_schemes: dict[str, dict[str, list[Judgement]]]) -> Iterator[str]:
    """A row for each map, and a column for each scheme."""
    yield f"| map | {' | '.join(of_schemes)} |"
    yield "| --- |" + " --- |" * len(of_schemes)
    for name in (*METHODS, UNTRAINED, BRIGHTNESS):
        cells = []
        for found in of_schemes.values():
            rows = [(row.peak, row.mass, row.when) for row in found[name]]
            peak, mass, when = np.mean(rows, 0)
            cells.append(f"{peak:.2f}, {mass:.1f}, {when:.2f}")
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--slow", type=int, default=SLOW)
    options = parser.parse_args()
    torch.set_num_threads(1)
    of_schemes: dict[str, dict[str, list[Judgement]]] = {}
    for scheme in TESTED:
        for folder in sorted(options.folder.glob(f"{scheme}-[0-9]*")):
            for name, rows in measured(folder, options.clips, options.slow).items():
                of_schemes.setdefault(scheme, {}).setdefault(name, []).extend(rows)
            print(f"{folder.name} is measured", file=sys.stderr, flush=True)
    print("\n".join(table(of_schemes)))


if __name__ == "__main__":
    main()
