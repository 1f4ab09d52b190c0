"""`tsf watch`: labels for what is live."""

import sys
from dataclasses import replace
from typing import Annotated, Literal

import typer

from timesformer_cli.cli import options
from timesformer_cli.weights.catalogue import DEFAULT

LIVE = "Live"  # the panel of the help


def watch(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A camera (0, /dev/video0), a stream (rtsp, rtsps, udp, rtp, tcp, http, https), "
            "- for a stream on stdin, or a file with --follow.",
            show_default=False,
        ),
    ],
    model: options.Model = DEFAULT,
    top_k: Annotated[
        int,
        typer.Option(
            "--top-k", "-k", min=1, help="Labels written for each window.", rich_help_panel="Output"
        ),
    ] = 5,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            metavar="LABEL",
            help="What the answer may be; give it once for each.",
            show_default="all classes",
            rich_help_panel="Output",
        ),
    ] = None,
    template: options.Templates = None,
    none_below: options.NoneBelow = None,
    threshold: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="A lower score is no label.", rich_help_panel="Output"),
    ] = 0.0,
    every: Annotated[
        float | None,
        typer.Option(
            min=0.05,
            metavar="SECONDS",
            help="From the start of a window to the next one's.",
            show_default="half a window",
            rich_help_panel="Sampling",
        ),
    ] = None,
    frames: options.Frames = None,
    stride: options.Stride = None,
    cuts: Annotated[
        bool,
        typer.Option(
            "--cuts",
            help="Find cuts, which no window crosses.",
            show_default=False,
            rich_help_panel="Sampling",
        ),
    ] = False,
    device: options.Device = "auto",
    dtype: options.RunDtype = "auto",
    compile: options.Compile = False,
    batch_size: Annotated[
        int,
        typer.Option(
            min=1,
            help="Windows in one model call; as many may wait, the oldest is dropped.",
            rich_help_panel="Model",
        ),
    ] = 1,
    threads: options.Threads = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="SOURCE is a file that is still being written.",
            rich_help_panel=LIVE,
        ),
    ] = False,
    idle: Annotated[
        float,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="A followed file ends after so long without growth.",
            rich_help_panel=LIVE,
        ),
    ] = 5.0,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.5,
            metavar="SECONDS",
            help="A stream or camera is lost after so long without a picture.",
            rich_help_panel=LIVE,
        ),
    ] = 10.0,
    retries: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="How often in a row a lost stream or camera is opened again.",
            show_default="without end",
            rich_help_panel=LIVE,
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="End so long after the first frame.",
            show_default="with the stream",
            rich_help_panel=LIVE,
        ),
    ] = None,
    format: Annotated[
        Literal["jsonl", "csv"] | None,
        typer.Option(
            help="How to write the answer.",
            show_default="by the suffix of --output, else jsonl; a live table on a terminal",
            rich_help_panel="Output",
        ),
    ] = None,
    output: options.Output = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Say what a camera or a stream shows, as it comes.

    Example: tsf watch rtsp://camera.local/stream --model camera-motion
    """
    from timesformer_cli.cli.formats import choose_format, require_writable
    from timesformer_cli.cli.progress import locate_shown
    from timesformer_cli.cli.show.watch import RENDERERS, show_watched
    from timesformer_cli.cli.stderr import (
        claiming,
        errors_explained,
        interrupted_at_once,
        note,
        quietly,
    )
    from timesformer_cli.dataset.own_labels import as_own_labels, asked_of_model
    from timesformer_cli.errors import VideoError
    from timesformer_cli.files import AnyFile
    from timesformer_cli.inference.process_tuning import use_threads
    from timesformer_cli.timelines.watch import Watcher, WatchOptions
    from timesformer_cli.video.live.reader import LiveReader
    from timesformer_cli.video.live.source import find_source

    with errors_explained(debug), quietly(quiet), claiming(output):
        options.require_devices(device)
        asked = asked_of_model(as_own_labels(labels or None), template, none_below)
        found = find_source(source, follow=follow, timeout=timeout, idle=idle)
        chosen = options.fill(WatchOptions, context, **asked)
        use_threads(threads)
        read: list[AnyFile] = [found.target] if found.kind == "file" else []
        require_writable(output, read + ([0] if found.kind == "pipe" else []))
        written = choose_format(format, output, RENDERERS)
        written = written if written in RENDERERS else "jsonl"  # nothing says which
        with LiveReader(found, debug=debug) as reader:
            try:
                reader.open()
            except VideoError as error:
                raise VideoError(error.kind, f"{found.name}: {error}") from None
            located = locate_shown(model)
            require_writable(output, [*read, *located.files])
            with interrupted_at_once():  # torch is imported
                watcher = Watcher(reader, replace(chosen, model=located), note)
            with watcher:
                table = format is None and sys.stdout.isatty()
                show_watched(watcher.events(), found.name, written, output, table=table)
