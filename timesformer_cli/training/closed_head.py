"""A linear head in closed form: ridge regression, its strength chosen by leaving clips out.

1. The features' principal axes are computed once. Each strength then only weighs them.
2. What a fit without a group of clips would say of that group follows from the whole fit, so that
   every strength is judged on clips that it has not seen (the PRESS residuals of Allen, 1974).
3. The answers of the best strength are scaled, so that they are as sure as they are right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
# Ridge strengths that are tried, as shares of the largest eigenvalue.
STRENGTHS = np.logspace(-7, 1, 25)
SCALES = np.logspace(-1, 3, 81)  # factors on the answers that are tried


@dataclass(frozen=True, kw_only=True, slots=True)
class ClosedHead:
    """A head's weights, and how well it did on clips that were left out."""

    weight: Numbers  # (classes d)
    bias: Numbers  # (classes)
    strength: float  # of the ridge, as a share of the largest eigenvalue
    loss: float  # mean over clips, each left out
    answers: Numbers  # the logits of each clip, left out `(clips classes)`


def fit_head(
    features: Numbers,
    targets: Numbers,
    groups: Sequence[int],
    *,
    weights: Numbers | None = None,
) -> ClosedHead:
    """Fit features `(n d)` to targets `(n classes)`: one 1 in a row, or several with 1 and 0.

    Clips of one group are left out together. `weights` says how much each clip counts.
    """
    one = bool((targets.sum(axis=1) == 1).all()) and targets.shape[1] > 1
    counts = np.ones(len(features)) if weights is None else weights / weights.mean()
    roots = np.sqrt(counts)[:, None]
    middle, mean = (np.average(each, axis=0, weights=counts) for each in (features, targets))
    left, values, right = np.linalg.svd((features - middle) * roots, full_matrices=False)
    wanted = left.T @ ((targets - mean) * roots)
    members = _members(groups)
    best: tuple[float, float, Numbers] | None = None
    for strength in STRENGTHS:
        kept = values**2 / (values**2 + strength * max(values[0] ** 2, 1e-12))
        rest = (targets - mean) * roots - (left * kept) @ wanted
        out = _left_out(rest, left, kept, roots, members) / roots
        error = float((counts[:, None] * out**2).sum())
        if best is None or error < best[0]:
            best = error, float(strength), targets - out
    assert best is not None
    _, strength, answers = best
    # A half is where a class by itself is as likely as not.
    shift = 0.0 if one else 0.5
    losses = [_loss(scale * (answers - shift), targets, counts, one) for scale in SCALES]
    scale = SCALES[int(np.argmin(losses))]
    inverse = values / (values**2 + strength * max(values[0] ** 2, 1e-12))
    slope = right.T @ (inverse[:, None] * wanted)
    return ClosedHead(
        weight=scale * slope.T,
        bias=scale * (mean - middle @ slope - shift),
        strength=strength,
        loss=min(losses),
        answers=scale * (answers - shift),
    )


def _members(groups: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(np.asarray(groups)[order])) + 1
    return list(np.split(order, starts))


def _left_out(
    rest: Numbers,
    left: Numbers,
    kept: Numbers,
    roots: Numbers,
    members: list[npt.NDArray[np.int64]],
) -> Numbers:
    """What a fit without each group misses of it, from what the whole fit misses."""
    missed, total = np.empty_like(rest), float((roots**2).sum())
    alone = np.array([group[0] for group in members if len(group) == 1], dtype=np.int64)
    share = (left[alone] ** 2) @ kept + roots[alone, 0] ** 2 / total
    missed[alone] = rest[alone] / np.maximum(1 - share, 1e-9)[:, None]
    for group in members:
        if len(group) > 1:
            seen = (left[group] * kept) @ left[group].T + roots[group] @ roots[group].T / total
            missed[group] = np.linalg.lstsq(np.eye(len(group)) - seen, rest[group], rcond=None)[0]
    return missed


def _loss(logits: Numbers, targets: Numbers, counts: Numbers, one: bool) -> float:
    if one:
        top = logits.max(axis=1, keepdims=True)
        spread = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
        each = spread - (logits * targets).sum(axis=1)
    else:
        each = (np.logaddexp(0, logits) - logits * targets).mean(axis=1)
    return float(np.average(each, weights=counts))
