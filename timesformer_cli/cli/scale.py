"""`--engine ray`: classify, timeline and embed for many videos, on a cluster."""

import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from timesformer_cli.cli import options, timeline_options
from timesformer_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from timesformer_cli.scale.parts import ScaleSummary
    from timesformer_cli.scale.stages import ClusterJob

# What one machine does only, as the parameters are called.
LOCAL = "format output_dir plot windows resume fps shard".split()
RAY = "ray"


def require_local(context: typer.Context) -> None:
    """Raise UsageError for options that are for a cluster."""
    if context.params["address"] is not None:
        raise UsageError("--address is where a cluster is; it needs --engine ray")


def run_on_ray(context: typer.Context) -> ExitCode:
    """Do the command's work on Ray Data, and write parts, or what is new to a library."""
    from timesformer_cli.cli.progress import locate_shown, steps
    from timesformer_cli.cli.stderr import note
    from timesformer_cli.scale.storage import require_ray

    asked = context.params
    for name in LOCAL:
        if name in options.said(context):
            raise UsageError(f"--{name.replace('_', '-')} is for --engine local")
    if asked["output"] is None:
        raise UsageError("--engine ray writes a folder of Parquet parts; name it with -o")
    # A path has one slash where a URL has two.
    output = re.sub(r"^(s3|gs):/(?=[^/])", r"\1://", str(asked["output"]))
    library = output.endswith(".lance")
    if library and context.command.name != "embed":
        raise UsageError(f"{output}: tsf embed fills libraries; the others write Parquet parts")
    require_ray()
    from timesformer_cli.scale.cluster import cluster, listed
    from timesformer_cli.scale.inputs import name_inputs
    from timesformer_cli.scale.parts import fill_library, write_parts

    inputs = list(name_inputs(asked["videos"], sys.stdin.buffer, note))
    if not inputs:
        raise UsageError("no videos given")
    located = locate_shown(asked["model"], bare=context.command.name == "embed")
    job = _job(context, located, library=library)
    workers = asked.get("workers")
    with cluster(asked["address"], debug=asked["debug"]), steps() as step:
        step(0, len(inputs), "listing")
        videos = listed(inputs)
        if library:
            summary = fill_library(videos, job, _filling(context, output, job), workers, step)
        else:
            summary = write_parts(videos, job, output, workers, step)
    return _tell(summary)


def _job(context: typer.Context, located: Any, *, library: bool) -> "ClusterJob":
    """What the command asks for, checked before a cluster is asked to do it."""
    from timesformer_cli.cli.show.classify import parquet_columns, parquet_rows_of
    from timesformer_cli.cli.show.timeline import COLUMNS as SEGMENT_COLUMNS
    from timesformer_cli.cli.show.timeline import FITTED_COLUMNS, segment_rows_of
    from timesformer_cli.cli.stderr import note
    from timesformer_cli.inference.classify import ClassifyOptions
    from timesformer_cli.inference.open import describe_model
    from timesformer_cli.inference.scorer import clips_for, windows_for
    from timesformer_cli.inference.words import choose_labels
    from timesformer_cli.library.write import COLUMNS, rows_of
    from timesformer_cli.parquet import LOOK, Columns
    from timesformer_cli.scale.stages import ClusterJob
    from timesformer_cli.timelines.options import TimelineOptions
    from timesformer_cli.weights.revision import revision_of

    asked, verb = context.params, context.command.name
    vectors = verb == "embed"
    chosen: ClassifyOptions | TimelineOptions
    own: dict[str, Any]
    taken: Any = None
    if verb == "timeline" or asked.get("every") is not None:
        timeline_options.require_every(asked["every"])
        since, until = timeline_options.parse_stretch(asked["start"], asked["end"])
        own = {"start": since, "end": until, "model": located}
        if verb == "timeline":
            timeline_options.require_threshold(asked["threshold"])
            own["smooth"] = timeline_options.parse_smooth(asked["smooth"])
            own |= _answer(asked)
        chosen = options.fill(TimelineOptions, context, **own)
        windows_for(describe_model(located), chosen)
    else:
        clips, crops = options.parse_views(asked["views"])
        own = {"clips": clips, "crops": crops, "model": located}
        own |= {} if vectors else _answer(asked)
        chosen = options.fill(ClassifyOptions, context, **own)
        taken = clips_for(describe_model(located), chosen)
    if not vectors and (not chosen.labels or describe_model(located).config.text is None):
        choose_labels(chosen, located.name, note, located)  # it says what is wrong with them
    fitted = bool(chosen.labels)
    segments = FITTED_COLUMNS if fitted else SEGMENT_COLUMNS
    makers: Mapping[str, tuple[Callable[[Any], Any], Columns]] = {
        "classify": (partial(parquet_rows_of, similarity=fitted), parquet_columns(fitted)),
        "timeline": (partial(segment_rows_of, columns=segments), segments),
        "embed": (rows_of, {**COLUMNS, LOOK: LOOK} if library else COLUMNS),
    }
    rows, columns = makers[str(verb)]
    return ClusterJob(
        options=chosen,
        located=located.to_text(),
        revision=revision_of(located),
        rows_of=rows,
        columns=columns,
        clips=taken,
        vectors=vectors,
        normalise=asked.get("normalise", False),
        threads=asked["threads"] or 1,
    )


def _answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    return options.parse_labels(asked["labels"], asked["template"], asked["none_below"])


def _filling(context: typer.Context, output: str, job: "ClusterJob") -> Any:
    from pathlib import Path

    from timesformer_cli.library.fill import Filling
    from timesformer_cli.library.store import Library, Making

    if "://" in output:
        raise UsageError(
            f"{output}: a library is a folder of this machine; Parquet parts may be there"
        )
    names = ("every", "frames", "stride", "views", "cuts", "normalise")
    asked = {name: context.params[name] for name in names}
    return Filling(
        Library.create(Path(output), Making(model=job.options.name, revision=job.revision, **asked))
    )


def _tell(summary: "ScaleSummary") -> ExitCode:
    """Say what became of the videos, on stderr."""
    from timesformer_cli.cli.stderr import stderr

    failed = sum(summary.failures.values())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.failures.most_common())
    done = summary.videos - summary.known
    said = f"{summary.videos:,} videos, {failed:,} failed" + (f" ({kinds})" if kinds else "")
    said += f"; {summary.known:,} were known" if summary.known else ""
    if done:
        rate = done / max(summary.seconds, 1e-3)
        said += f"; {done:,} in {summary.seconds:.1f} s, {rate:.1f} a second"
        said += f", {rate / summary.gpus:.1f} per GPU" if summary.gpus else ""
    stderr().print(f"[dim]{said}[/]")
    return ExitCode.SOME_FAILED if failed else ExitCode.OK
