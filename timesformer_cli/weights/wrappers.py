"""Find the model's tensors among all that training code stores with them.

Nested mappings and prefixes are one thing here: every tensor has one long name with dots, such as
`state_dict.model._orig_mod.blocks.0.norm1.weight`, and what stands before the names of a known
layout is the way to one set of weights. So wrappers need no list. Where there are several sets, the
averaged one is taken. What lies beside the way is left; what lies on it must be known (`state`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.layout import Layout, numberless
from timesformer_cli.weights.layout_tables import BY_NAME
from timesformer_cli.weights.seems import is_pretraining, seems
from timesformer_cli.weights.tensors import require_plain

FEWEST = (
    4  # names that must be known: others have a `norm.weight` too, and the least model has more
)
MOST_PARTS = 20  # of a model's own name, between dots; a hostile one has millions
DEEPEST = 16  # mappings in one another
# torch.compile, FSDP and checkpointing put these into the middle of names; no model has them.
WRAPPED = re.compile(r"(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
OPTIMIZER = re.compile(
    r"optimi[sz]er|^optim(s|_.*)?$", re.IGNORECASE
)  # its tensors may have the model's own names
# First words of names that stand beside a model's own in one mapping.
BESIDE = re.compile(
    r"(\w+_)?(criterion|loss(es)?(_fn|_fct|_func)?|metrics?|acc(uracy)?|n_averaged|rng_state)(_\w+)?"
)
# A word that says which set of several it is.
AVERAGED = re.compile(r"ema.*|.*ema|averaged?|averaging|avg|swa|polyak|shadow|teacher")
RAW = re.compile(r"online|current|student|raw|original")
OWN = re.compile(r"blocks\.\d+\.passes\.")  # only our own layout has it


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundModel:
    """The tensors of one model, under the names of its layout."""

    tensors: Mapping[str, Tensor]
    layout: Layout | None  # None is our own
    notes: tuple[str, ...] = ()  # which of several sets was taken, what was left


@dataclass(frozen=True, kw_only=True, slots=True)
class _WeightSet:
    """One set of weights: what stands before its names, and its names with their long ones."""

    prefix: str
    layout: Layout | None
    names: Mapping[str, str]

    @property
    def called(self) -> str:
        return self.prefix.rstrip(".") or "those without a prefix"

    @property
    def kind(self) -> str:
        """What the last word of its prefix that says so says of it; empty where none does."""
        for word in reversed(re.findall(r"[a-z]+", self.prefix.lower())):
            if AVERAGED.fullmatch(word):
                return "averaged"
            if RAW.fullmatch(word):
                return "raw"
        return ""


def find_model(content: Any, room: int | None) -> FoundModel:
    """Find the model in what a pickle of `room` bytes holds, or a safetensors file (None).

    Raises WeightsError where there is none, or several, and for tensors that are not plain.
    """
    tensors = _flatten(_as_named(content))
    if not tensors:
        raise WeightsError("no tensors by name in it")
    sets = _weight_sets(tensors)
    if not sets:
        raise WeightsError(_unknown(tensors))
    if is_pretraining(tensors):
        raise WeightsError(
            "a masked autoencoder's pretraining file (encoder, decoder, mask token), which has no "
            "classifier; give the file of a model that was fine-tuned on classes"
        )
    if room is not None:
        for one in sets:
            require_plain({name: tensors[long] for name, long in one.names.items()}, room)
    chosen = _choose(sets, tensors)
    names = _with_outer_parts(chosen, sets, tensors)
    taken = {*names.values(), *(long for other in sets for long in other.names.values())}
    beside = []
    for long in tensors:
        if long in taken:
            continue
        rest = long.removeprefix(chosen.prefix)
        if long.startswith(chosen.prefix) and not BESIDE.fullmatch(rest.partition(".")[0]):
            names[rest] = long
        else:
            beside.append(long)
    if 2 * len(chosen.names) < len(names):
        raise WeightsError(_unknown(tensors))
    model = {name: tensors[long] for name, long in names.items()}
    if room is not None:
        require_plain(model, room)
    notes = []
    if others := [other.called for other in sets if other is not chosen]:
        kind = f"{chosen.kind} weights".lstrip()
        notes.append(f"the {kind} in it ({chosen.called}) are taken, not {', '.join(others)}")
    if beside:
        more = f" and {len(beside) - 3} more" if len(beside) > 3 else ""
        shown = ", ".join(f"{long:.100}" for long in beside[:3])
        notes.append(f"beside the model in it, and left: {shown}{more}")
    return FoundModel(
        tensors=model,
        layout=chosen.layout,
        notes=tuple(notes),
    )


def _as_named(content: Any) -> Any:
    """A checkpoint whose keys say which weights are averaged.

    mmengine swaps the two when it saves: its `state_dict` has the averaged ones, ready for use.
    """
    meta = content.get("meta") if isinstance(content, Mapping) else None
    if not isinstance(meta, Mapping) or "mmengine_version" not in meta:
        return content
    if "ema_state_dict" not in content:
        return content
    swapped = {"state_dict": "state_dict (averaged)", "ema_state_dict": "the other one (raw)"}
    return {swapped.get(key, key): value for key, value in content.items()}


def _flatten(content: Any) -> dict[str, Tensor]:
    """All tensors of nested mappings and lists by their long names, but for an optimizer's."""
    tensors: dict[str, Tensor] = {}
    for long, tensor in _walk(content, "", DEEPEST, set()):
        if (long := WRAPPED.sub("", long)) in tensors:
            raise WeightsError(f"'{long:.80}' is in it twice")
        tensors[long] = tensor
    return tensors


def _walk(content: Any, before: str, deepest: int, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Yield tensors with their long names; each mapping once, however often a pickle holds it."""
    if not deepest:
        raise WeightsError(f"more than {DEEPEST} mappings in one another, which no training writes")
    seen.add(id(content))
    entries: Iterable[tuple[Any, Any]] = ()
    if isinstance(content, Mapping):
        entries = content.items()
    elif isinstance(content, list | tuple):
        entries = enumerate(content)
    for key, value in entries:
        if isinstance(value, Tensor):
            yield f"{before}{key}", value
        elif OPTIMIZER.search(str(key)) or id(value) in seen:
            continue
        elif isinstance(value, Mapping | list | tuple):
            yield from _walk(value, f"{before}{key}.", deepest - 1, seen)


def _weight_sets(tensors: Mapping[str, Tensor]) -> list[_WeightSet]:
    """Every set of names before which the same prefix stands, but for much smaller ones."""
    own: set[str] = set()
    known: dict[str, dict[Layout, dict[str, str]]] = {}
    for long in tensors:
        for cut in [0, *(dot.end() for dot in re.finditer(r"\.", long))][-MOST_PARTS:]:
            prefix, rest = long[:cut], long[cut:]
            if OWN.match(rest):
                own.add(prefix)
            name = re.sub(r"\bmodule\.", "", rest)  # DDP around a part; no layout has that word
            for layout in {*BY_NAME.get(numberless(name), ()), *BY_NAME.get(name, ())}:
                names = known.setdefault(prefix, {}).setdefault(layout, {})
                if name == rest or name not in names:
                    names[name] = long
    if own:  # a model of ours can hold another one: the outer one is meant
        outer = [one for one in own if not any(one != two and one.startswith(two) for two in own)]
        return [_own_set(prefix, tensors) for prefix in outer]
    sets = [_best_set(prefix, layouts) for prefix, layouts in known.items()]
    sets += list(_dotless_sets(sets, tensors))  # whole before the list grows
    most = max((len(one.names) for one in sets), default=0)
    sets = [one for one in sets if 2 * len(one.names) >= most >= FEWEST]
    distinct: list[_WeightSet] = []
    for one in sorted(sets, key=lambda one: (-len(one.names), -len(one.prefix))):
        # `model.` and `model.module.` can lead to the same tensors.
        if not any({*one.names.values()} & {*other.names.values()} for other in distinct):
            distinct.append(one)
    return distinct


def _own_set(prefix: str, tensors: Mapping[str, Tensor]) -> _WeightSet:
    names = {long.removeprefix(prefix): long for long in tensors if long.startswith(prefix)}
    return _WeightSet(prefix=prefix, layout=None, names=names)


def _best_set(prefix: str, layouts: Mapping[Layout, Mapping[str, str]]) -> _WeightSet:
    """The set in the layout that knows most of its names, and lacks least of them."""

    def fit(layout: Layout) -> tuple[int, int]:
        names = layouts[layout]
        stem = layout.stem.values()
        return len(names), sum(one in names or f"{one}.weight" in names for one in stem) - len(stem)

    layout = max(layouts, key=fit)
    return _WeightSet(prefix=prefix, layout=layout, names=layouts[layout])


def _dotless_sets(
    sets: Sequence[_WeightSet], tensors: Mapping[str, Tensor]
) -> Iterator[_WeightSet]:
    """Averaged weights whose names lack the dots of the raw ones: a module's buffers can have none."""
    for one in sets:
        dotless = {name.replace(".", ""): name for name in one.names if "." in name}
        found: dict[str, dict[str, str]] = {}
        for long in tensors:
            prefix, _, last = long.rpartition(".")
            if last in dotless:
                found.setdefault(f"{prefix}.", {})[dotless[last]] = long
        for prefix, names in found.items():
            yield _WeightSet(prefix=prefix, layout=one.layout, names=names)


def _choose(sets: Sequence[_WeightSet], tensors: Mapping[str, Tensor]) -> _WeightSet:
    """The averaged set, else the only one; raises WeightsError where several could be meant."""
    by_kind = {kind: [one for one in sets if one.kind == kind] for kind in ("averaged", "", "raw")}
    meant = next(among for among in by_kind.values() if among)
    first = meant[0]
    for other in sets:
        if other is first:
            continue
        same_shapes = all(
            tensors[long].shape == tensors[other.names[name]].shape
            for name, long in first.names.items()
            if name in other.names
        )
        twin = same_shapes and (
            other not in meant
            or all(
                name in other.names and torch.equal(tensors[long], tensors[other.names[name]])
                for name, long in first.names.items()
            )
        )
        if not twin:
            raise WeightsError(
                f"it holds several models ({first.called}, {other.called}); save the one that you "
                "mean in a file of its own"
            )
    return first


def _with_outer_parts(
    chosen: _WeightSet, sets: Sequence[_WeightSet], tensors: Mapping[str, Tensor]
) -> dict[str, str]:
    """Its names, and those that it lacks and that stand outside of its innermost wrapper.

    A head beside its backbone is one: `backbone.blocks...`, `head.weight`.
    """
    names = dict(chosen.names)
    if chosen.layout is None:
        return names
    known = chosen.layout.known()
    elsewhere = {long for other in sets for long in other.names.values()}
    for long in tensors:
        for cut in [0, *(dot.end() for dot in re.finditer(r"\.", chosen.prefix))]:
            name = long[cut:]
            if long.startswith(chosen.prefix[:cut]) and long not in elsewhere and name in known:
                names.setdefault(name, long)
    return names


def _unknown(tensors: Mapping[str, Tensor]) -> str:
    shown = ", ".join(f"{long:.100}" for long in sorted(tensors)[:3])
    if kind := seems(tensors):
        return f"{kind}, by the names of its tensors ({shown}); no TimeSformer layout we know"
    return f"its tensors are those of no TimeSformer layout we know (keys: {shown})"
