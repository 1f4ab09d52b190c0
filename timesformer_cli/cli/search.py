"""`tsf search`: what in a library looks like a clip, has a label, or is there twice."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from timesformer_cli.cli import options, timeline_options
from timesformer_cli.errors import UsageError

if TYPE_CHECKING:
    from timesformer_cli.library.embed import Embedded
    from timesformer_cli.library.search import Hit
    from timesformer_cli.library.store import Library

LEAST = 0.8  # cosine of the looks of a pair, where nothing else is said
SHOWN = 10  # of what is found

LibraryFolder = Annotated[
    Path,
    typer.Argument(
        metavar="LIBRARY", help="A folder that tsf embed -o FOLDER.lance made.", show_default=False
    ),
]


def search(
    library: LibraryFolder,
    clip: Annotated[
        Path | None,
        typer.Argument(
            metavar="CLIP", help="A video: what looks most like it is found.", show_default=False
        ),
    ] = None,
    start: timeline_options.Since = "0",
    end: timeline_options.Until = None,
    label: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Only what has this label.")
    ] = None,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Least score of the label.")] = 0.0,
    duplicates: Annotated[
        bool,
        typer.Option(
            "--duplicates",
            help="Pairs of videos that show the same pictures, though cropped, coded anew or cut.",
        ),
    ] = False,
    min_similarity: Annotated[
        float | None,
        typer.Option(
            min=-1,
            max=1,
            help="Least cosine with CLIP, or of the two videos of a pair.",
            show_default=f"{LEAST} for --duplicates",
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "-k",
            min=1,
            help="How many are shown.",
            show_default="10; all pairs of --duplicates",
        ),
    ] = None,
    device: options.Devices = "auto",
    dtype: options.RunDtype = "auto",
    threads: options.Threads = None,
    format: Annotated[
        Literal["table", "json", "jsonl", "csv", "m3u", "html"] | None,
        typer.Option(
            help="How to write the answer; m3u is a list for players, which begin each at its place, html a page that plays them.",
            show_default="by the suffix of --output, else table",
            rich_help_panel="Output",
        ),
    ] = None,
    output: options.Output = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Find in a library what looks like a clip, has a label, or is there twice.

    Example: tsf search library.lance clip.mp4
    """
    from timesformer_cli.cli.formats import choose_format, require_writable, writing
    from timesformer_cli.cli.progress import steps
    from timesformer_cli.cli.show.duplicates import RENDERERS as PAIR_RENDERERS
    from timesformer_cli.cli.show.search import RENDERERS
    from timesformer_cli.cli.stderr import claiming, errors_explained, quietly
    from timesformer_cli.inference.process_tuning import use_threads
    from timesformer_cli.library.duplicates import duplicates_in
    from timesformer_cli.library.search import labelled
    from timesformer_cli.library.store import Library

    with errors_explained(debug), quietly(quiet), claiming(output):
        options.require_devices(device, several=True)
        if duplicates and (clip is not None or label is not None):
            raise UsageError("--duplicates compares all videos; leave out CLIP and --label")
        if clip is None and label is None and not duplicates:
            raise UsageError("say what to look for: a clip, --label LABEL, both, or --duplicates")
        if min_similarity is not None and clip is None and not duplicates:
            raise UsageError("--min-similarity is for CLIP and for --duplicates")
        if clip is None and (start != "0" or end is not None):
            raise UsageError("--from and --to are a part of CLIP; name one")
        since, until = timeline_options.parse_stretch(start, end)
        written = choose_format(format, output, RENDERERS)
        require_writable(output, [] if clip is None else [clip])
        use_threads(threads)
        opened = Library.open(library)
        if duplicates:
            with steps() as watch:
                pairs = duplicates_in(
                    opened,
                    LEAST if min_similarity is None else min_similarity,
                    lambda done, total: watch(done, total, "comparing"),
                )
            with writing(output) as stream:
                PAIR_RENDERERS[written](pairs[:count], stream)
            return
        if label is not None:
            _require_label(opened, label)
        if clip is None:
            assert label is not None
            hits = labelled(opened, label, count or SHOWN, least=min_score)
        else:
            shown = _embedded(opened, clip, since, until, device=device, dtype=dtype)
            hits = _similar(opened, shown, count or SHOWN, label, min_score)
            if min_similarity is not None:
                hits = [hit for hit in hits if (hit.similarity or 0.0) >= min_similarity]
        with writing(output) as stream:
            RENDERERS[written](hits, stream)


def _require_label(library: "Library", label: str) -> None:
    """Raise UsageError for a label that no row has, with those that are like it."""
    import difflib

    from timesformer_cli.library.summary import labels_in

    labels = labels_in(library)
    if label not in labels:
        near = difflib.get_close_matches(label, labels, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "tsf library names those it has"
        raise UsageError(f"nothing in {library.path} has the label '{label}'; {hint}")


def _embedded(library: "Library", clip: Path, since: float, until: float, **how: str) -> "Embedded":
    """The clip's vectors, made as those of the library; raises UsageError for other weights."""
    from timesformer_cli.cli.progress import locate_shown
    from timesformer_cli.cli.stderr import interrupted_at_once, note
    from timesformer_cli.inference.classified import Failed
    from timesformer_cli.inference.classify import ClassifyOptions
    from timesformer_cli.library.embed import EmbedResult, embed_videos, embed_windows
    from timesformer_cli.timelines.options import TimelineOptions
    from timesformer_cli.video import find_videos
    from timesformer_cli.weights.revision import revision_of

    made = library.making
    located = locate_shown(made.model, bare=True)
    if revision_of(located) != made.revision:
        raise UsageError(
            f"{library.path}: was made with other weights of {made.model} ({made.revision[:19]}) "
            "than are found now; their vectors cannot be compared"
        )
    files = find_videos([str(clip)])
    shared: dict[str, Any] = {
        "model": located, "frames": made.frames, "stride": made.stride, "top_k": 1, **how
    }  # fmt: skip
    result: EmbedResult
    with interrupted_at_once():
        if since == 0 and math.isinf(until):
            clips, crops = options.parse_views(made.views)
            one = ClassifyOptions(clips=clips, crops=crops, **shared)
            (result,) = embed_videos(files, one, note, revision=made.revision)
        else:
            from timesformer_cli.cli.timeline_progress import timelines_shown

            many = TimelineOptions(start=since, end=until, cuts=False, **shared)
            (result,) = embed_windows(
                many,
                lambda run, tell: timelines_shown(run, files, tell_also=tell),
                note,
                revision=made.revision,
            )
    if isinstance(result, Failed):
        raise UsageError(f"{clip}: {result.error.message}")
    if not result.embeddings:
        raise UsageError(f"{clip}: there is nothing between --from and --to")
    return result


def _similar(
    library: "Library", shown: "Embedded", count: int, label: str | None, least: float
) -> "list[Hit]":
    """What is most like the mean of the clip's vectors, without the part that was shown itself."""
    import numpy as np

    from timesformer_cli.library.search import Hit, similar

    vector = np.mean([each.vector for each in shown.embeddings], axis=0)
    start, end = shown.embeddings[0].start, shown.embeddings[-1].end
    itself = Hit(shown.video, shown.content, start, end, "", 0.0)
    return similar(library, vector, count, label=label, least=least, without=[itself])
