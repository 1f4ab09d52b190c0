"""Which vectors find copies of videos, and how well: the table of docs/library.md.

Makes the clips of `scripts.library.copies`, takes windows of all of them, and looks for pairs with
each kind of vector at each threshold. Which one `tsf search --duplicates` takes was chosen by this
table:

    python -m scripts.library.duplicates --clips ../shared/clips --pictures build/pictures
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scripts.library.copies import Copy, make_copies
from timesformer_cli.errors import VideoError
from timesformer_cli.library.duplicates import Pair, duplicates_of
from timesformer_cli.video.look import KEPT, waves_of
from timesformer_cli.video.messages import FollowRequest
from timesformer_cli.video.stream import StreamedWindow, VideoFollower
from timesformer_cli.video.windows import WindowPlan

if TYPE_CHECKING:
    from timesformer_cli.inference.fast.model import FastModel

Floats = NDArray[np.float32]
MODEL, HOP = "camera-motion", 0.5


@cache
def followed(modelled: bool) -> tuple[VideoFollower, FastModel | None, FollowRequest]:
    """What a process needs for all of its videos: a decoder, the model where it is asked for, and how."""
    from timesformer_cli.inference.fast.model import FastModel
    from timesformer_cli.inference.open import open_model

    model, _ = open_model(MODEL, "cpu", "auto")
    assert isinstance(model, FastModel) and model.preprocessing and model.sampling
    plan = WindowPlan(sampling=model.sampling, every=HOP)
    request = FollowRequest(path="", plan=plan, preprocessing=model.preprocessing)
    return VideoFollower(), model if modelled else None, request


def windows_of(path: Path, store: Path, modelled: bool) -> dict[str, Floats]:
    """The windows of a video: where they begin, the waves of their pictures, and what the model gives."""
    if store.exists():
        with np.load(store) as known:
            return {name: known[name] for name in known.files}
    import torch

    torch.set_num_threads(1)
    follower, model, request = followed(modelled)
    pictures: dict[int, NDArray[np.uint8]] = {}
    waves: dict[int, Floats] = {}
    held: dict[str, list[Floats]] = {"start": []}
    try:
        for event in follower.follow(replace(request, path=str(path))):
            if not isinstance(event, StreamedWindow):
                continue
            frames = event.window.frames
            waves |= {n: waves_of(picture) for n, picture in event.fresh.items()}
            row = {
                "start": np.array(event.window.clip.start),
                "waves": np.stack([waves[n] for n in frames]),
            }
            if model is not None:
                pictures |= event.fresh
                clip = torch.from_numpy(np.stack([pictures[n] for n in frames]))[None]
                with torch.inference_mode():
                    patches = model.per_frame(clip)
                    row["features"] = model.over_time(patches)[0].float().numpy()
                    seen = patches[0].movedim(-1, 1).float()
                early = torch.nn.functional.adaptive_avg_pool2d(seen, 3).mean(0)
                row["early"] = early.flatten().numpy()
            for name, value in row.items():
                held.setdefault(name, []).append(value)
    except VideoError as error:
        print(f"{path.name}: {error}", file=sys.stderr)
    done = {name: np.stack(values) for name, values in held.items() if values}
    np.savez(store, **done)  # type: ignore[arg-type]
    return done


def all_windows(
    paths: Sequence[Path], folder: Path, modelled: bool, processes: int
) -> dict[str, Floats]:
    """The windows of all videos together, with the number of each one's video."""
    folder.mkdir(exist_ok=True)
    stores = [folder / f"{path.parent.name}-{path.name}.npz" for path in paths]
    if all(store.exists() for store in stores):
        taken = [windows_of(*each, modelled) for each in zip(paths, stores, strict=True)]
    else:
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            taken = list(pool.map(windows_of, paths, stores, [modelled] * len(paths), chunksize=4))
    numbers = [np.full(len(each["start"]), n) for n, each in enumerate(taken) if each]
    names = ["start", "waves", *(["features", "early"] if modelled else [])]
    joined = {name: np.concatenate([each[name] for each in taken if each]) for name in names}
    return {"video": np.concatenate(numbers), **joined}


def unit(vectors: Floats, less: float = 0.0) -> Floats:
    """Vectors of length 1; what is shorter than `less` becomes nothing."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    shown: Floats = np.where(length > less, vectors / np.maximum(length, 1e-9), 0)
    return shown.astype(np.float32)


def levelled(waves: Floats, power: float, kept: int) -> Floats:
    """Waves without the mean brightness, the quick ones made as strong as the slow ones."""
    u, v = np.meshgrid(np.arange(kept), np.arange(kept))
    weighted = waves[..., :kept, :kept] * np.hypot(u, v) ** power
    return weighted.reshape(*waves.shape[:-2], -1)[..., 1:]


def mean_look(waves: Floats, power: float = 1.0, kept: int = KEPT) -> Floats:
    return levelled(waves.mean(1), power, kept)


def halves(waves: Floats, power: float = 1.0, kept: int = KEPT) -> Floats:
    middle = waves.shape[1] // 2
    parts = (waves[:, :middle].mean(1), waves[:, middle:].mean(1))
    return np.concatenate([levelled(part, power, kept) for part in parts], axis=1)


def ends(waves: Floats, power: float = 1.0, kept: int = KEPT) -> Floats:
    return np.concatenate([levelled(waves[:, n], power, kept) for n in (0, -1)], axis=1)


KINDS: dict[str, Callable[[dict[str, Floats]], Floats]] = {
    "features": lambda held: held["features"],
    "features, less their mean": lambda held: held["features"] - held["features"].mean(0),
    "patches of the stem, 3 x 3": lambda held: held["early"] - held["early"].mean(0),
    "waves of the mean picture, as they are": lambda held: mean_look(held["waves"], 0.0),
    "waves of the mean picture": lambda held: mean_look(held["waves"]),
    "waves of the first and last": lambda held: ends(held["waves"]),
    "waves of two halves": lambda held: halves(held["waves"]),
    "waves of two halves, 5 x 5": lambda held: halves(held["waves"], 1.0, 5),
    "waves of two halves, 4 x 4": lambda held: halves(held["waves"], 1.0, 4),
}
THRESHOLDS = (0.98, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)


def judged(pairs: Sequence[Pair], same: Sequence[Copy]) -> tuple[float, float, float, int]:
    """Recall, precision, the median of how far offsets are off in seconds, and how many false."""
    truth = {frozenset((each.original, each.copy)): each for each in same}
    off, right = [], 0
    for pair in pairs:
        each = truth.get(frozenset((pair.video, pair.other)))
        if each is None:
            continue
        right += 1
        if pair.offset is not None and pair.pace is not None:
            # When the copy begins, in the original.
            at = pair.offset if pair.video == each.copy else -pair.offset / pair.pace
            off.append(abs(at - each.offset))
    found = len(pairs)
    error = median(off) if off else float("nan")
    return right / len(same), right / found if found else 1.0, error, found - right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/duplicates"))
    parser.add_argument("--pictures", type=Path, default=Path("build/pictures"))
    parser.add_argument("--clips", type=Path, help="a folder of real videos")
    parser.add_argument("--copies", type=int, default=200)
    parser.add_argument("--others", type=int, default=80)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--whole", nargs="*", default=[], help="kinds to show at each threshold")
    given = parser.parse_args()
    paths, same = make_copies(
        given.folder, given.pictures, copies=given.copies, others=given.others, clips=given.clips
    )
    modelled = not all(name.startswith("waves") for name in given.kinds)
    store = given.folder / ("modelled" if modelled else "windows")
    held = all_windows(paths, store, modelled, given.processes)
    videos = [str(paths[int(number)]) for number in held["video"]]
    print(f"\n{len(paths)} videos, {len(same)} copies, {len(videos)} windows\n")
    print("| vector | numbers | threshold | recall | precision | false | offset off by, s |")
    print("| --- |" + " ---: |" * 6)
    for name in given.kinds:
        vectors = unit(KINDS[name](held), 1e-6)
        rows = []
        for threshold in THRESHOLDS:
            pairs = duplicates_of(vectors, videos, held["start"], threshold, HOP)
            rows.append((*judged(pairs, same), threshold))
            if rows[-1][3] > len(same) / 2:  # false: lower thresholds are hopeless
                break
        best = max(rows, key=lambda row: 2 * row[0] * row[1] / max(1e-9, row[0] + row[1]))
        for recall, precision, off, false, threshold in rows if name in given.whole else [best]:
            print(
                f"| {name} | {vectors.shape[1]} | {threshold:g} | {recall:.3f} | "
                f"{precision:.3f} | {false} | {off:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
