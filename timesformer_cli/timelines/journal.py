"""What was found so far, on the disk: a run that was killed goes on from there.

A journal lies beside the answer that it will become. Each line is one JSON object: first what was
asked for, then videos as they begin, windows with all their scores batch by batch, shots as they
end, and finished videos. A line is written whole and pushed to the disk's cache at once, so `kill -9`
costs the windows of one batch; half a line at the end is dropped.
"""

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from timesformer_cli.results import to_plain
from timesformer_cli.timelines.results import Timeline
from timesformer_cli.timelines.segments import Scores
from timesformer_cli.video.sample import Clip
from timesformer_cli.video.windows import Shot


@dataclass(slots=True)
class Past:
    """What is known of a video: whole shots, and the windows of the shot after them."""

    shots: list[Shot] = field(default_factory=list)
    clips: list[list[Clip]] = field(default_factory=lambda: [[]])  # of windows, by shot
    scores: list[list[Scores]] = field(default_factory=lambda: [[]])  # by shot, a batch each

    def add(self, clips: list[Clip], scores: Scores) -> None:
        """Windows of the shot that goes on."""
        self.clips[-1] += clips
        self.scores[-1].append(scores)

    def end_shot(self, shot: Shot) -> None:
        """The shot ends; the next one begins."""
        self.shots.append(shot)
        self.clips.append([])
        self.scores.append([])


class Journal:
    """A journal file, written from the end of what is whole in it. Leaving its context closes it."""

    def __init__(self, path: Path, asked: dict[str, Any], *, resume: bool) -> None:
        """Open it; without `resume`, or where something else was asked for, it begins anew."""
        self.path = path
        self.finished: dict[str, Timeline] = {}  # by video
        self.begun: dict[str, Past] = {}
        whole = self._read(asked) if resume else 0
        self._file: BinaryIO = path.open("r+b" if whole else "wb")
        self._file.truncate(whole)
        self._file.seek(whole)
        if not whole:
            self._write({"asked": asked})

    def begin(self, video: str) -> None:
        """The following lines are of this video."""
        self._write({"video": video, "file": file_identity(video)})

    def windows(self, clips: list[Clip], scores: Scores) -> None:
        """A batch of windows, with the scores of all classes."""
        packed = base64.b64encode(scores.astype("<f4").tobytes()).decode("ascii")
        self._write({"clips": [asdict(clip) for clip in clips], "scores": packed})

    def shot(self, shot: Shot) -> None:
        """A shot has ended."""
        self._write({"shot": asdict(shot)})

    def finish(self, timeline: Timeline) -> None:
        """A video is finished."""
        self._write({"finished": to_plain(timeline)})

    def remove(self) -> None:
        """Nothing is left to go on with."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line).encode("ascii") + b"\n")
        self._file.flush()

    def _read(self, asked: dict[str, Any]) -> int:
        """Take in what is whole in the file; returns its length in bytes."""
        length, past = 0, Past()
        for line, end in whole_lines(self.path):
            if not length and line.get("asked") != json.loads(json.dumps(asked)):
                return 0
            if "video" in line:
                past = Past()
                if line["file"] == file_identity(line["video"]):
                    self.begun[line["video"]] = past
            elif "clips" in line:
                clips = [Clip(**clip | {"times": tuple(clip["times"])}) for clip in line["clips"]]
                scores = np.frombuffer(base64.b64decode(line["scores"]), "<f4")
                past.add(clips, scores.reshape(len(clips), -1))
            elif "shot" in line:
                past.end_shot(Shot(**line["shot"]))
            elif "finished" in line:
                timeline = Timeline.from_dict(line["finished"])
                if self.begun.pop(timeline.video, None) is past:
                    self.finished[timeline.video] = timeline
            length = end
        return length


def journal_path(output: Path) -> Path:
    """Where the journal of an answer lies."""
    return output.with_name(f".{output.name}.journal")


def whole_lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """The whole lines of a journal, and where each ends; stops at what is none."""
    end = 0
    try:
        with path.open("rb") as file:
            for text in file:
                end += len(text)
                if not text.endswith(b"\n"):
                    return
                try:
                    yield json.loads(text), end
                except ValueError:
                    return
    except FileNotFoundError:
        return


def file_identity(video: str) -> list[int] | None:
    """What tells a file from another that comes to lie in its place; None where there is none."""
    try:
        status = os.stat(video)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
