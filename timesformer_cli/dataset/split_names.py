"""The names of splits, as people write them."""

import re
from collections.abc import Iterable

SPELLINGS = {
    "train": frozenset("train training".split()),
    "val": frozenset("val vali valid validate validation dev development".split()),
    "test": frozenset("test tests testing".split()),
}
SPLITS = tuple(SPELLINGS)
_BESIDE = frozenset("set data dataset split clips videos".split())  # `test set`, `train_videos`


def split_named(name: str) -> str | None:
    """The split that a name means: `Validation` -> val, `Test Set` -> test, `walk` -> None."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+", " ", name).casefold().split()
    if len(words) == 1:
        words[0] = re.sub(r"(?<=.)(?:data)?set\Z", "", words[0])  # `trainset`
    named = [word for word in words if word not in _BESIDE]
    if len(named) != 1:
        return None
    return next((split for split, known in SPELLINGS.items() if named[0] in known), None)


def spelled_twice(names: Iterable[str]) -> tuple[str, ...]:
    """Those names that mean one split in several spellings; empty where each split has one."""
    spellings: dict[str, dict[str, None]] = {}
    for name in names:
        if split := split_named(name):
            spellings.setdefault(split, {})[name] = None
    return next((tuple(said) for said in spellings.values() if len(said) > 1), ())
