"""How others name the tensors that we have: one table for each code base."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import WeightsError

# Their tensor's name; several that lie one after another in ours; None where ours is zero.
Theirs = str | tuple[str | None, ...]

# The scheme names of the transformers configuration and of the official code.
ATTENTION_TYPES = {
    "divided": "divided_space_time",
    "joint": "joint_space_time",
    "space": "space_only",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Another code base's names. `stem` names whole-model modules, `block` those of block `{}`.

    `time` and `space` stand for the two attention passes. A name that ends in `_` runs on into
    `weight` or `bias`. `dropped` are tensors that hold nothing learned. `schemes` are those that
    the code base has; `patch` is how it lays out a patch's pixels, where not as we do.
    """

    name: str
    stem: Mapping[str, str]
    block: Mapping[str, Theirs]
    schemes: frozenset[str] = frozenset(ATTENTION_TYPES)
    dropped: frozenset[str] = frozenset()
    patch: str = "c p q"

    def has(self, config: ModelConfig) -> bool:
        """Whether the code base has such a model."""
        tubelet = config.scheme.tubelet
        return (
            config.attention in self.schemes
            and config.embedding == "linear"
            and config.tubelet == tubelet
        )

    def names(self, config: ModelConfig) -> dict[str, Theirs]:
        """Our module names to theirs, for a model of this configuration."""
        # The space pass is the last of either scheme, the time pass comes before it.
        passes = {"space": f"passes.{len(config.scheme.passes) - 1}", "time": "passes.0"}
        named: dict[str, Theirs] = dict(self.stem)
        for number in range(config.depth):
            for ours, theirs in self.block.items():
                role, _, rest = ours.partition(".")
                if role == "time" and len(config.scheme.passes) == 1:
                    continue
                ours = f"{passes[role]}.{rest}" if role in passes else ours
                named[f"blocks.{number}.{ours}"] = _numbered(theirs, number)
        return named

    def tensors(self, ours: str, leaf: str = "") -> tuple[str, ...]:
        """Their names of a tensor of the whole model or of its first block."""
        theirs = join_leaf(_numbered(self.stem.get(ours) or self.block[ours], 0), leaf)
        return tuple(name for name in as_parts(theirs) if name is not None)


def as_parts(theirs: Theirs) -> tuple[str | None, ...]:
    """Their tensors that make up one of ours, one after another."""
    return (theirs,) if isinstance(theirs, str) else theirs


def join_leaf(theirs: Theirs, leaf: str) -> Theirs:
    """The names of a module's weight or bias."""
    if not isinstance(theirs, str):
        return tuple(name and str(join_leaf(name, leaf)) for name in theirs)
    return theirs + leaf if theirs.endswith("_") or not leaf else f"{theirs}.{leaf}"


def _numbered(theirs: Theirs, number: int) -> Theirs:
    if isinstance(theirs, str):
        return theirs.format(number)
    return tuple(name and name.format(number) for name in theirs)


def translate(ours: Iterable[str], layout: Layout | None, config: ModelConfig) -> dict[str, Theirs]:
    """Our tensor names to theirs; None is our own layout.

    Raises WeightsError where the layout has no names for such a model.
    """
    if layout is None:
        return {name: name for name in ours}
    modules = layout.names(config)
    translated: dict[str, Theirs] = {}
    for name in ours:
        module, _, leaf = name.rpartition(".")
        if not layout.has(config) or not modules.keys() & {name, module}:
            raise WeightsError(
                f"its tensors are named as {layout.name} does, which has no such model: "
                f"{config.attention} attention, {config.embedding} patches"
            )
        translated[name] = modules[name] if name in modules else join_leaf(modules[module], leaf)
    return translated
