"""How other code bases name our tensors: the type of such a table, and translation with it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from timesformer_cli.config import ModelConfig, Readout
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.catalogue import DEFAULT

# The name of their tensor. A tuple: ours is their tensors joined along the first axis, and None
# stands for a part that they lack, which is zero in ours.
Theirs = str | tuple[str | None, ...]

HEAD = ("head.",)  # what of our tensors a model lacks whose classes are words
READOUT = ("pooler.", "head.")  # what an encoder lacks

# Our schemes as the transformers configuration and the official code call them.
ATTENTION_TYPES = {
    "divided": "divided_space_time",
    "joint": "joint_space_time",
    "space": "space_only",
}


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The tensor names of one code base: our modules on the left, theirs on the right.

    A name that ends in `_` continues directly with `weight` or `bias` (`in_proj_weight`).
    """

    name: str
    about: str  # whose model it is, as a message says it
    stem: Mapping[str, str]  # modules outside the blocks
    block: Mapping[str, Theirs]  # modules of block `{}`; `time` and `space` are its passes
    schemes: frozenset[str] = frozenset(ATTENTION_TYPES)  # those that the code base has
    any_tubelet: bool = False  # whether its tubelets may have other lengths than the scheme's
    dropped: frozenset[str] = frozenset()  # their tensors that change no score; `{}` is a block
    typical: str = DEFAULT  # published weights whose clips are what its authors' clips are
    readout: Readout = "mean"  # of its models with several tokens to read out
    patch: str = "c p q"  # order of a patch's pixels: channel, row, column
    # Modules of block `{}` of further transformers, by our names of these: an attentive pooler, whose
    # query's block belongs to the stem, a second transformer over time, a text tower.
    further: Mapping[str, Mapping[str, Theirs]] = field(default_factory=dict)
    # Their tensors of a part that no score comes from, whose blocks we do not count: `{}` is any.
    left: frozenset[str] = frozenset()
    lacks: tuple[str, ...] = ()  # what of our tensors its models do not have: HEAD or READOUT
    norms_from_zero: bool = False  # whether it stores the weights of its norms less 1

    @property
    def encoder(self) -> bool:
        """Whether its models end before their readout."""
        return self.lacks == READOUT

    def has(self, config: ModelConfig) -> bool:
        """Whether the code base has a model of this configuration."""
        return (
            config.attention in self.schemes
            and config.embedding == "linear"
            and (self.any_tubelet or config.tubelet == config.scheme.tubelet)
            and (self.encoder or config.readout == self.readout)
        )

    def names(self, config: ModelConfig) -> dict[str, Theirs]:
        """Map our module names to theirs, for a model of this configuration."""
        # With two passes, time comes before space; with one, that one is called space.
        passes = {"space": f"passes.{len(config.scheme.passes) - 1}", "time": "passes.0"}
        named: dict[str, Theirs] = dict(self.stem)
        for number in range(config.depth):
            for ours, theirs in self.block.items():
                role, _, rest = ours.partition(".")
                if role == "time" and len(config.scheme.passes) == 1:
                    continue
                ours = f"{passes[role]}.{rest}" if role in passes else ours
                named[f"blocks.{number}.{ours}"] = _numbered(theirs, number)
        blocks = {
            "pooler": config.pooler_blocks - 1,
            "over_time": config.time_blocks,
            "text": config.text.depth if config.text else 0,
        }
        for part, table in self.further.items():
            for number in range(blocks[part]):
                for ours, theirs in table.items():
                    named[f"{part}.blocks.{number}.{ours}"] = _numbered(theirs, number)
        return named

    def unneeded(self, names: Iterable[str], config: ModelConfig) -> set[str]:
        """Those of their names whose tensors may be there and change no score."""
        dropped = {name.format(block) for name in self.dropped for block in range(config.depth)}
        return {name for name in names if name in dropped or numberless(name) in self.left}

    def known(self) -> set[str]:
        """Every name that their tensors can have; a block's number stands as `{}`."""
        tables = (self.stem, self.block, *self.further.values())
        tensors = (
            join_leaf(theirs, leaf)
            for table in tables
            for ours, theirs in table.items()
            for leaf in _LEAVES
            if not leaf or f"{ours}.{leaf}" not in table  # a bias may have its own row
        )
        named = {name for theirs in tensors for name in as_parts(theirs) if name is not None}
        return named | self.dropped | self.left

    def tensors(self, ours: str, leaf: str = "") -> tuple[str, ...]:
        """Return their names of one of our tensors; of a block's tensor, those in the first block."""
        theirs = join_leaf(_numbered(self.stem.get(ours) or self.block[ours], 0), leaf)
        return tuple(name for name in as_parts(theirs) if name is not None)


_LEAVES = ("", "weight", "bias")


def as_parts(theirs: Theirs) -> tuple[str | None, ...]:
    """Return their names for one of our tensors as a tuple, also where it is a single name."""
    return (theirs,) if isinstance(theirs, str) else theirs


def join_leaf(theirs: Theirs, leaf: str) -> Theirs:
    """Append `weight` or `bias` to the name of a module."""
    if not isinstance(theirs, str):
        return tuple(name and str(join_leaf(name, leaf)) for name in theirs)
    return theirs + leaf if theirs.endswith("_") or not leaf else f"{theirs}.{leaf}"


def numberless(name: str) -> str:
    """The name with `{}` for its first number."""
    return re.sub(r"\b\d+\b", "{}", name, count=1)


def _numbered(theirs: Theirs, number: int) -> Theirs:
    if isinstance(theirs, str):
        return theirs.format(number)
    return tuple(name and name.format(number) for name in theirs)


def translate(ours: Iterable[str], layout: Layout | None, config: ModelConfig) -> dict[str, Theirs]:
    """Map our tensor names to theirs, but for those that the layout lacks; None is our own layout.

    Raises WeightsError where the layout has no names for such a model.
    """
    if layout is None:
        return {name: name for name in ours}
    modules = layout.names(config)
    translated: dict[str, Theirs] = {}
    for name in ours:
        if layout.lacks and name.startswith(layout.lacks):
            continue
        module, _, leaf = name.rpartition(".")
        if not layout.has(config) or not modules.keys() & {name, module}:
            raise WeightsError(
                f"its tensors are named as {layout.name} does, which has no such model: "
                f"{config.scheme_name} attention, {config.embedding} patches"
            )
        translated[name] = modules[name] if name in modules else join_leaf(modules[module], leaf)
    return translated
