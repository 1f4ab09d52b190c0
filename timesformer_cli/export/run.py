"""Export a model: write the file, prove it, and only then put it in its place."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from timesformer_cli.callbacks import NoteCallback, StepCallback, ignore_note, ignore_step
from timesformer_cli.dataset.own_labels import OwnLabel
from timesformer_cli.errors import TsfError, UsageError
from timesformer_cli.export.proof import Kind, Proof, prove
from timesformer_cli.files import deliver, hidden_folder, is_stream, require_output
from timesformer_cli.weights.catalogue import DEFAULT

if TYPE_CHECKING:
    from timesformer_cli.inference.exported.manifest import Manifest
    from timesformer_cli.model import TimeSformer
    from timesformer_cli.weights.hub.locate import Located

SUFFIXES: dict[Kind, str] = {"onnx": ".onnx", "pt2": ".pt2", "aoti": ".aoti.pt2"}
OPSET, OLDEST, NEWEST = 20, 18, 23  # of ONNX: the default, and what torch exports
DTYPES = ("float32", "float16", "bfloat16", "int8")
# Dtypes that a format cannot hold or that its runtime cannot compute, with the reason.
WITHOUT = {
    ("onnx", "bfloat16"): "onnxruntime does not compute in it on the CPU; give float16, or --pt2",
    ("pt2", "int8"): "only an .onnx is rounded to int8; give bfloat16, or --onnx",
    ("aoti", "int8"): "only an .onnx is rounded to int8; give bfloat16, or --onnx",
}
# Largest difference of a logit; the logits of published models reach from about -5 to 15.
TOLERANCES = {"float32": 1e-4, "float16": 0.05, "bfloat16": 0.5, "int8": 1.0}
STEPS = ("reading the model", "writing the file", "proving it")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """The options of `tsf export`."""

    model: str = DEFAULT
    kind: Kind = "onnx"
    output: Path | None = None  # None means `target`
    batch: int | None = None  # clips per call; None means any number
    frames: int | None = None  # per clip; None means as the model was trained
    image_size: int | None = None  # pixels; None means as the model was trained
    opset: int | None = None  # of ONNX; None means `OPSET`
    dtype: str = "float32"
    pixels: bool = False  # whether the graph takes pixels instead of normalised clips
    tolerance: float | None = None  # largest difference of a logit; None means that of the dtype
    labels: tuple[OwnLabel, ...] = ()  # that become the classes; empty means the model's own
    templates: tuple[str, ...] = ()  # that say a label of one's own words; empty means the model's
    overwrite: bool = False
    version: str = ""  # of tsf; it is written into the file

    @property
    def target(self) -> Path:
        """Where the file goes: by default into the current folder, under the model's name."""
        if self.output is not None:
            return self.output
        name = Path(self.model).name.replace("@", "-").replace(":", "-")
        stem = name if self.dtype == "float32" else f"{name}-{self.dtype}"
        return Path(f"{stem}{SUFFIXES[self.kind]}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """A file that was written, loaded again and compared with its model."""

    files: tuple[str, ...]  # all that belong together; the last is the one to open
    kind: Kind
    model: str
    revision: str  # of the model's weights
    dtype: str
    opset: int | None  # None for other formats than ONNX
    input: str  # the kind of clip that the graph takes, in words
    shape: tuple[int | None, ...]  # of that input; None for any number of clips
    bytes: int  # of all files
    weight_bytes: int  # of the weights in float32
    tolerance: float
    proof: Proof
    warnings: tuple[str, ...] = ()


def validate_export_options(options: ExportOptions) -> None:
    """Raise UsageError, before any work is done, for options that no file can be written with."""
    target, kind = options.target, options.kind
    suffix = Path(options.model + SUFFIXES[kind]).suffix
    if target.suffix != suffix and not is_stream(target):
        raise UsageError(f"{target}: a file of --{kind} ends in {suffix}")
    require_output(target)
    if target.exists() and not options.overwrite and not is_stream(target):
        raise UsageError(f"{target}: is there already; give --overwrite, or another --output")
    if options.dtype not in DTYPES:
        raise UsageError(f"no dtype '{options.dtype}'; there are {', '.join(DTYPES)}")
    if reason := WITHOUT.get((kind, options.dtype)):
        raise UsageError(f"--{kind} --dtype {options.dtype}: {reason}")
    if options.opset is not None and kind != "onnx":
        raise UsageError(f"--opset is ONNX's; leave it out with --{kind}")
    if options.opset is not None and not OLDEST <= options.opset <= NEWEST:
        raise UsageError(
            f"--opset {options.opset}: torch exports {OLDEST} to {NEWEST}; {OPSET} is the default"
        )
    if kind == "onnx":
        from timesformer_cli.inference.exported.onnx_file import require_packages

        require_packages("onnx", "onnxscript", "onnxruntime")


def export_model(
    options: ExportOptions,
    located: "Located | None" = None,
    note: NoteCallback = ignore_note,
    watch: StepCallback = ignore_step,
) -> Exported:
    """Write the file, run it and compare it; it appears whole and proven, or not at all.

    `located` is what the model's name means, where that is already known. `note` hears what had to
    be assumed, `watch` which step is next. Raises UsageError for options that do not fit or a place
    that cannot be written, WeightsError for the model, DeviceError where no compiler works, and
    TsfError where the file gives other answers than the model.
    """
    validate_export_options(options)
    watch(0, len(STEPS), STEPS[0])
    from timesformer_cli.inference.process_tuning import collect_memory
    from timesformer_cli.weights.hub.locate import locate
    from timesformer_cli.weights.load import load_model

    located = located or locate(options.model)
    require_output(options.target, located.files)
    model, notes = load_model(located)
    for text in notes:
        note(text)
    scale = _narrow(model, located, options, note)
    shaped = _shaped(model, options)
    manifest = _manifest(shaped, located, options)
    tolerance = (
        scale * TOLERANCES[options.dtype] if options.tolerance is None else options.tolerance
    )
    with _beside(options.target) as folder:
        watch(1, len(STEPS), STEPS[1])
        streamed = is_stream(options.target)
        written = folder / (f"model{SUFFIXES[options.kind]}" if streamed else options.target.name)
        weight_bytes = _write(shaped, manifest, written, options)
        del shaped  # a resized copy has to go before the file's weights are loaded
        collect_memory()  # what was traced, which holds another, refers to itself
        watch(2, len(STEPS), STEPS[2])
        proof = prove(model, manifest, written, options.kind)
        if not proof.difference <= tolerance:  # written so that NaN is refused too
            raise TsfError(
                f"{options.target}: not kept: its logits differ from the model's by up to "
                f"{proof.difference:.2g}, more than --tolerance {tolerance:g}"
            )
        # Reversed, `<name>.data` comes before `<name>`: a graph never stands without its tensors.
        files = sorted(folder.iterdir(), reverse=True)
        sizes = [file.stat().st_size for file in files]
        if streamed and len(files) > 1:
            raise UsageError(
                f"{options.target}: a model of more than 2 GB is two files; name a file on a disk"
            )
        targets = [
            options.target if streamed else options.target.with_name(file.name) for file in files
        ]
        for file, place in zip(files, targets, strict=True):
            deliver(file, place)
    return Exported(
        files=tuple(str(target) for target in targets),
        kind=options.kind,
        model=options.model,
        revision=manifest.revision,
        dtype=options.dtype,
        opset=(options.opset or OPSET) if options.kind == "onnx" else None,
        input=manifest.input,
        shape=manifest.shape,
        bytes=sum(sizes),
        weight_bytes=weight_bytes,
        tolerance=tolerance,
        proof=proof,
        warnings=_warnings(options),
    )


def _narrow(
    model: "TimeSformer", located: "Located", options: ExportOptions, note: NoteCallback
) -> float:
    """Make the labels that were asked for the model's classes; returns the scale of its logits.

    Raises UsageError where the model takes words and none were given, or has no such classes.
    """
    if not options.labels and not options.templates and model.text is None:
        return 1.0
    from timesformer_cli.inference.classify import ClassifyOptions
    from timesformer_cli.inference.words import answer_with, choose_labels

    asked = ClassifyOptions(labels=options.labels, templates=options.templates)
    choice = choose_labels(asked, located.name, note, model, located)
    answer_with(model, choice)
    return 1.0 if choice.vectors is None else 1 / choice.temperature


def _warnings(options: ExportOptions) -> tuple[str, ...]:
    import torch

    from timesformer_cli.inference.device import DTYPES, slow_dtype

    if options.kind == "onnx":  # onnxruntime has ways of its own
        return ()
    slow = slow_dtype(DTYPES[options.dtype], torch.device("cpu"))
    return (slow,) if slow else ()


def _shaped(model: "TimeSformer", options: ExportOptions) -> "TimeSformer":
    """The model for clips of the shape asked for, with its position tables resized if need be."""
    from timesformer_cli.model.inflate import inflate

    config, (height, width) = model.config, model.preprocessing.crop
    side = options.image_size
    target = replace(
        config,
        frames=options.frames or model.sampling.frames,
        height=side or height,
        width=side or width,
    )
    return model if target == config else inflate(model, target)


def _manifest(model: "TimeSformer", located: "Located", options: ExportOptions) -> "Manifest":
    from timesformer_cli.inference.exported.manifest import Manifest
    from timesformer_cli.weights.description import Description
    from timesformer_cli.weights.revision import revision_of

    path = Path(options.model)
    return Manifest(
        description=Description.of(model),
        dtype=options.dtype,
        pixels=options.pixels,
        batch=options.batch,
        source=path.name if path.exists() else options.model,
        revision=revision_of(located),
        version=options.version,
    )


def _write(model: "TimeSformer", manifest: "Manifest", path: Path, options: ExportOptions) -> int:
    from timesformer_cli.export import write

    if options.kind == "onnx":
        return write.write_onnx(model, manifest, path, options.opset or OPSET)
    return (write.write_pt2 if options.kind == "pt2" else write.write_aoti)(model, manifest, path)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A hidden folder beside the target; errors of the disk become UsageErrors."""
    try:
        with hidden_folder(target) as folder:
            yield folder
    except OSError as error:
        raise UsageError(f"{target}: cannot be written ({error.strerror or error})") from error
