"""`tsf classify`: labels for videos."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

import typer

from timesformer_cli.cli import options
from timesformer_cli.weights.catalogue import DEFAULT

Format = Annotated[
    Literal["table", "json", "jsonl", "csv", "parquet", "html"] | None,
    typer.Option(
        help="How to write the answer; html is a page for browsers.",
        show_default="by the suffix of --output, else table",
        rich_help_panel="Output",
    ),
]


def classify(
    context: typer.Context,
    videos: options.Videos,
    model: options.Model = DEFAULT,
    top_k: Annotated[
        int,
        typer.Option(
            "--top-k", "-k", min=1, help="Labels shown for each video.", rich_help_panel="Output"
        ),
    ] = 5,
    labels: options.OwnLabels = None,
    template: options.Templates = None,
    none_below: options.NoneBelow = None,
    frames: options.Frames = None,
    stride: options.Stride = None,
    views: options.Views = "1x1",
    multi_label: options.MultiLabel = False,
    threshold: options.Threshold = None,
    device: options.Devices = "auto",
    dtype: options.RunDtype = "auto",
    compile: options.Compile = False,
    batch_size: options.BatchSize = 8,
    threads: options.Threads = None,
    fps: options.FramesPerSecond = None,
    shard: options.Shard = None,
    engine: options.Engine = "local",
    address: options.Address = None,
    decoder: options.Decoder = "auto",
    workers: options.Workers = None,
    timeout: options.Timeout = 60.0,
    format: Format = None,
    output: options.Output = None,
    output_dir: options.OutputDir = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Say what each video shows.

    Example: tsf classify clip.mp4 --model camera-motion
    """
    from timesformer_cli.cli.answers import (
        answer_files,
        choose_answer,
        found_or_coming,
        known_videos,
        may_be_readable,
        show_results,
        write_each,
    )
    from timesformer_cli.cli.formats import require_writable
    from timesformer_cli.cli.progress import first_at_once, locate_shown, with_progress
    from timesformer_cli.cli.scale import RAY, require_local, run_on_ray
    from timesformer_cli.cli.show.classify import FITTED_RENDERERS, RENDERERS, as_html
    from timesformer_cli.cli.stderr import (
        claiming,
        errors_explained,
        note,
        quietly,
    )
    from timesformer_cli.inference.classify import ClassifyOptions, classify_videos
    from timesformer_cli.inference.process_tuning import use_threads

    with errors_explained(debug), quietly(quiet), claiming(output):
        options.require_devices(device, several=True)
        if engine == RAY:
            raise typer.Exit(run_on_ray(context))
        require_local(context)
        clips, crops = options.parse_views(views)
        asked = options.parse_labels(labels, template, none_below)
        chosen = options.fill(ClassifyOptions, context, clips=clips, crops=crops, **asked)
        use_threads(threads)
        renderers = FITTED_RENDERERS if labels is not None else RENDERERS
        written = choose_answer(format, output, output_dir, renderers)
        files, needed = found_or_coming(videos, fps, shard, written, output, output_dir)
        answers = {} if output_dir is None else answer_files(list(files), output_dir, written)
        if output_dir is None:
            require_writable(output, needed)
        if may_be_readable(files):
            located = locate_shown(model)
            if output_dir is None:
                require_writable(output, located.files)
            chosen = replace(chosen, model=located)
        render, seen = renderers[written], None
        if written == "html":
            from timesformer_cli.pages.pictures import FramePictures

            pictures = FramePictures(len(known_videos(files)))
            render, seen = partial(as_html, pictures=pictures), pictures.seen
        running = classify_videos(files, chosen, note, seen)
        results = with_progress(running, len(known_videos(files)), "classifying")
        every = first_at_once(results)
        if output_dir is None:
            failed = show_results(every, render, output, files)
        else:
            failed = write_each(every, render, answers)
    raise typer.Exit(failed)
