"""`tsf suggest`: which clips to label next."""

from typing import Annotated, Literal

import typer

from timesformer_cli.cli import options
from timesformer_cli.cli.completion import complete_model
from timesformer_cli.errors import ExitCode, UsageError


def suggest(
    context: typer.Context,
    videos: options.Videos,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="The model that is to learn from them: a folder that tsf train wrote.",
            show_default=False,
            autocompletion=complete_model,
        ),
    ],
    count: Annotated[
        int, typer.Option("--count", "-k", min=1, help="How many clips to suggest.")
    ] = 50,
    frames: options.Frames = None,
    stride: options.Stride = None,
    views: options.Views = "1x1",
    device: options.Devices = "auto",
    dtype: options.RunDtype = "auto",
    batch_size: options.BatchSize = 8,
    threads: options.Threads = None,
    fps: options.FramesPerSecond = None,
    decoder: options.Decoder = "auto",
    workers: options.Workers = None,
    timeout: options.Timeout = 60.0,
    format: Annotated[
        Literal["csv", "json", "jsonl"] | None,
        typer.Option(
            help="csv is a table for tsf train, whose labels are to be filled in.",
            show_default="by the suffix of --output, else csv",
            rich_help_panel="Output",
        ),
    ] = None,
    output: options.Output = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Say which clips to label next.

    Those that the model is unsure of come first, each unlike those above it.

    Example: tsf suggest unlabelled/ --model runs/mine -k 50 -o to-label.csv
    """
    from timesformer_cli.cli.answers import complain_of, find_videos_named
    from timesformer_cli.cli.formats import choose_format, require_writable, writing
    from timesformer_cli.cli.progress import locate_shown, with_progress
    from timesformer_cli.cli.show.suggest import RENDERERS
    from timesformer_cli.cli.stderr import claiming, errors_explained, note, quietly, stderr
    from timesformer_cli.inference.classified import Failed
    from timesformer_cli.inference.classify import ClassifyOptions
    from timesformer_cli.inference.process_tuning import use_threads
    from timesformer_cli.library.embed import embed_videos
    from timesformer_cli.library.suggest import suggest_clips
    from timesformer_cli.weights.description import says_several

    with errors_explained(debug), quietly(quiet):
        options.require_devices(device, several=True)
        written = choose_format(format, output, RENDERERS, plain="csv")
        require_writable(output)
        use_threads(threads)
        files, needed = find_videos_named(videos, fps)
        require_writable(output, needed)
        with claiming(output):
            located = locate_shown(model)
            if located.exported:
                raise UsageError(f"{model}: an exported model gives scores only; take its folder")
            several = says_several(located.path)
            clips, crops = options.parse_views(views)
            chosen = options.fill(
                ClassifyOptions,
                context,
                model=located,
                clips=clips,
                crops=crops,
                # Of several labels any may be the least sure one; else the second is enough.
                top_k=1_000_000 if several else 2,
            )
            results = list(
                with_progress(embed_videos(files, chosen, note), len(files), "looking at clips")
            )
            failed = [result for result in results if isinstance(result, Failed)]
            for each in failed:
                complain_of(each)
            read = [result for result in results if not isinstance(result, Failed)]
            found = suggest_clips(read, count, multi_label=several)
            with writing(output) as stream:
                RENDERERS[written](found, stream)
            stderr().print(f"[dim]{len(found)} of {len(read)} clips, {len(failed)} failed[/]")
    raise typer.Exit(ExitCode.SOME_FAILED if failed else ExitCode.OK)
