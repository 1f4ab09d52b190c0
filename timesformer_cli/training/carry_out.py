"""A training that is ready, carried out: its steps or its one fit, its files, its report."""

from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from timesformer_cli.errors import VideoError
from timesformer_cli.files import replace_file
from timesformer_cli.json_text import finite_json
from timesformer_cli.training.report import TrainingReport, report_to_dict

if TYPE_CHECKING:
    from timesformer_cli.training.session import TrainingSession
    from timesformer_cli.training.state import TrainingCallbacks

METRICS, CARD, RESULTS = "metrics.jsonl", "README.md", "results.json"


def carry_out(
    session: "TrainingSession", state: dict[str, Any] | None, callbacks: "TrainingCallbacks"
) -> TrainingReport | None:
    """Train from that state, None being the start; of several processes the first gets the report.

    Raises TrainingStopped when `callbacks.stopping` asks for it.
    """
    from timesformer_cli.training.tracked import told

    folder, options = Path(session.plan.options.out), session.plan.options
    name = options.log if session.processes.first else None
    over = 0 if state is None else state.get("position", {}).get("epoch", 0)
    with told(name, folder, over, callbacks) as (heard, conclude):
        report = _trained(session, state, heard)
        conclude(report)
    return report


def _trained(
    session: "TrainingSession", state: dict[str, Any] | None, callbacks: "TrainingCallbacks"
) -> TrainingReport | None:
    from timesformer_cli.training import checkpoint
    from timesformer_cli.training.card import card
    from timesformer_cli.training.frozen import train_frozen
    from timesformer_cli.training.loop import Training
    from timesformer_cli.training.probe import token_samples
    from timesformer_cli.training.processes import Processes
    from timesformer_cli.training.state import TrainingStopped
    from timesformer_cli.weights.load import load_path
    from timesformer_cli.weights.opened import opens_elsewhere

    folder, first = Path(session.plan.options.out), session.processes.first
    lost: list[str] = []

    def note_loss(error: VideoError) -> None:
        if str(error) not in lost:  # each is met again in every epoch
            lost.append(str(error))
            callbacks.note(f"a clip was left out: {error}")

    def write_history(history: list[dict[str, Any]]) -> None:
        if first:
            lines = "".join(finite_json(row) + "\n" for row in history)
            replace_file(folder / METRICS, lines.encode())
            callbacks.epoch(history)

    def save(content: dict[str, Any]) -> None:
        checkpoint.save_training_state({**session.kept, "training": content}, folder)

    def write_best() -> None:
        if first:
            session.write(training.result, folder, training.best_scores)

    heard = replace(callbacks, epoch=write_history, lost=note_loss, save=save, best=write_best)
    options = session.plan.options
    if options.frozen and not first:  # what reads a frozen network is made by one process
        return None
    if options.freeze_backbone:
        save({})
        callbacks.started()
        position = train_frozen(session, folder, heard)
    else:
        processes = Processes() if options.frozen else session.processes
        training = Training(session.learner, session.settings, processes, heard)
        if state:
            training.load(state)
        callbacks.started()
        try:
            if options.probe is None:
                training.run(*session.samples())
            elif not training.finished:
                if not state:
                    save({})
                began = perf_counter()
                samples = token_samples(session, folder, heard)
                training.position.seconds += perf_counter() - began
                training.run(*samples)
        except TrainingStopped:
            raise TrainingStopped(folder) from None
        if not first:
            return None
        position = training.position
    report = TrainingReport(
        folder=str(folder),
        labels=session.plan.labels,
        history=tuple(position.history),
        best_epoch=position.best_epoch,
        scores=session.scores(folder, note_loss),
        clips={name: len(session.plan.of_split(name)) for name in ("train", "val", "test")},
        seconds=position.seconds,
        lost=tuple(lost),
        opens=opens_elsewhere(folder, load_path(folder)[0]),
        shortcuts=session.plan.shortcuts,
    )
    replace_file(folder / CARD, as_file(card(session.plan, report)))
    replace_file(folder / RESULTS, as_file(finite_json(report_to_dict(report), indent=2)))
    return report


def as_file(text: str) -> bytes:
    """The text as a file has it."""
    return (text + "\n").encode("utf-8", "backslashreplace")
