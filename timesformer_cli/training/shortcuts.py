"""What classifiers that see no motion get on the held-out clips: what a model has to beat.

Three of them, from what is known without a look to what a single picture shows:

1. the largest class of the training clips, always;
2. width, height, frame rate and length of the files, by nearest neighbours and by logistic
   regression: clips that were cut, scaled or recorded class by class give themselves away;
3. one frame: the initial network sees the middle frame of each clip, repeated, under a head in
   closed form.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from timesformer_cli.dataset.metrics import interval
from timesformer_cli.training.closed_head import Numbers, fit_head

if TYPE_CHECKING:
    from timesformer_cli.training.check import CheckedClip
    from timesformer_cli.training.session import TrainingSession

SHARES, SIZES, FRAME = "the largest class", "picture size, rate and length", "one frame"
HELD_OUT = ("val", "test")
NEIGHBOURS = 5
MOST = 2000  # clips of a split that are looked at
MOST_SEEN = 500  # clips of a split of which one frame is decoded and seen
PENALTY = 0.01  # on the squared weights of the logistic regression
LEAST = 1e-3  # a rate or a length that a file does not say


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortcut:
    """How many held-out clips a classifier gets right that sees no motion."""

    sees: str
    how: str  # the kind of classifier; empty where there is only one
    split: str  # val or test
    right: int
    clips: int

    @property
    def share(self) -> float:
        """The share of the clips that are right."""
        return self.right / self.clips


def best_shortcut(shortcuts: Sequence[Shortcut], split: str) -> Shortcut | None:
    """The one that gets most of a split right; of equals the one that sees least."""
    return max(
        (one for one in shortcuts if one.split == split), key=lambda one: one.share, default=None
    )


def verdict(accuracy: float, clips: int, best: Shortcut) -> str:
    """Whether a model is better than a shortcut; empty where it is, beyond doubt."""
    low, _ = interval(round(accuracy * clips), clips)
    if accuracy <= best.share:
        return f"not better than {best.sees}"
    return f"not surely better than {best.sees}" if low <= best.share else ""


def given_away(shortcuts: Sequence[Shortcut]) -> str | None:
    """A warning where what the files are like tells the class, beyond chance."""
    for split in HELD_OUT:
        of_split = [one for one in shortcuts if one.split == split]
        best = best_shortcut([one for one in of_split if one.sees == SIZES], split)
        chance = max((one.share for one in of_split if one.sees == SHARES), default=0.0)
        if best is not None and interval(best.right, best.clips)[0] > chance:
            return (
                f"{SIZES} alone tell the class of {best.share:.0%} of {best.clips} clips "
                f"({SHARES}: {chance:.0%}); a model may learn these in place of what happens"
            )
    return None


def find_shortcuts(
    checked: "Sequence[CheckedClip]", session: "TrainingSession"
) -> tuple[Shortcut, ...]:
    """What each of them gets on each split that was held out; nothing where clips have several labels."""
    good = [clip for clip in checked if clip.error is None]
    held = [split for split in HELD_OUT if any(clip.item.split == split for clip in good)]
    if not held or session.plan.config.multi_label:
        return ()
    of_split = {
        name: session.drawn([clip for clip in good if clip.item.split == name], MOST)
        for name in ("train", *held)
    }
    labels = session.plan.labels
    truth = {
        name: np.array([labels.index(clip.item.label) for clip in clips])
        for name, clips in of_split.items()
    }
    sizes = {name: _sizes(clips) for name, clips in of_split.items()}
    known = sizes["train"], truth["train"], len(labels)
    found = []
    for split in held:
        largest = Counter(truth["train"].tolist()).most_common(1)[0][0]
        answers = {
            (SHARES, ""): np.full(len(truth[split]), largest),
            (SIZES, "nearest neighbours"): _nearest(*known, sizes[split]),
            (SIZES, "logistic regression"): _logistic(*known, sizes[split]),
        }
        found += [
            _shortcut(sees, how, split, told == truth[split])
            for (sees, how), told in answers.items()
        ]
    return (*found, *_one_frame(session, held, len(labels)))


def _shortcut(sees: str, how: str, split: str, right: npt.NDArray[np.bool_]) -> Shortcut:
    return Shortcut(sees=sees, how=how, split=split, right=int(right.sum()), clips=len(right))


def _sizes(clips: "Sequence[CheckedClip]") -> Numbers:
    """Logarithms of width, height, their ratio, frames a second and seconds `(clips 5)`."""
    rows = [(clip.width, clip.height, clip.fps, clip.seconds) for clip in clips]
    width, height, fps, seconds = np.log(np.maximum(np.array(rows, dtype=np.float64), LEAST)).T
    return np.stack([width, height, width - height, fps, seconds], axis=1)


def _alike(train: Numbers, other: Numbers) -> tuple[Numbers, Numbers]:
    """Both, each column with the mean 0 and the spread 1 that it has in the first."""
    spread = train.std(axis=0)
    scale = np.where(spread > LEAST, spread, 1.0)
    return (train - train.mean(axis=0)) / scale, (other - train.mean(axis=0)) / scale


def _nearest(
    train: Numbers, truth: npt.NDArray[np.int64], classes: int, other: Numbers
) -> npt.NDArray[np.int64]:
    """The class of most of the nearest training clips; of equals that of the nearest one."""
    known, asked = _alike(train, other)
    answers = []
    for row in asked:
        near = truth[np.argsort(((known - row) ** 2).sum(axis=1), kind="stable")[:NEIGHBOURS]]
        votes = np.bincount(near, minlength=classes)
        answers.append(next(label for label in near if votes[label] == votes.max()))
    return np.array(answers)


def _logistic(
    train: Numbers, truth: npt.NDArray[np.int64], classes: int, other: Numbers
) -> npt.NDArray[np.int64]:
    """Multinomial logistic regression on the numbers and their squares."""
    import torch
    import torch.nn.functional as F

    known, asked = (
        torch.from_numpy(np.concatenate([each, each**2, np.ones((len(each), 1))], axis=1))
        for each in _alike(train, other)
    )
    weight = torch.zeros(known.shape[1], classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> "torch.Tensor":
        optimizer.zero_grad()
        fit = F.cross_entropy(known @ weight, torch.from_numpy(truth))
        total = fit + PENALTY * weight[:-1].square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    answers: npt.NDArray[np.int64] = (asked @ weight).argmax(dim=1).numpy()
    return answers


def _one_frame(session: "TrainingSession", held: Sequence[str], classes: int) -> list[Shortcut]:
    """What the initial network makes of one frame of each clip, under a head in closed form."""
    seen = {split: session.still_features(split, MOST_SEEN) for split in ("train", *held)}
    features, truth = seen["train"]
    if len(set(truth.tolist())) < 2:
        return []
    head = fit_head(features, np.eye(classes)[truth], range(len(truth)))
    return [
        _shortcut(
            FRAME,
            "",
            split,
            (seen[split][0] @ head.weight.T + head.bias).argmax(1) == seen[split][1],
        )
        for split in held
        if len(seen[split][1])
    ]
