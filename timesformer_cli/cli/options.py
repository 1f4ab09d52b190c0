"""Option types that several commands share, written once."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from timesformer_cli.cli.completion import complete_device, complete_model
from timesformer_cli.errors import UsageError

T = TypeVar("T")
LABELS = "Labels"  # the panel of the help
Videos = Annotated[
    list[str],
    typer.Argument(
        metavar="VIDEO",
        help="Video files, folders, globs, or - for paths on stdin.",
        show_default=False,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="A name (base-k400, camera-motion, ...), a folder, a checkpoint file, "
        "or a hub id (org/name, org/name@revision).",
        autocompletion=complete_model,
        rich_help_panel="Model",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda, cuda:N or mps.",
        autocompletion=complete_device,
        envvar="TSF_DEVICE",
        rich_help_panel="Model",
    ),
]
Devices = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda, cuda:N or mps; several with commas, one process for each.",
        autocompletion=complete_device,
        envvar="TSF_DEVICE",
        rich_help_panel="Model",
    ),
]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    typer.Option(
        help="auto: bfloat16 where the hardware computes in it, else float32.",
        rich_help_panel="Model",
    ),
]
RunDtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16", "int8"],
    typer.Option(
        help="auto: bfloat16 where the hardware computes in it, else float32; int8 is for CPUs.",
        rich_help_panel="Model",
    ),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the model with torch.compile; meant for many clips on CUDA.",
        rich_help_panel="Model",
    ),
]
BatchSize = Annotated[
    int, typer.Option(min=1, help="Views in one model call.", rich_help_panel="Model")
]
Frames = Annotated[
    int | None,
    typer.Option(
        min=1, help="Frames in a clip.", show_default="the model's", rich_help_panel="Sampling"
    ),
]
Stride = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Distance between two frames of a clip, in frames of a 30-fps video.",
        show_default="the model's",
        rich_help_panel="Sampling",
    ),
]
Views = Annotated[
    str,
    typer.Option(
        metavar="CLIPSxCROPS",
        help="How many clips, spread over the video, and how many crops (1 or 3) of each; "
        "their scores are averaged.",
        rich_help_panel="Sampling",
    ),
]
OwnLabels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="LABEL,...",
        help="What the answer may be: some of the model's classes, or words of your own where the "
        "model takes words; with commas between them, or a file with one a line.",
        show_default="all classes",
        rich_help_panel=LABELS,
    ),
]
Templates = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        metavar="TEXT",
        help="What says a label of your own, with {} where it goes; several are averaged.",
        show_default="the model's",
        rich_help_panel=LABELS,
    ),
]
NoneBelow = Annotated[
    float | None,
    typer.Option(
        "--none-below",
        metavar="SIMILARITY",
        help="A label that is less similar is no answer; without one the answer is none.",
        show_default="every label is an answer",
        rich_help_panel=LABELS,
    ),
]
FramesPerSecond = Annotated[
    float | None,
    typer.Option(
        "--fps",
        min=0.001,
        max=1000,
        help="Read folders of pictures as videos of so many frames a second.",
        show_default="folders are searched for videos",
        rich_help_panel="Decoding",
    ),
]
LabelledRate = Annotated[
    float | None,
    typer.Option(
        "--fps",
        min=0.001,
        max=1000,
        help="Read folders of pictures as videos of so many frames a second; also the rate of times "
        "that DATA counts in frames.",
        show_default="folders are searched for videos",
        rich_help_panel="Data",
    ),
]
LabelsFrom = Annotated[
    str | None,
    typer.Option(
        metavar="HOW",
        help="Where a folder has its labels: parent (the folder of a clip), grandparent, or a pattern "
        "of the path whose first bracket is the label.",
        show_default="the folders in DATA, or in its train, val and test",
        rich_help_panel="Data",
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Take only the I-th of N shares of the videos, which their paths decide: for N machines "
        "with one list. tsf merge puts the parts together.",
        show_default="all",
        rich_help_panel="Sampling",
    ),
]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(
        help="ray: on a cluster, by Ray Data, for many videos; they may lie at s3://, gs:// and "
        "https://, in tar shards, or be named by LIST.parquet#COLUMN. -o is a folder of Parquet parts.",
        rich_help_panel="Cluster",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="auto|HOST:PORT",
        help="With --engine ray: where the cluster is.",
        show_default="a cluster of this machine alone",
        rich_help_panel="Cluster",
    ),
]
Decoder = Annotated[
    Literal["auto", "decord", "av", "opencv", "torchcodec"],
    typer.Option(
        help="auto: PyAV, then decord (with checks), then OpenCV. torchcodec decodes on a GPU.",
        rich_help_panel="Decoding",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Decoder processes.",
        show_default="one per processor",
        rich_help_panel="Decoding",
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        min=0.1,
        metavar="SECONDS",
        help="Longest time without progress on one file.",
        rich_help_panel="Decoding",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write the answer to this file.", rich_help_panel="Output"),
]
OutputDir = Annotated[
    Path | None,
    typer.Option(
        "--output-dir",
        metavar="DIR",
        help="Write a file for each video into this folder, as JSON or --format says.",
        rich_help_panel="Output",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="Processors that a model computes on, in each process.",
        show_default="all",
        rich_help_panel="Model",
    ),
]
MultiLabel = Annotated[
    bool,
    typer.Option(
        "--multi-label",
        help="Score each class by itself (sigmoid): a video may have several labels, or none.",
        rich_help_panel="Model",
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Of several labels, those with this score or more.",
        show_default="the model's own for each class, else 0.5",
        rich_help_panel="Model",
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Only errors on stderr: no progress, no notes.",
        rich_help_panel="Output",
    ),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel="Output"),
]


def fill(kind: type[T], context: typer.Context, /, **own: Any) -> T:
    """Make a command's options object from its parameters and from `own` values, which win.

    A parameter fills the field of the same name, so an option is written once: where it is
    declared.
    """
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    given = {name: value for name, value in context.params.items() if name in names}
    return kind(**given | own)


def parse_labels(
    labels: str | None, template: list[str] | None, none_below: float | None = None
) -> dict[str, Any]:
    """The fields of an options object that say what the answer may be; raises UsageError."""
    from timesformer_cli.dataset.own_labels import asked_of_model, parse_own_labels

    return asked_of_model(parse_own_labels(labels), template, none_below)


def parse_views(text: str) -> tuple[int, int]:
    """`4x3` as clips and crops; raises UsageError."""
    clips, _, crops = text.partition("x")
    if not (clips.isdecimal() and crops in ("1", "3") and 1 <= int(clips) <= 1000):
        raise UsageError(f"--views is CLIPSxCROPS with 1 or 3 crops, such as 1x3; got '{text}'")
    return int(clips), int(crops)


def parse_shard(text: str | None) -> tuple[int, int]:
    """`3/16` as the number of a share, from 1, and of all shares; raises UsageError."""
    number, slash, count = ("1/1" if text is None else text).partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UsageError(f"--shard is I/N with I from 1 to N, such as 3/16; got '{text}'")
    return int(number), int(count)


def require_devices(names: str, *, several: bool = False) -> None:
    """Raise UsageError for a word that names no device; `several` takes a list with commas."""
    from timesformer_cli.inference.device_names import require_device_name

    for name in names.split(",") if several else [names]:
        require_device_name(name)


def said(context: typer.Context) -> dict[str, Any]:
    """The parameters that the command line gives, without those that have their default."""
    return {
        name: value
        for name, value in context.params.items()
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
    }
