"""Train: from labelled clips to a model folder, and back to work after a stop."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from timesformer_cli.callbacks import NoteCallback, ignore_note
from timesformer_cli.dataset.clip import LabelledClip
from timesformer_cli.dataset.labelled import read_labelled_clips, require_some_there
from timesformer_cli.dataset.splits import split_clips
from timesformer_cli.errors import DeviceError, UsageError, WeightsError
from timesformer_cli.files import replace_file, require_folder
from timesformer_cli.inference.process_tuning import let_threads_sleep
from timesformer_cli.json_text import finite_json
from timesformer_cli.training.carry_out import as_file, carry_out
from timesformer_cli.training.check import (
    Findings,
    check_clips,
    readable,
    summarise_checks,
    with_shortcuts,
)
from timesformer_cli.training.imbalance import BALANCED, class_weights
from timesformer_cli.training.initial_model import initial_model, validate_train_options
from timesformer_cli.training.options import (
    CHECKPOINT,
    FOLDS,
    PICTURE,
    RECIPE,
    TrainingPlan,
    TrainOptions,
    labels_of,
)
from timesformer_cli.training.report import TrainingReport
from timesformer_cli.training.shortcuts import find_shortcuts
from timesformer_cli.video import DecodePool

if TYPE_CHECKING:
    from timesformer_cli.training.processes import Processes
    from timesformer_cli.training.session import TrainingSession
    from timesformer_cli.training.state import TrainingCallbacks
    from timesformer_cli.weights.hub.locate import Located


def read_training_clips(
    options: TrainOptions, *, dry_run: bool = False, note: NoteCallback = ignore_note
) -> list[LabelledClip]:
    """The clips as listed, each in its split; no model and no clip is opened.

    Raises UsageError for options and lists that are wrong, and where `options.out` holds a training
    already, which a `dry_run` would not overwrite.
    """
    folder = Path(options.out)
    require_folder(folder)
    if not dry_run and ((folder / CHECKPOINT).exists() or (folder / FOLDS).exists()):
        raise UsageError(f"{folder} holds a training: --resume {folder}, or another --out")
    validate_train_options(options)
    note = _of_first(note)
    clips = read_labelled_clips(
        Path(options.data),
        group_by=options.group_by,
        multi_label=options.multi_label,
        labels_from=options.labels_from,
        fps=options.fps,
        note=note,
    )
    require_some_there(Path(options.data), clips)
    clips = split_clips(clips, options.val_fraction, options.seed)
    labels = labels_of(clips)
    training = [clip for clip in clips if clip.split == "train"]
    # A file with weights is read here, so that what is wrong in it is said first.
    class_weights(options.class_weights, training, labels, multi_label=options.multi_label)
    return clips


def _of_first(note: NoteCallback) -> NoteCallback:
    """Of the processes that torchrun starts, one speaks."""
    return note if os.environ.get("RANK", "0") == "0" else ignore_note


def require_training(folder: Path) -> None:
    """Raise WeightsError where the folder holds no training to go on with."""
    if not (folder / CHECKPOINT).exists():
        raise WeightsError(f"{folder}: no {CHECKPOINT} in it, so there is no training to resume")


def check_training(
    clips: list[LabelledClip],
    options: TrainOptions,
    callbacks: "TrainingCallbacks",
    located: "Located | None" = None,
) -> Findings:
    """Do all that comes before the first step and draw the first batch; nothing is trained.

    `located` is what `options.init` names, where that is already known. Raises TsfError.
    """
    with _prepared(clips, options, callbacks, located) as (session, findings):
        from timesformer_cli.training.batch_picture import draw_batch

        folder = Path(options.out)
        folder.mkdir(parents=True, exist_ok=True)
        draw_batch(session, folder / PICTURE)
        return replace(findings, picture=str(folder / PICTURE))


def train_model(
    clips: list[LabelledClip],
    options: TrainOptions,
    callbacks: "TrainingCallbacks",
    located: "Located | None" = None,
) -> TrainingReport | None:
    """Train from the start. Of several processes only the first gets the report.

    `located` is what `options.init` names, where that is already known. Raises TsfError, and
    TrainingStopped when `callbacks.stopping` asks for it.
    """
    folder = Path(options.out)
    with _prepared(clips, options, callbacks, located) as (session, findings):
        if session.processes.first:
            from timesformer_cli.training.batch_picture import draw_batch

            callbacks.found(findings)
            folder.mkdir(parents=True, exist_ok=True)
            draw_batch(session, folder / PICTURE)
            recipe: dict[str, Any] = {"options": asdict(options), "recipe": asdict(options.recipe)}
            recipe["run"] = token_hex(6)  # by which a tracker knows it again
            replace_file(folder / RECIPE, as_file(finite_json(recipe, indent=2)))
        return carry_out(session, None, callbacks)


def resume_training(
    folder: Path, callbacks: "TrainingCallbacks", **changes: Any
) -> TrainingReport | None:
    """Go on with the training in that folder, with its own options except for `changes`.

    Raises what `train_model` raises, and WeightsError where the folder holds no training.
    """
    from timesformer_cli.training import checkpoint

    require_training(folder)
    stored = checkpoint.read_training_state(folder)
    plan = TrainingPlan.from_dict(stored["setup"])
    require_some_there(Path(plan.options.data), plan.items)
    options = replace(plan.options, out=str(folder), **changes)
    with _together(options, callbacks.note) as (pool, processes):
        from timesformer_cli.training.session import TrainingSession

        session = TrainingSession.of_plan(
            replace(plan, options=options), stored["backbone"], pool, processes
        )
        return carry_out(session, stored["training"], _heard_by(processes, callbacks))


@contextmanager
def _together(
    options: TrainOptions, note: NoteCallback
) -> "Iterator[tuple[DecodePool, Processes]]":
    """Start the decoders and, under torchrun, join the other processes.

    `note` hears of the cache of frames. Inside the block, running out of memory raises a DeviceError that says what to do.
    """
    workers = options.workers or os.cpu_count() or 1
    let_threads_sleep()
    cache = None
    if options.cache is not None:
        from timesformer_cli.video.frame_cache import FrameCache

        cache = FrameCache(Path(options.cache), options.cache_size, _of_first(note))
    how: dict[str, Any] = {"debug": options.debug, "cache": cache}
    # The decoders start before torch is imported, so that they warm up meanwhile.
    with DecodePool(workers, options.timeout, options.decoder, **how) as pool:
        import torch

        from timesformer_cli.inference.device import find_device
        from timesformer_cli.training.processes import processes

        with processes(find_device(options.device).type) as joined:
            try:
                yield pool, joined
            except torch.OutOfMemoryError as error:
                raise DeviceError(
                    f"{options.device} has no memory left; try --checkpoint-gradients, or a "
                    "smaller --batch-size with more --accumulate"
                ) from error


@contextmanager
def _prepared(
    clips: list[LabelledClip],
    options: TrainOptions,
    callbacks: "TrainingCallbacks",
    located: "Located | None",
) -> "Iterator[tuple[TrainingSession, Findings]]":
    """Check the clips and load the model; the session is ready for its first step."""
    labels = labels_of(clips)
    with _together(options, callbacks.note) as (pool, processes):
        from timesformer_cli.training.clips import draws_held
        from timesformer_cli.training.session import TrainingSession, enlarged

        callbacks = _heard_by(processes, callbacks)
        model = initial_model(options, labels, callbacks.note, located)
        count, larger = processes.count, enlarged(model.preprocessing, options.recipe)
        # Each process checks its share, and all get all results, in the order of the clips.
        own = clips[processes.rank :: count]
        checks = check_clips(own, pool, model.sampling, larger, callbacks.checked)
        shares = processes.gather(list(checks))
        checked = [shares[place % count][place // count] for place in range(len(clips))]
        items = tuple(clip.anchored for clip in readable(checked))
        weights = class_weights(
            options.class_weights,
            [clip for clip in items if clip.split == "train"],
            model.labels,
            multi_label=options.multi_label,
        )
        findings = summarise_checks(
            checked,
            labels,
            flip=bool(options.recipe.flip),
            weights=dict(zip(model.labels, weights, strict=False)),
            balanced=options.sampler == BALANCED,
        )
        held = sum(clip.decoded_bytes for clip in checked if clip.item.split == "train")
        plan = TrainingPlan(
            options=options,
            config=model.config,
            labels=model.labels,
            sampling=model.sampling,
            preprocessing=model.preprocessing,
            items=items,
            draws=draws_held(held),
            class_weights=weights,
        )
        session = TrainingSession(plan, model, pool, processes)
        if processes.first:
            shortcuts = find_shortcuts(checked, session)
            session.plan = replace(plan, shortcuts=shortcuts)
            findings = with_shortcuts(findings, shortcuts)
        yield session, findings


def _heard_by(processes: "Processes", callbacks: "TrainingCallbacks") -> "TrainingCallbacks":
    """Callbacks for this process: only the first one reports, and each of them can be stopped."""
    from timesformer_cli.training.state import TrainingCallbacks

    if processes.first:
        return callbacks
    return TrainingCallbacks(started=callbacks.started, stopping=callbacks.stopping)
