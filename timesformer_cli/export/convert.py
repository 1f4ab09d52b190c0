"""Convert a model to the files of another code base, and read them back before saying so."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timesformer_cli.callbacks import NoteCallback, ignore_note
from timesformer_cli.errors import TsfError, UsageError
from timesformer_cli.files import replacing, require_folder
from timesformer_cli.weights.write_layout import WRITTEN, layout_for

if TYPE_CHECKING:
    from torch import Tensor

    from timesformer_cli.model import TimeSformer
    from timesformer_cli.weights.hub.locate import Located

# The entry of a checkpoint in which each code base looks for its tensors, and what its names begin
# with there. None is a folder of safetensors.
ENTRIES: Mapping[str, tuple[str, str] | None] = {
    "transformers": None,
    "official": ("model_state", "model."),
    "mmaction2": ("state_dict", ""),
}
assert ENTRIES.keys() == WRITTEN.keys()


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """A model in the files of another code base, read back and compared."""

    folder: str
    to: str
    layout: str  # what the names of its tensors are called here
    files: tuple[str, ...]
    tensors: int  # that the files hold
    difference: float | None  # of a logit in transformers, at most; None where it was not asked


def convert_model(
    located: "Located", to: str, folder: Path, note: NoteCallback = ignore_note
) -> Converted:
    """Write the folder; every tensor that is read back from it is the one that was written.

    Raises UsageError where the code base has no such model or the folder is there, WeightsError for
    the model, TsfError where what is read back differs.
    """
    from timesformer_cli.weights.load import load_model, load_path
    from timesformer_cli.weights.opened import opens_elsewhere

    require_folder(folder)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder}: is there already; name another --output")
    model, notes = load_model(located)
    for text in notes:
        note(text)
    layout = layout_for(model.config, to)
    if layout is None:
        others = [name for name in WRITTEN if layout_for(model.config, name) is not None]
        kind = f"{model.config.scheme_name} attention, {model.config.embedding} patches"
        there = f"--to {' or '.join([*others, 'onnx'])}"
        raise UsageError(f"{located.name}: {to} has no such model ({kind}); {there} is possible")
    count = _write(model, to, folder)
    again = load_path(folder)[0]
    state = {**again.state_dict()}
    if faults := [n for n, tensor in model.state_dict().items() if not _alike(n, tensor, state[n])]:
        raise TsfError(f"{folder}: {faults[0]} is read back with other numbers; please report this")
    opened = opens_elsewhere(folder, again) if to == "transformers" else None
    return Converted(
        folder=str(folder),
        to=to,
        layout=layout.name,
        files=tuple(sorted(str(path) for path in folder.iterdir())),
        tensors=count,
        difference=None if opened is None else opened.difference,
    )


def _alike(name: str, written: "Tensor", read: "Tensor") -> bool:
    """Whether a tensor is the same bit for bit; keys' biases, which change no score, may be zero."""
    import torch

    if torch.equal(written, read):
        return True
    parts = list(zip(written.chunk(3), read.chunk(3), strict=True))
    same = [torch.equal(one, other) for one, other in parts]
    return name.endswith("qkv.bias") and same == [True, False, True] and not parts[1][1].any()


def _write(model: "TimeSformer", to: str, folder: Path) -> int:
    import torch

    from timesformer_cli.weights.description import WEIGHT_FILES, Description
    from timesformer_cli.weights.load import save_model
    from timesformer_cli.weights.write_folder import write_description
    from timesformer_cli.weights.write_layout import their_tensors

    config, entry = model.config, ENTRIES[to]
    tensors = their_tensors(model.state_dict(), layout_for(config, to), config)
    if entry is None:
        save_model(model, folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        name, prefix = entry
        content: dict[str, Any] = {prefix + each: tensor for each, tensor in tensors.items()}
        with replacing(folder / WEIGHT_FILES[1]) as part:
            torch.save({name: content}, part)
        write_description(folder, Description.of(model))
    return len(tensors)
