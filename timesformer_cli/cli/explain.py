"""`tsf explain`: what a model looked at, and whether that means something."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from timesformer_cli.cli import options
from timesformer_cli.cli.completion import complete_scheme
from timesformer_cli.errors import UsageError
from timesformer_cli.schemes import SCHEMES
from timesformer_cli.weights.catalogue import DEFAULT

if TYPE_CHECKING:
    from timesformer_cli.explain.results import Explanation
    from timesformer_cli.grouping import Grid

PICTURES = ("png", "gif", "mp4", "npz")


def explain(
    context: typer.Context,
    videos: options.Videos,
    model: options.Model = DEFAULT,
    attention: Annotated[
        str | None,
        typer.Option(
            metavar="SCHEME",
            autocompletion=complete_scheme,
            help=f"The weights under another scheme, as training would start from them: "
            f"{', '.join(SCHEMES)}; or sentences of your own, or a .toml with them.",
            show_default="the model's",
            rich_help_panel="Model",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            "--label",
            "-l",
            help="The label whose score is explained.",
            show_default="the best one",
            rich_help_panel="Method",
        ),
    ] = None,
    method: Annotated[
        Literal["combined", "rollout", "gradient", "integrated", "attention", "occlusion"],
        typer.Option(
            help="combined: rollout times gradient. rollout: attention followed through all "
            "blocks, whatever the label. gradient: attention that speaks for the label. "
            "integrated: integrated gradients of the pixels. attention: one block as it is. "
            "occlusion: boxes blanked; slow, for every model, exported files too.",
            rich_help_panel="Method",
        ),
    ] = "combined",
    layer: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --method attention: the block, from 1.",
            show_default="the last",
            rich_help_panel="Method",
        ),
    ] = None,
    head: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --method attention: the head, from 1.",
            show_default="the mean of all",
            rich_help_panel="Method",
        ),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(
            metavar="FRAME,ROW,COLUMN",
            help="With --method attention: what this patch looks at, from 1,1,1.",
            show_default="what the class token looks at",
            rich_help_panel="Method",
        ),
    ] = None,
    prove: Annotated[
        bool,
        typer.Option(
            "--prove",
            help="Let places stand still in the map's order, and move again; compare with chance.",
            rich_help_panel="Method",
        ),
    ] = False,
    frames: options.Frames = None,
    stride: options.Stride = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = 8,
    threads: options.Threads = None,
    fps: options.FramesPerSecond = None,
    decoder: options.Decoder = "auto",
    timeout: options.Timeout = 60.0,
    format: Annotated[
        Literal["table", "json", "jsonl", "png", "gif", "mp4", "npz"] | None,
        typer.Option(
            help="How to write the answer. png, gif and mp4 are pictures, npz is the map for "
            "NumPy; the table is then still printed.",
            show_default="by the suffix of --output, else table",
            rich_help_panel="Output",
        ),
    ] = None,
    output: options.Output = None,
    output_dir: options.OutputDir = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Show what the model looked at in each video, and when.

    Example: tsf explain clip.mp4 --model camera-motion -o looked.png
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
    from timesformer_cli.cli.progress import first_at_once, locate_shown, steps
    from timesformer_cli.cli.show.explain import RENDERERS
    from timesformer_cli.cli.stderr import claiming, errors_explained, note, quietly
    from timesformer_cli.explain.options import ExplainOptions
    from timesformer_cli.explain.run import explain_videos
    from timesformer_cli.inference.process_tuning import use_threads
    from timesformer_cli.typed.schemes import read_scheme

    with errors_explained(debug), quietly(quiet), claiming(output):
        options.require_devices(device)
        scheme = None if attention is None else read_scheme(attention)
        chosen = options.fill(ExplainOptions, context, query=parse_query(query), attention=scheme)
        use_threads(threads)
        written = choose_answer(
            picture_format(format, output), output, output_dir, RENDERERS | dict.fromkeys(PICTURES)
        )
        files, needed = found_or_coming(videos, fps, None, written, output, output_dir)
        known = known_videos(files)
        drawn = written in PICTURES
        if drawn and output is None and output_dir is None:
            raise UsageError(f"--format {written} needs a file; name it with -o")
        if drawn and output is not None and len(known) > 1:
            raise UsageError(
                f"{output}: a picture holds one video, not {len(known)}; give --output-dir"
            )
        answers: dict[str, Path] = {}
        if output_dir is not None:
            answers = answer_files(known, output_dir, written)
        elif drawn and output is not None:
            answers = {known[0].path: output}
        if output_dir is None:
            require_writable(output, needed)
        if may_be_readable(files):
            located = locate_shown(model)
            if output_dir is None:
                require_writable(output, located.files)
            chosen = replace(chosen, model=located)
        with steps() as step:
            every = first_at_once(explain_videos(files, chosen, note, step))
            if drawn:
                failed = show_results(
                    _drawing(every, answers, written), RENDERERS["table"], None, files
                )
            elif output_dir is not None:
                failed = write_each(every, RENDERERS[written], answers)
            else:
                failed = show_results(every, RENDERERS[written], output, files)
    raise typer.Exit(failed)


def _drawing(
    results: "Iterator[Explanation]", answers: dict[str, Path], written: str
) -> "Iterator[Explanation]":
    """Pass the results through, and write a file for each that there is a map of."""
    from timesformer_cli.cli.draw.explain import WRITERS
    from timesformer_cli.inference.classified import Failed

    for result in results:
        if not isinstance(result, Failed):
            path = answers[result.video]
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
            WRITERS[written](result, path)
        yield result


def picture_format(asked: str | None, output: Path | None) -> str | None:
    """The format asked for, or the picture's that a file's suffix names; raises UsageError."""
    suffix = "" if output is None else output.suffix.lower().removeprefix(".")
    if suffix in PICTURES and asked not in (None, suffix):
        raise UsageError(f"{output}: --format {asked} contradicts .{suffix}; leave out --format")
    return suffix if suffix in PICTURES else asked


def parse_query(text: str | None) -> "Grid | None":
    """`3,2,5` as frame, row and column of a patch, from 1; raises UsageError."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) for part in parts):
        raise UsageError(f"--query is FRAME,ROW,COLUMN of a patch, from 1,1,1; got '{text}'")
    frame, row, column = map(int, parts)
    return frame, row, column
