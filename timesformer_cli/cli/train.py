"""`tsf train`: train a model on labelled clips."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from timesformer_cli.cli import options
from timesformer_cli.cli.completion import complete_model, complete_scheme
from timesformer_cli.errors import UsageError
from timesformer_cli.schemes import SCHEMES
from timesformer_cli.weights.catalogue import DEFAULT

START, RECIPE, DATA, RUN = "Start", "Recipe", "Data", "Run"
# Options that may change when a training is resumed; all others keep their first values.
CHANGEABLE_ON_RESUME = frozenset(
    "device workers timeout decoder cache cache_size log debug".split()
)
# Options that may stand beside --resume but are no settings of the training.
BESIDE = frozenset(("resume", "push_to_hub", "threads", "quiet"))


def train(
    context: typer.Context,
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA",
            help="A folder with one folder per class (or train/, val/, test/ of these), "
            "a table (path,label and perhaps split,start,end), an export of Label Studio or CVAT, "
            "or WebDataset's tar files.",
            show_default=False,
        ),
    ] = None,
    init: Annotated[
        str,
        typer.Option(
            help="A name (base-k400, camera-motion, ...), a folder, timm:<vit>, or scratch.",
            autocompletion=complete_model,
            rich_help_panel=START,
        ),
    ] = DEFAULT,
    attention: Annotated[
        str | None,
        typer.Option(
            metavar="SCHEME",
            autocompletion=complete_scheme,
            help=f"{', '.join(SCHEMES)}; or sentences of your own, or a .toml with them.",
            show_default="the model's",
            rich_help_panel=START,
        ),
    ] = None,
    size: Annotated[
        Literal["tiny", "small", "base", "large", "huge", "giant"],
        typer.Option(help="Size of a model from scratch.", rich_help_panel=START),
    ] = "tiny",
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Height and width.", show_default="the model's", rich_help_panel=START
        ),
    ] = None,
    frames: options.Frames = None,
    stride: options.Stride = None,
    preset: Annotated[
        Literal["modern", "light", "paper"],
        typer.Option(
            help="modern: AdamW with mixup, layer decay and averaging; light: AdamW with less "
            "augmentation, for random weights and few clips; paper: the published recipe.",
            rich_help_panel=RECIPE,
        ),
    ] = "modern",
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Passes over the training clips.",
            show_default="the preset's",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Clips in a batch.", rich_help_panel=RECIPE)
    ] = 8,
    accumulate: Annotated[
        int, typer.Option(min=1, help="Batches in an optimizer step.", rich_help_panel=RECIPE)
    ] = 1,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Learning rate for a batch of 8.",
            show_default="the preset's",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    multi_label: Annotated[
        bool,
        typer.Option(
            "--multi-label",
            help="A clip may have several labels, or none: run|walk in a cell, or a column of 0 and 1 "
            "for each class.",
            rich_help_panel=DATA,
        ),
    ] = False,
    class_weights: Annotated[
        str,
        typer.Option(
            metavar="balanced|none|FILE",
            help="Weigh classes in the loss: balanced lets rare ones count as much as common ones; "
            "FILE is a table label,weight.",
            rich_help_panel=RECIPE,
        ),
    ] = "none",
    sampler: Annotated[
        Literal["shuffle", "balanced"],
        typer.Option(
            help="shuffle: each clip once an epoch; balanced: each class equally often.",
            rich_help_panel=RECIPE,
        ),
    ] = "shuffle",
    flip: Annotated[
        bool,
        typer.Option(
            "--flip/--no-flip",
            help="Mirror half of the clips; not for classes that name a direction.",
            rich_help_panel=RECIPE,
        ),
    ] = True,
    patience: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Stop after so many epochs without a better validation.",
            show_default="never",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    freeze_backbone: Annotated[
        bool,
        typer.Option(
            "--freeze-backbone",
            help="Keep the network as it is and compute a head at once, in seconds.",
            rich_help_panel=RECIPE,
        ),
    ] = False,
    probe: Annotated[
        Literal["attentive"] | None,
        typer.Option(
            help="Keep the network as it is, and train a pooler that attends, and a head, on tokens that "
            "are computed once.",
            show_default="none",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    probe_blocks: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Blocks of that pooler.", rich_help_panel=RECIPE),
    ] = 1,
    val_fraction: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Share held out for validation where DATA has no val.",
            rich_help_panel=DATA,
        ),
    ] = 0.2,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="K",
            help="Train K models, each validated on another K-th of the clips: mean and spread.",
            show_default="one model",
            rich_help_panel=DATA,
        ),
    ] = None,
    labels_from: options.LabelsFrom = None,
    fps: options.LabelledRate = None,
    group_by: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="What keeps clips in one split: a column, folder, or a pattern of the path.",
            rich_help_panel=DATA,
        ),
    ] = "group",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check the clips, train nothing.", rich_help_panel=DATA),
    ] = False,
    decoder: options.Decoder = "auto",
    workers: options.Workers = None,
    timeout: options.Timeout = 60.0,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep decoded frames there, for later epochs and trainings.",
            show_default="none",
            rich_help_panel="Decoding",
        ),
    ] = None,
    cache_size: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="What the folder of --cache may take: 500MB, 20GB, ...",
            rich_help_panel="Decoding",
        ),
    ] = "20GB",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for the model, its card and its checkpoint.",
            show_default="runs/<DATA>",
            rich_help_panel=RUN,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Go on where the training in this folder stopped.",
            rich_help_panel=RUN,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of all random choices.", rich_help_panel=RUN)
    ] = 0,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    threads: options.Threads = None,
    checkpoint_gradients: Annotated[
        bool,
        typer.Option(
            "--checkpoint-gradients", help="Use less memory and more time.", rich_help_panel=RUN
        ),
    ] = False,
    log: Annotated[
        Literal["tensorboard", "trackio", "wandb"] | None,
        typer.Option(
            help="Tell a tracker of it: numbers, the first batch, the confusion.",
            show_default="none",
            rich_help_panel=RUN,
        ),
    ] = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option(metavar="ORG/NAME", help="Upload the model.", rich_help_panel=RUN),
    ] = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Train a model on your clips.

    Example: tsf train clips/ --init camera-motion
    """
    from timesformer_cli.cli.draw.curves import draw_curves
    from timesformer_cli.cli.progress import locate_shown
    from timesformer_cli.cli.show.train import show_findings, show_folds, show_report
    from timesformer_cli.cli.stderr import (
        claiming,
        errors_explained,
        interrupted_at_once,
        note,
        quietly,
    )
    from timesformer_cli.cli.train_progress import showing_training
    from timesformer_cli.inference.process_tuning import use_threads
    from timesformer_cli.weights.hub import upload

    with errors_explained(debug), quietly(quiet), interrupted_at_once():
        from timesformer_cli.dataset.shards import joined_names, plain_name
        from timesformer_cli.dataset.splits import fold_clips
        from timesformer_cli.training.folds import require_folds_fit, train_folds, write_folds
        from timesformer_cli.training.options import FOLDS, SCRATCH, TrainOptions
        from timesformer_cli.training.run import (
            check_training,
            read_training_clips,
            require_training,
            resume_training,
            train_model,
        )
        from timesformer_cli.training.trackers import require_tracker
        from timesformer_cli.typed.schemes import read_scheme

        if (not data) == (resume is None):
            raise UsageError("give DATA to train on, or --resume FOLDER to go on with")
        options.require_devices(device)
        require_tracker(log)
        kept = _kept_frames(context)
        use_threads(threads)
        located, changes = None, {}
        crossed = folds is not None or (resume is not None and (resume / FOLDS).exists())
        if resume is None:
            source = joined_names(data or [])
            where = str(out or Path("runs") / plain_name(Path(source)))
            scheme = None if attention is None else read_scheme(attention)
            own = {"data": source, "out": where, "attention": scheme, **kept}
            chosen = options.fill(TrainOptions, context, **own)
            if folds is not None:
                require_folds_fit(options.said(context))
                chosen = replace(chosen, val_fraction=0.0)
            clips = read_training_clips(chosen, dry_run=dry_run, note=note)
            if folds is not None:
                divided = fold_clips(clips, folds, seed)
                clips = divided[0]
        else:
            changes = _changes(context) | kept
            if not crossed:
                require_training(resume)
        folder = Path(where) if resume is None else resume
        if resume is None and not dry_run:
            folder.parent.mkdir(parents=True, exist_ok=True)
        # Under torchrun the first process writes, and it claims for all.
        writes = not dry_run and os.environ.get("RANK", "0") == "0"
        with claiming(folder if writes else None):
            if push_to_hub is not None:
                upload.require_upload_rights(push_to_hub)
            if resume is None and init != SCRATCH:
                located = locate_shown(init, encoder=True)
            with showing_training() as callbacks:
                if crossed and not dry_run:
                    if resume is None:
                        write_folds(divided, chosen)
                    show_folds(train_folds(folder, callbacks, located, **changes))
                    raise typer.Exit
                if resume is not None:
                    done = resume_training(resume, callbacks, **changes)
                elif dry_run:
                    show_findings(check_training(clips, chosen, callbacks, located))
                    raise typer.Exit
                else:
                    done = train_model(clips, chosen, callbacks, located)
            if done is None:  # the first process of the training reports for all
                raise typer.Exit
            if len(done.history) > 1:
                draw_curves(done.history, Path(done.folder))
            if push_to_hub is not None:
                note(f"uploaded to {upload.upload(Path(done.folder), push_to_hub)}")
            show_report(done)


def _kept_frames(context: typer.Context) -> dict[str, Any]:
    """Where decoded frames are kept, and how many bytes of them; raises UsageError.

    A training that is resumed keeps its own, but for what is said anew.
    """
    from timesformer_cli.cli.benchmark import parse_bytes
    from timesformer_cli.files import require_folder

    said, kept = options.said(context), dict[str, Any]()
    if "cache" in said:
        kept["cache"] = os.path.abspath(said["cache"])  # it may be resumed from elsewhere
        require_folder(Path(kept["cache"]))
    if "cache_size" in said and not {"cache", "resume"} & said.keys():
        raise UsageError("--cache-size is that of --cache FOLDER")
    if "cache_size" in said or "resume" not in said:
        kept["cache_size"] = parse_bytes(context.params["cache_size"], "--cache-size")
    return kept


def _changes(context: typer.Context) -> dict[str, Any]:
    """The options that change in a resumed training; raises UsageError for one that cannot."""
    said = options.said(context)
    if unchanging := sorted(said.keys() - CHANGEABLE_ON_RESUME - BESIDE):
        name = unchanging[0].replace("_", "-")
        raise UsageError(f"--{name} cannot change under way: --resume goes on as it began")
    return {name: said[name] for name in said.keys() & CHANGEABLE_ON_RESUME}
