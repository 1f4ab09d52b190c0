"""What was embedded so far, on the disk: a run that was killed goes on from there.

It lies beside the file that it will become, as a timeline's journal does, and each of its lines is
one JSON object: first what was asked for, then a video with its vectors as soon as it is known.
Videos that failed are not in it; they are tried again.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.library.embed import Embedded, Embedding, EmbedResult
from timesformer_cli.timelines.journal import file_identity, whole_lines


class EmbedJournal:
    """A journal file, written from the end of what is whole in it. Leaving its context closes it.

    Of a video that is known only its place in the file is held in memory.
    """

    def __init__(self, path: Path, asked: dict[str, Any], *, resume: bool) -> None:
        """Open it; without `resume`, or where something else was asked for, it begins anew."""
        self.path = path
        self._places: dict[str, int] = {}  # of the known videos' lines
        self._holds = False  # a video: else there is nothing to go on with
        whole = self._read(json.loads(json.dumps(asked))) if resume else 0
        self._file: BinaryIO = path.open("r+b" if whole else "w+b")
        self._file.truncate(whole)
        self._file.seek(whole)
        if not whole:
            self._write({"asked": asked})

    def __contains__(self, video: object) -> bool:
        return video in self._places

    def joined(self, videos: Iterable[str], new: Iterable[EmbedResult]) -> Iterator[EmbedResult]:
        """The results of all videos in their order: the known ones, and the new ones as they come."""
        coming = iter(new)
        for video in videos:
            if video in self._places:
                yield self._known(video)
                continue
            result = next(coming)
            assert result.video == video
            if isinstance(result, Embedded):
                self._add(result)
            yield result

    def remove(self) -> None:
        """Nothing is left to go on with."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> "EmbedJournal":
        return self

    def __exit__(self, *_: object) -> None:
        if self._holds:
            self._file.close()
        else:
            self.remove()

    def _add(self, result: Embedded) -> None:
        values = asdict(result)
        for value, embedding in zip(values["embeddings"], result.embeddings, strict=True):
            value["vector"], value["look"] = _packed(embedding.vector), None
        self._write({"file": file_identity(result.video), "embedded": values})
        self._holds = True

    def _known(self, video: str) -> Embedded:
        end = self._file.seek(0, 2)
        self._file.seek(self._places[video])
        values = json.loads(self._file.readline())["embedded"]
        self._file.seek(end)
        embeddings = tuple(
            Embedding(
                **each
                | {
                    "predictions": tuple(Prediction(**said) for said in each["predictions"]),
                    "vector": np.frombuffer(base64.b64decode(each["vector"]), "<f4"),
                }
            )
            for each in values["embeddings"]
        )
        tuples = {"embeddings": embeddings, "warnings": tuple(values["warnings"])}
        return Embedded(**values | tuples)

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line).encode("ascii") + b"\n")
        self._file.flush()

    def _read(self, asked: Any) -> int:
        """Note where the known videos are; returns the length in bytes of what is whole."""
        length = 0
        for line, end in whole_lines(self.path):
            if not length and line.get("asked") != asked:
                return 0
            if "embedded" in line:
                video = line["embedded"]["video"]
                # The last line of a video counts: a file that changed has another one.
                self._places.pop(video, None)
                if line["file"] == file_identity(video):
                    self._places[video] = length
                    self._holds = True
            length = end
        return length


def _packed(vector: Any) -> str:
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode("ascii")
