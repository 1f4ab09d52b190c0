"""`tsf timeline`: what happens when in videos."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from timesformer_cli.cli import options, timeline_options
from timesformer_cli.errors import UsageError
from timesformer_cli.weights.catalogue import DEFAULT

if TYPE_CHECKING:
    from timesformer_cli.cli.answers import Videos
    from timesformer_cli.files import AnyFile
    from timesformer_cli.timelines.journal import Journal
    from timesformer_cli.timelines.options import TimelineOptions
    from timesformer_cli.timelines.results import Timeline, TimelineResult
    from timesformer_cli.timelines.run import TimelineRun
    from timesformer_cli.video.stream import WindowCallback

WITH_WINDOWS = ("json", "jsonl", "html")
WITH_EDITS = ("otio", "edl")

Format = Annotated[
    Literal["table", "json", "jsonl", "csv", "parquet", "html", "srt", "vtt", "otio", "edl"] | None,
    typer.Option(
        help="How to write the answer; html is a page for browsers, srt and vtt are subtitles, otio "
        "and edl are for programs that cut films.",
        show_default="by the suffix of --output, else table",
        rich_help_panel="Output",
    ),
]


def timeline(
    context: typer.Context,
    videos: options.Videos,
    model: options.Model = DEFAULT,
    every: timeline_options.Every = None,
    start: timeline_options.Since = "0",
    end: timeline_options.Until = None,
    frames: options.Frames = None,
    stride: options.Stride = None,
    labels: options.OwnLabels = None,
    template: options.Templates = None,
    none_below: options.NoneBelow = None,
    threshold: timeline_options.Threshold = 0.0,
    smooth: timeline_options.Smooth = "auto",
    cuts: timeline_options.Cuts = True,
    refine: timeline_options.Refine = False,
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
    timeout: options.Timeout = 60.0,
    format: Format = None,
    windows: Annotated[
        bool,
        typer.Option(
            "--windows",
            help="Write the windows and their labels too; for json, jsonl and html.",
            rich_help_panel="Output",
        ),
    ] = False,
    top_k: Annotated[
        int,
        typer.Option(
            "--top-k",
            "-k",
            min=1,
            help="Labels of each window; for --windows.",
            rich_help_panel="Output",
        ),
    ] = 5,
    output: options.Output = None,
    output_dir: options.OutputDir = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the timelines of up to 6 videos: .png, .svg or .pdf.",
            rich_help_panel="Output",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on where an earlier run into the same --output was stopped.",
            rich_help_panel="Output",
        ),
    ] = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Say what happens when in long videos.

    Example: tsf timeline film.mp4 --model camera-motion
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
    from timesformer_cli.cli.draw.style import require_drawable
    from timesformer_cli.cli.draw.timeline import draw_timelines, require_few
    from timesformer_cli.cli.progress import locate_shown
    from timesformer_cli.cli.scale import RAY, require_local, run_on_ray
    from timesformer_cli.cli.show.timeline import FITTED_RENDERERS, ONE_VIDEO, RENDERERS, as_html
    from timesformer_cli.cli.stderr import claiming, errors_explained, quietly
    from timesformer_cli.inference.process_tuning import let_threads_sleep, use_threads
    from timesformer_cli.timelines.options import TimelineOptions

    with (
        errors_explained(debug),
        quietly(quiet),
        claiming(output, plot),
        ExitStack() as stack,
    ):
        options.require_devices(device, several=True)
        if engine == RAY:
            raise typer.Exit(run_on_ray(context))
        require_local(context)
        timeline_options.require_every(every)
        timeline_options.require_threshold(threshold)
        since, until = timeline_options.parse_stretch(start, end)
        chosen = options.fill(
            TimelineOptions,
            context,
            start=since,
            end=until,
            smooth=timeline_options.parse_smooth(smooth),
            **options.parse_labels(labels, template, none_below),
        )
        use_threads(threads)
        let_threads_sleep()  # a decoder works beside the model
        if plot is not None:
            require_drawable(plot)
        renderers = FITTED_RENDERERS if labels is not None else RENDERERS
        written = choose_answer(format, output, output_dir, renderers, beside=[plot])
        require_fitting(written, windows, "top_k" in options.said(context))
        files, needed = found_or_coming(videos, fps, shard, written, output, output_dir, plot)
        known = known_videos(files)
        alone = output_dir is None and written in ONE_VIDEO  # the only video has the only file
        if alone and len(known) > 1:
            raise UsageError(
                f"a file of {written} holds one video, not {len(known)}; --output-dir DIR writes "
                "one for each"
            )
        answers: Mapping[str, Path | None] = {file.path: output for file in known if alone}
        if output_dir is not None:
            answers = answer_files(known, output_dir, written)
        _require_places(output, output_dir, plot, needed)
        if plot is not None:
            require_few(known)
        if may_be_readable(files):
            located = locate_shown(model)
            _require_places(output, output_dir, plot, [*needed, *located.files])
            chosen = replace(chosen, model=located)
        drawn: list[Timeline] = []
        journal = _Journals(stack, output, resume=resume)
        render, seen = renderers[written], None
        if written == "html":
            from timesformer_cli.pages.pictures import FilmStrips

            strips = FilmStrips(len(known))
            render, seen = partial(as_html, strips=strips), strips.window
        results = _results(files, chosen, stack, journal, seen)
        if plot is not None:
            results = _kept(results, drawn)
        if files and (alone or output_dir is not None):
            failed = write_each(results, render, answers)
        else:
            failed = show_results(results, render, output, files)
        if plot is not None:
            draw_timelines(drawn, plot, chosen, fps)
        journal.remove()
    raise typer.Exit(failed)


def require_fitting(format: str, windows: bool, top_k: bool) -> None:
    """Raise UsageError for options that the format has no use for, and for missing packages."""
    if windows and format not in WITH_WINDOWS:
        raise UsageError(f"--windows is for --format json, jsonl or html, not {format}")
    if top_k and not windows:
        raise UsageError("--top-k is the number of labels of each window; it needs --windows")
    if format in WITH_EDITS:
        from timesformer_cli.timelines.edit_lists import require_edit_lists

        require_edit_lists(format)


def _require_places(
    output: Path | None, folder: Path | None, plot: Path | None, inputs: "Sequence[AnyFile]"
) -> None:
    """Raise UsageError where one of the files that are written cannot be, or is an input."""
    from timesformer_cli.cli.formats import require_writable

    if folder is None:
        require_writable(output, inputs, [plot])
    elif plot is not None:
        require_writable(plot, inputs)


class _Journals:
    """The journal beside the output, opened once the model is known; there is none for a stream."""

    def __init__(self, stack: ExitStack, output: Path | None, *, resume: bool) -> None:
        from timesformer_cli.files import is_stream

        self.stack, self.resume = stack, resume
        self.output = None if output is None or is_stream(output) else output
        self.opened: Journal | None = None
        if resume and self.output is None:
            raise UsageError("--resume goes on with the file of --output; name it")

    def open(self, run: "TimelineRun") -> "Journal | None":
        """The journal of this output, for what the run is asked."""
        from timesformer_cli.cli.stderr import note
        from timesformer_cli.timelines.journal import Journal, journal_path

        if self.output is not None:
            path = journal_path(self.output)
            if not self.resume and path.exists():
                note(
                    f"an earlier run into {self.output} was stopped; it is begun anew, since "
                    "--resume is not given"
                )
            journal = Journal(path, run.asked, resume=self.resume)
            self.opened = self.stack.enter_context(journal)
        return self.opened

    def remove(self) -> None:
        """The answer is written, so nothing is left to go on with."""
        if self.opened is not None:
            self.opened.remove()


def _results(
    files: "Videos",
    chosen: "TimelineOptions",
    stack: ExitStack,
    journal: _Journals,
    seen: "WindowCallback | None" = None,
) -> "Iterator[TimelineResult]":
    """The timelines, as they come; the model is opened at once, and closed with the stack."""
    from timesformer_cli.cli.answers import may_be_readable, without_pauses
    from timesformer_cli.cli.stderr import interrupted_at_once, note
    from timesformer_cli.inference.classified import failed

    if not may_be_readable(files):  # nothing to open a model for
        return iter(failed(file.path, file.error) for file in files if file.error is not None)
    with interrupted_at_once():
        from timesformer_cli.cli.timeline_progress import timelines_shown
        from timesformer_cli.timelines.run import TimelineRun
        from timesformer_cli.video.stream import VideoFollower

        follower = VideoFollower(chosen.timeout, debug=chosen.debug, seen=seen)
        run = stack.enter_context(TimelineRun(chosen, note, follower=stack.enter_context(follower)))
    return timelines_shown(run, without_pauses(files), journal.open(run))


def _kept(
    results: "Iterator[TimelineResult]", drawn: "list[Timeline]"
) -> "Iterator[TimelineResult]":
    """Pass the results through, and keep those that can be drawn."""
    from timesformer_cli.inference.classified import Failed

    for result in results:
        if not isinstance(result, Failed):
            drawn.append(result)
        yield result
