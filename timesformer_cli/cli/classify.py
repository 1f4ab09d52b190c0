"""`tsf classify`: labels for videos."""

import sys
from itertools import chain, islice
from typing import Annotated, Literal

import typer

from timesformer_cli.cli import options
from timesformer_cli.errors import UsageError
from timesformer_cli.weights.catalogue import DEFAULT

Format = Annotated[
    Literal["table", "json", "jsonl", "csv"] | None,
    typer.Option(
        help="How to write the answer.",
        show_default="by the suffix of --output, else table",
        rich_help_panel="Output",
    ),
]


def classify(
    videos: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEO",
            help="Video files, folders, globs, or - for paths on stdin.",
            show_default=False,
        ),
    ],
    model: options.Model = DEFAULT,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", min=1, help="Labels shown.", rich_help_panel="Output")
    ] = 5,
    frames: options.Frames = None,
    stride: options.Stride = None,
    views: options.Views = "1x1",
    device: options.Devices = "auto",
    dtype: options.RunDtype = "auto",
    compile: options.Compile = False,
    batch_size: options.BatchSize = 8,
    decoder: options.Decoder = "auto",
    workers: options.Workers = None,
    timeout: options.Timeout = 60.0,
    format: Format = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """Say what each video shows.

    Example: tsf classify clip.mp4 --model camera-motion
    """
    from timesformer_cli.cli import render, report
    from timesformer_cli.inference import classify as task
    from timesformer_cli.video import find_videos

    with report.errors_explained(debug):
        clips, crops = parse_views(views)
        chosen = task.Options(
            model=model,
            top_k=top_k,
            frames=frames,
            stride=stride,
            clips=clips,
            crops=crops,
            device=device,
            dtype=dtype,
            compile=compile,
            batch_size=batch_size,
            workers=workers,
            timeout=timeout,
            decoder=decoder,
            debug=debug,
        )
        render.check_output(output)
        items = find_videos(videos, sys.stdin)
        if any(item.error is None for item in items):
            with report.transfer() as progress:
                task.fetch(model, progress)
        results = report.with_progress(
            task.run(items, chosen, report.note), len(items), "classifying"
        )
        with report.interrupted_at_once():  # torch is imported before the first result
            first = list(islice(results, 1))
        form = render.choose_format(format, output)
        failed = render.show(chain(first, results), form, output, items)
    raise typer.Exit(failed)


def parse_views(text: str) -> tuple[int, int]:
    """`4x3` as clips and crops; raises UsageError."""
    clips, _, crops = text.partition("x")
    if not (clips.isdecimal() and crops in ("1", "3") and 1 <= int(clips) <= 1000):
        raise UsageError(f"--views is CLIPSxCROPS with 1 or 3 crops, such as 1x3; got '{text}'")
    return int(clips), int(crops)
