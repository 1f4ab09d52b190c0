"""Which other programs open a model folder, and proof of it where the program is installed."""

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.write_layout import WRITTEN, layout_for

if TYPE_CHECKING:
    from timesformer_cli.model import TimeSformer

LARGEST = 1e-3  # difference of a logit, above which the folder is not what it should be


@dataclass(frozen=True, kw_only=True, slots=True)
class OpensElsewhere:
    """What is known of a folder beside `tsf`."""

    converts: tuple[str, ...]  # code bases that have such a model: what `tsf convert --to` takes
    transformers: bool  # whether AutoModelForVideoClassification opens it as it is
    per_frame: bool = False  # whether that gives a row of logits for each frame
    difference: float | None = None  # largest of a logit, on a random clip; None: was not tried


def opens_elsewhere(folder: Path, model: "TimeSformer") -> OpensElsewhere:
    """Which programs open the folder; where transformers is installed, it opens it and is compared.

    Raises WeightsError where it gives other logits than the model.
    """
    config = model.config
    converts = tuple(name for name in WRITTEN if layout_for(config, name) is not None)
    there = "transformers" in converts
    per_frame = there and config.scheme.cls_per_frame
    difference = None
    if there and not per_frame and importlib.util.find_spec("transformers") is not None:
        difference = _difference(folder, model)
        if not difference <= LARGEST:  # written so that NaN is refused too
            raise WeightsError(
                f"{folder}: transformers opens it with other logits, by up to {difference:.2g}; "
                "please report this"
            )
    return OpensElsewhere(
        converts=converts, transformers=there, per_frame=per_frame, difference=difference
    )


def in_words(config: ModelConfig, opens: OpensElsewhere) -> str:
    """The same as sentences, in Markdown, for a card."""
    if not opens.converts:
        lacks = f"{config.scheme_name} attention"
        if config.embedding != "linear":
            lacks = "patches that are a convolutional stem"
        return f"Only `tsf` and the files of `tsf export` run it: other programs have no {lacks}."
    said = "`tsf` opens this folder"
    if opens.transformers:
        said += ", and so does transformers' `AutoModelForVideoClassification`"
    if opens.difference is not None:
        said += f" (of a random clip, the logits differ by {opens.difference:.0e} at most)"
    if opens.per_frame:
        said += ", which gives a row of logits for each frame in place of one for the clip"
    return f"{said}. `tsf convert --to` takes {', '.join(f'`{name}`' for name in opens.converts)}."


def _difference(folder: Path, model: "TimeSformer") -> float:
    import torch

    config = model.config
    generator = torch.Generator().manual_seed(0)
    clip = torch.randn(
        1, config.frames, config.channels, config.height, config.width, generator=generator
    )
    with _quietly():
        from transformers import AutoModelForVideoClassification

        other = AutoModelForVideoClassification.from_pretrained(folder, local_files_only=True)
        with torch.no_grad():
            logits = other.float().eval()(clip).logits
    with torch.no_grad():
        ours = model.float().cpu().eval()(clip)
    return float((logits - ours).abs().max())


@contextmanager
def _quietly() -> Iterator[None]:
    """Inside the block transformers draws no bars and says errors only."""
    from transformers.utils import logging as theirs

    level = theirs.get_verbosity()
    bars = theirs.is_progress_bar_enabled()
    theirs.set_verbosity(logging.ERROR)
    theirs.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()  # type: ignore[no-untyped-call]
