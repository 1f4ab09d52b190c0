"""Train: labelled clips become a model that every other command takes."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timesformer_cli.dataset.labelled import Item, read_items
from timesformer_cli.dataset.splits import split
from timesformer_cli.errors import DeviceError, UsageError, VideoError
from timesformer_cli.files import replace_file
from timesformer_cli.inference.process_tuning import let_threads_sleep
from timesformer_cli.training.check import Findings, find, look, readable
from timesformer_cli.training.initial_model import check_options, start
from timesformer_cli.training.options import Options, Setup, labels_of
from timesformer_cli.training.report import Report, to_dict
from timesformer_cli.video import DecodePool

if TYPE_CHECKING:
    from timesformer_cli.training.processes import Processes
    from timesformer_cli.training.session import Parts
    from timesformer_cli.training.state import Tick

METRICS, PICTURE, CARD = "metrics.jsonl", "batch.png", "README.md"
RECIPE, RESULTS = "recipe.json", "results.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """Who hears of a training: `checked` of clips looked at (so many, of how many), `found` of what
    they are, `started` of the first step to come, `tick` of steps, `epoch` of each epoch's row,
    `note` of what should be known; `stopping` says whether to stop.
    """

    note: Callable[[str], None] = lambda text: None
    checked: Callable[[int, int], None] = lambda done, total: None
    found: Callable[[Findings], None] = lambda findings: None
    started: Callable[[], None] = lambda: None
    tick: "Callable[[Tick], None]" = lambda tick: None
    epoch: Callable[[dict[str, Any]], None] = lambda row: None
    stopping: Callable[[], bool] = lambda: False


def read(options: Options, *, dry_run: bool = False) -> list[Item]:
    """The clips as listed, each in its split; no model and no clip is looked at.

    Raises UsageError for what is wrong already; a `dry_run` takes no folder.
    """
    from timesformer_cli.training import checkpoint

    folder = Path(options.out)
    if not dry_run and (folder / checkpoint.NAME).exists():
        raise UsageError(f"{folder} holds a training: --resume {folder}, or another --out")
    check_options(options)
    items = read_items(Path(options.data), group_by=options.group_by)
    items = split(items, options.val_fraction, options.seed)
    labels_of(items)
    return items


def check(items: list[Item], options: Options, watch: Watch) -> Findings:
    """All that comes before the first step, and a picture of the first batch; nothing is trained."""
    with _prepared(items, options, watch) as (parts, findings):
        from timesformer_cli.training.batch_picture import draw_batch

        folder = Path(options.out)
        folder.mkdir(parents=True, exist_ok=True)
        draw_batch(parts, folder / PICTURE)
        return replace(findings, picture=str(folder / PICTURE))


def run(items: list[Item], options: Options, watch: Watch) -> Report | None:
    """Train from the start; raises TsfError, and Stopped when `watch.stopping` says so.

    Of several processes the first has the report.
    """

    folder = Path(options.out)
    with _prepared(items, options, watch) as (parts, findings):
        if parts.processes.first:
            from timesformer_cli.training.batch_picture import draw_batch

            watch.found(findings)
            folder.mkdir(parents=True, exist_ok=True)
            draw_batch(parts, folder / PICTURE)
            recipe = {"options": asdict(options), "recipe": asdict(options.recipe)}
            replace_file(folder / RECIPE, _encoded(json.dumps(recipe, indent=2)))
        return _train(parts, None, watch)


def resume(folder: Path, watch: Watch, **changes: Any) -> Report | None:
    """Go on with the training of that folder, in its own words but for `changes` to its options."""
    from timesformer_cli.training import checkpoint

    stored = checkpoint.read(folder)
    setup = Setup.from_dict(stored["setup"])
    options = replace(setup.options, out=str(folder), **changes)
    with _together(options) as (pool, processes):
        from timesformer_cli.training.session import Parts

        parts = Parts.of_setup(replace(setup, options=options), stored["backbone"], pool, processes)
        return _train(parts, stored["training"], _heard_by(processes, watch))


@contextmanager
def _together(options: Options) -> "Iterator[tuple[DecodePool, Processes]]":
    """Decoders and, under torchrun, the other processes. Memory that runs out is explained."""
    workers = options.workers or os.cpu_count() or 1
    let_threads_sleep()
    with DecodePool(workers, options.timeout, options.decoder, debug=options.debug) as pool:
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
    items: list[Item], options: Options, watch: Watch
) -> "Iterator[tuple[Parts, Findings]]":
    """Clips looked at, and the model that they will train."""
    labels = labels_of(items)
    with _together(options) as (pool, processes):
        from timesformer_cli.training.clips import draws_held
        from timesformer_cli.training.session import Parts, enlarged

        watch = _heard_by(processes, watch)
        model = start(options, labels, watch.note)
        count, larger = processes.count, enlarged(model.preprocessing, options.recipe)
        mine = items[processes.rank :: count]
        looking = look(mine, pool, model.sampling, larger, watch.checked)
        shares = processes.gather(list(looking))
        looked = [shares[place % count][place // count] for place in range(len(items))]
        findings = find(looked, labels, flip=bool(options.recipe.flip))
        held = sum(one.decoded_bytes for one in looked if one.item.split == "train")
        setup = Setup(
            options=options,
            config=model.config,
            labels=model.labels,
            sampling=model.sampling,
            preprocessing=model.preprocessing,
            items=readable(looked),
            draws=draws_held(held),
        )
        yield Parts(setup, model, pool, processes), findings


def _heard_by(processes: "Processes", watch: Watch) -> Watch:
    """Only the first process speaks; all can be stopped."""
    if processes.first:
        return watch
    return Watch(started=watch.started, stopping=watch.stopping)


def _train(parts: "Parts", state: dict[str, Any] | None, watch: Watch) -> Report | None:
    from timesformer_cli.training import checkpoint
    from timesformer_cli.training.card import card
    from timesformer_cli.training.loop import Training
    from timesformer_cli.training.state import Hooks, Stopped

    folder, first = Path(parts.setup.options.out), parts.processes.first
    lost: list[str] = []

    def heard(error: VideoError) -> None:
        lost.append(str(error))
        watch.note(f"a clip was left out: {error}")

    def epoch(history: list[dict[str, Any]]) -> None:
        if first:
            lines = "".join(json.dumps(row) + "\n" for row in history)
            replace_file(folder / METRICS, lines.encode())
            watch.epoch(history[-1])

    def save(content: dict[str, Any]) -> None:
        checkpoint.save({**parts.kept, "training": content}, folder)

    def best() -> None:
        if first:
            parts.write(training.result, folder)

    hooks = Hooks(
        tick=watch.tick,
        epoch=epoch,
        lost=heard,
        save=save,
        best=best,
        stopping=watch.stopping,
    )
    train, held_out = parts.samples()
    training = Training(parts.learner, parts.settings, parts.processes, hooks)
    if state is not None:
        training.load(state)
    watch.started()
    try:
        training.run(train, held_out)
    except Stopped:
        raise Stopped(folder) from None
    if not first:
        return None
    position = training.position
    report = Report(
        folder=str(folder),
        labels=parts.setup.labels,
        history=tuple(position.history),
        best_epoch=position.best_epoch,
        scores=parts.scores(folder),
        clips={name: len(parts.setup.of_split(name)) for name in ("train", "val", "test")},
        seconds=position.seconds,
        lost=tuple(lost),
    )
    replace_file(folder / CARD, _encoded(card(parts.setup, report)))
    replace_file(folder / RESULTS, _encoded(json.dumps(to_dict(report), indent=2)))
    return report


def _encoded(text: str) -> bytes:
    return (text + "\n").encode("utf-8", "backslashreplace")
