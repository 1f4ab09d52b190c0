"""`tsf embed`: videos as vectors."""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from timesformer_cli.cli import options, timeline_options
from timesformer_cli.errors import ExitCode, UsageError
from timesformer_cli.weights.catalogue import DEFAULT

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from timesformer_cli.cli.answers import Videos
    from timesformer_cli.inference.scorer import AnyModel
    from timesformer_cli.library.embed import EmbedResult
    from timesformer_cli.library.journal import EmbedJournal
    from timesformer_cli.video import VideoPath
    from timesformer_cli.weights.hub.locate import Located

FOR_WINDOWS = {"start": "--from", "end": "--to", "cuts": "--cuts"}
# What the vectors depend on, but for the weights; what a journal must agree with.
MAKING = (
    "every start end cuts frames stride views device dtype batch_size fps decoder normalise top_k"
).split()
FOR_CLIPS = {"views": "--views", "workers": "--workers"}


def embed(
    context: typer.Context,
    videos: options.Videos,
    model: options.Model = DEFAULT,
    every: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="A vector for each window, and one window every so many seconds.",
            show_default="one vector for each video",
            rich_help_panel="Sampling",
        ),
    ] = None,
    start: timeline_options.Since = "0",
    end: timeline_options.Until = None,
    cuts: Annotated[
        bool,
        typer.Option(
            "--cuts/--no-cuts",
            help="With --every: no window crosses a cut.",
            rich_help_panel="Sampling",
        ),
    ] = True,
    frames: options.Frames = None,
    stride: options.Stride = None,
    views: options.Views = "1x1",
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
    normalise: Annotated[
        bool,
        typer.Option(
            "--normalise",
            help="Give every vector length 1: the product of two is then their cosine.",
            rich_help_panel="Output",
        ),
    ] = False,
    top_k: Annotated[
        int,
        typer.Option(
            "--top-k",
            "-k",
            min=1,
            help="Labels beside each vector; the .csv of npy has the best one.",
            rich_help_panel="Output",
        ),
    ] = 5,
    format: Annotated[
        Literal["jsonl", "npy", "parquet", "lance"] | None,
        typer.Option(
            help="How to write the vectors. npy has a .csv beside it that says what each row is; "
            "lance is a library for tsf search, which grows by what is new.",
            show_default="by the suffix of --output, else jsonl",
            rich_help_panel="Output",
        ),
    ] = None,
    output: options.Output = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on where an earlier run into the same --output was stopped; a library always "
            "does.",
            rich_help_panel="Output",
        ),
    ] = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write videos, or their windows, as vectors.

    A vector is what the model sees of them.

    Example: tsf embed videos/ --model camera-motion -o vectors.npy
    """
    from timesformer_cli.cli.formats import choose_format
    from timesformer_cli.cli.scale import RAY, require_local, run_on_ray
    from timesformer_cli.cli.show.embed import FORMATS, LIBRARY
    from timesformer_cli.cli.stderr import claiming, errors_explained, quietly
    from timesformer_cli.inference.process_tuning import use_threads

    given = options.said(context)
    with errors_explained(debug), quietly(quiet):
        options.require_devices(device, several=True)
        require_fitting_clips(given, windows=every is not None)
        if engine == RAY:
            raise typer.Exit(run_on_ray(context))
        require_local(context)
        written = choose_format(format, output, dict.fromkeys(FORMATS), plain="jsonl")
        if written == "npy" and "top_k" in given:
            raise UsageError("--top-k is for the other formats; npy has the best label only")
        use_threads(threads)
        if written == LIBRARY:
            if output is None:
                raise UsageError("--format lance needs a folder; name it with -o")
            failed = _fill(context, output)
        else:
            with claiming(output):
                failed = _write(context, written, output)
    raise typer.Exit(failed)


def _write(context: typer.Context, written: str, output: Path | None) -> ExitCode:
    """Write the vectors to a file, or to stdout."""
    from timesformer_cli.cli.answers import (
        found_or_coming,
        may_be_readable,
        noting,
        show_results,
        summary,
    )
    from timesformer_cli.cli.formats import require_writable
    from timesformer_cli.cli.progress import first_at_once, locate_shown
    from timesformer_cli.cli.show.embed import NPY, RENDERERS, table_beside, write_npy
    from timesformer_cli.files import is_stream

    asked = context.params
    beside: list[Path | None] = []
    if written == NPY:
        if output is None or is_stream(output):
            raise UsageError("--format npy needs a file; name it with -o")
        beside = [table_beside(output)]
    require_writable(output, beside=beside)
    files, needed = found_or_coming(asked["videos"], asked["fps"], asked["shard"], written, output)
    require_writable(output, needed, beside)
    located: Located | None = None
    if may_be_readable(files):
        located = locate_shown(asked["model"], bare=True)
        require_writable(output, [*needed, *located.files], beside)
    with _journal(context, output, located) as journal:
        todo = files if journal is None else [file for file in files if file.path not in journal]
        results = first_at_once(_results(context, todo, located or asked["model"]))
        if journal is not None:
            results = journal.joined([file.path for file in files], results)
        if written in RENDERERS:
            failed = show_results(results, RENDERERS[written], output, files)
        else:
            assert output is not None
            statuses: list[str] = []
            write_npy(noting(results, statuses), output)
            failed = summary(statuses)
        if journal is not None:
            journal.remove()
    return failed


def _journal(
    context: typer.Context, output: Path | None, located: "Located | None"
) -> "AbstractContextManager[EmbedJournal | None]":
    """The journal beside the output; None for a stream, and where no model was found to name."""
    from timesformer_cli.cli.stderr import note
    from timesformer_cli.files import is_stream
    from timesformer_cli.inference.scorer import model_revision
    from timesformer_cli.library.journal import EmbedJournal
    from timesformer_cli.timelines.journal import journal_path

    asked, resume = context.params, context.params["resume"]
    if output is None or is_stream(output):
        if resume:
            raise UsageError("--resume goes on with the file of --output; name it")
        return nullcontext()
    path = journal_path(output)
    if not resume and path.exists():
        note(f"an earlier run into {output} was stopped; it is begun anew, without --resume")
    if located is None:
        return nullcontext()
    wanted = {name: str(asked[name]) for name in MAKING} | {"revision": model_revision(located)}
    return EmbedJournal(path, wanted, resume=resume)


def _fill(context: typer.Context, output: Path) -> ExitCode:
    """Write what is new to a library, and say what was."""
    from timesformer_cli.cli.answers import complain_of, find_videos_named
    from timesformer_cli.cli.progress import first_at_once, locate_shown, with_progress
    from timesformer_cli.cli.stderr import stderr
    from timesformer_cli.inference.classified import Failed
    from timesformer_cli.library.fill import Filling
    from timesformer_cli.library.store import Library, Making
    from timesformer_cli.weights.revision import revision_of

    asked = context.params
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: is a file, and a library is a folder")
    files, _ = find_videos_named(asked["videos"], asked["fps"], asked["shard"])
    located = locate_shown(asked["model"], bare=True)
    making = Making(
        model=located.name,
        revision=revision_of(located),
        **{
            name: asked[name]
            for name in ("every", "frames", "stride", "views", "cuts", "normalise")
        },
    )
    filling = Filling(Library.create(output, making))
    failures = 0

    def only_read(results: "Iterable[VideoPath | EmbedResult]") -> Iterator[Any]:
        nonlocal failures
        for result in results:
            if isinstance(result, Failed):
                failures += 1
                complain_of(result)
            else:
                yield result

    looked = with_progress(filling.to_embed(files), len(files), "looking for what is new")
    todo = list(only_read(looked))
    if todo:
        results = first_at_once(
            _results(context, todo, located, contents=filling.contents, revision=making.revision)
        )
        for _ in only_read(filling.write(results)):
            pass
    counts = [f"{number:,} {name}" for name, number in asdict(filling.added).items() if number]
    counts += [f"{failures:,} failed"] if failures else []
    stderr().print(f"[dim]{', '.join(counts) or 'nothing to do'}[/]")
    return ExitCode.SOME_FAILED if failures else ExitCode.OK


def require_fitting_clips(given: dict[str, object], *, windows: bool) -> None:
    """Raise UsageError for options that the other way of taking clips has."""
    for name, option in (FOR_CLIPS if windows else FOR_WINDOWS).items():
        if name in given:
            why = "is for one vector a video, without" if windows else "is for windows; it needs"
            raise UsageError(f"{option} {why} --every")


def _results(
    context: typer.Context,
    files: "Videos",
    located: "AnyModel",
    **known: Any,
) -> "Iterator[EmbedResult]":
    """The vectors as they come, with progress on stderr; `known` is what need not be computed."""
    from timesformer_cli.cli.answers import known_videos, may_be_readable, without_pauses
    from timesformer_cli.cli.stderr import note
    from timesformer_cli.inference.classified import failed
    from timesformer_cli.library.embed import embed_videos, embed_windows

    every, normalise = context.params["every"], context.params["normalise"]
    if not may_be_readable(files):  # nothing to open a model for
        yield from (failed(file.path, file.error) for file in files if file.error is not None)
    elif every is None:
        from timesformer_cli.cli.progress import with_progress
        from timesformer_cli.inference.classify import ClassifyOptions

        clips, crops = options.parse_views(context.params["views"])
        one = options.fill(ClassifyOptions, context, clips=clips, crops=crops, model=located)
        results = embed_videos(files, one, note, normalise=normalise, **known)
        yield from with_progress(results, len(known_videos(files)), "embedding")
    else:
        from timesformer_cli.cli.timeline_progress import timelines_shown
        from timesformer_cli.timelines.options import TimelineOptions

        timeline_options.require_every(every)
        since, until = timeline_options.parse_stretch(
            context.params["start"], context.params["end"]
        )
        many = options.fill(TimelineOptions, context, start=since, end=until, model=located)
        yield from embed_windows(
            many,
            lambda run, tell: timelines_shown(run, without_pauses(files), tell_also=tell),
            note,
            normalise=normalise,
            **known,
        )
