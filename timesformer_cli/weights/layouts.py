"""Foreign checkpoints recognised and read by their names."""

from collections.abc import Iterable

from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.names import (
    MMACTION2,
    MMACTION2_DIVIDED,
    OFFICIAL,
    TRANSFORMERS,
    Layout,
    Theirs,
    join,
)
from timesformer_cli.weights.names_of_relatives import (
    LUCIDRAINS,
    LUCIDRAINS_SHIFT,
    VIDEOMAE,
    VIVIT,
)

# A timm ViT is a space-only model in the official layout: the same names, without the video ones.
LAYOUTS = (
    TRANSFORMERS,
    OFFICIAL,
    MMACTION2_DIVIDED,
    MMACTION2,
    VIVIT,
    VIDEOMAE,
    LUCIDRAINS,
    LUCIDRAINS_SHIFT,
)


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
        translated[name] = modules[name] if name in modules else join(modules[module], leaf)
    return translated


def detect(names: Iterable[str]) -> Layout | None:
    """The layout a checkpoint is written in, by its keys; None is our own.

    The one that knows most of them, so that a key too few is told as that and no more. Raises
    WeightsError for keys of no known layout.
    """
    names = set(names)
    if any(".passes." in name for name in names):
        return None

    def known(layout: Layout) -> int:
        modules = layout.stem.keys() | layout.block.keys()
        every = {
            name for ours in modules for leaf in _LEAVES for name in layout.tensors(ours, leaf)
        }
        return len(every & names)

    best = max(LAYOUTS, key=known)
    if not known(best):
        shown = ", ".join(sorted(names)[:3]) or "none at all"
        raise WeightsError(
            f"its tensors are those of no TimeSformer layout we know (keys: {shown})"
        )
    return best


_LEAVES = ("", "weight", "bias")
