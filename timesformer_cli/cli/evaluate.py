"""`tsf evaluate`: how often a model is right on labelled videos."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from timesformer_cli.cli import options
from timesformer_cli.cli.completion import complete_model
from timesformer_cli.errors import ExitCode, UsageError
from timesformer_cli.weights.catalogue import DEFAULT

PROTOCOL, OUTPUT = "How it is measured", "Output"


def evaluate(
    context: typer.Context,
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA",
            help="A folder with one folder per class, a table (path,label and perhaps split,start,"
            "end), an export of Label Studio or CVAT, or WebDataset's tar files.",
            show_default=False,
        ),
    ],
    model: options.Model = DEFAULT,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            autocompletion=complete_model,
            help="Also run this model on the same videos, and test the difference (McNemar).",
            rich_help_panel="Model",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Which part of DATA to use: train, val or test.",
            show_default=False,
            rich_help_panel=PROTOCOL,
        ),
    ] = None,
    protocol: Annotated[
        Literal["k400", "ssv2"] | None,
        typer.Option(
            help="Use the views of published accuracies: one clip, three crops.",
            rich_help_panel=PROTOCOL,
        ),
    ] = None,
    views: Annotated[
        str,
        typer.Option(
            metavar="CLIPSxCROPS",
            help="How many clips, spread over the video, and how many crops (1 or 3) of each.",
            rich_help_panel=PROTOCOL,
        ),
    ] = "1x1",
    labels_from: options.LabelsFrom = None,
    fps: options.LabelledRate = None,
    labels: options.OwnLabels = None,
    template: options.Templates = None,
    multi_label: options.MultiLabel = False,
    threshold: options.Threshold = None,
    device: options.Devices = "auto",
    dtype: options.RunDtype = "auto",
    compile: options.Compile = False,
    batch_size: options.BatchSize = 8,
    threads: options.Threads = None,
    decoder: options.Decoder = "auto",
    workers: options.Workers = None,
    timeout: options.Timeout = 60.0,
    format: Annotated[
        Literal["table", "json", "html"] | None,
        typer.Option(
            help="How to write the answer; html is a page for browsers.",
            show_default="by the suffix of --output, else table",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    output: options.Output = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write the predictions, one JSON object per line and video.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    confusion: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also draw the confusion matrix: a .png, .svg or .pdf.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Measure a model on labelled videos.

    Example: tsf evaluate clips.csv --model camera-motion
    """
    from timesformer_cli.cli.draw.style import require_drawable
    from timesformer_cli.cli.formats import choose_format, require_writable, writing
    from timesformer_cli.cli.progress import locate_shown, with_progress
    from timesformer_cli.cli.show.evaluate import RENDERERS, as_html, write_predictions
    from timesformer_cli.cli.stderr import (
        claiming,
        errors_explained,
        interrupted_at_once,
        note,
        quietly,
    )
    from timesformer_cli.dataset.shards import joined_names
    from timesformer_cli.evaluation.run import (
        EvaluateOptions,
        evaluate_models,
        prepare_subjects,
        read_evaluation_clips,
    )
    from timesformer_cli.evaluation.verdicts import mistakes_in
    from timesformer_cli.inference.classify import ClassifyOptions
    from timesformer_cli.inference.process_tuning import use_threads
    from timesformer_cli.weights.description import says_several

    with errors_explained(debug), quietly(quiet), claiming(output, predictions, confusion):
        if protocol and "views" in options.said(context):
            raise UsageError(f"--protocol {protocol} says which views; leave --views out")
        options.require_devices(device, several=True)
        use_threads(threads)
        clips, crops = options.parse_views(views)
        asked = options.parse_labels(labels, template)
        how = options.fill(ClassifyOptions, context, clips=clips, crops=crops, **asked)
        several = multi_label or any(says_several(Path(name)) for name in (model, compare) if name)
        if several and labels is not None:
            raise UsageError(
                "several labels a video are measured on all classes; leave out --labels"
            )
        if several and confusion is not None:
            raise UsageError(
                "several labels a video have no confusion matrix; leave out --confusion"
            )
        if threshold is not None and not several:
            raise UsageError("--threshold is for several labels a video: --multi-label")
        source = Path(joined_names(data))
        chosen = options.fill(EvaluateOptions, context, data=source, how=how, multi_label=several)
        if confusion is not None:
            require_drawable(confusion, "--confusion")
        beside = (predictions, confusion)
        require_writable(output, [source], beside)
        written = choose_format(format, output, RENDERERS)
        labelled = read_evaluation_clips(
            source, split, note, multi_label=several, labels_from=labels_from, fps=fps
        )
        require_writable(output, [item.file for item in labelled], beside)
        models = {name: locate_shown(name) for name in chosen.models}
        for located in models.values():
            require_writable(output, located.files, beside)
        with interrupted_at_once():  # torch is imported here
            subjects = prepare_subjects(labelled, chosen, models)
        pictures = seen = None
        if written == "html":
            from timesformer_cli.pages.pictures import FramePictures

            wrong = mistakes_in(subjects[0].truths, subjects[0].labels)
            pictures = FramePictures(len(labelled), wrong)
            seen = pictures.seen
        results, verdicts = evaluate_models(labelled, subjects, chosen, note, with_progress, seen)
        if predictions is not None:
            with writing(predictions) as stream:
                write_predictions(verdicts, stream)
        if confusion is not None:
            from timesformer_cli.cli.draw.confusion import draw_confusion

            draw_confusion(results, confusion)
        render = RENDERERS[written]
        if pictures is not None:
            render = partial(as_html, verdicts=verdicts, pictures=pictures)
        with writing(output) as stream:
            render(results, stream)
        failed = any(evaluation.scores.unreadable for evaluation in results.evaluations)
    raise typer.Exit(ExitCode.SOME_FAILED if failed else ExitCode.OK)
