"""The process on one of several devices: loads the model, then scores batches until it is ended.

Its parent is `device_pool`.
"""

from typing import Any

import numpy as np

from timesformer_cli.children import die_with, receive, send, take_pipes
from timesformer_cli.errors import TsfError
from timesformer_cli.inference.open import open_model
from timesformer_cli.inference.outputs import as_floats
from timesformer_cli.inference.scorer import scorer_of
from timesformer_cli.weights.hub.locate import Located


def main(
    parent: int, located: str, device: str, dtype: str, compile: str, multi_label: str
) -> None:
    """Send a greeting, then answer each message of frames with the model's outputs.

    An error of ours is sent with its name, so that the parent can raise it, and ends the process.
    """
    requests, replies = take_pipes()
    die_with(parent)
    try:
        where = Located.from_text(located)
        model, notes = open_model(where, device, dtype, compile=bool(compile))
        predictor = scorer_of(model, where.name, multi_label=bool(multi_label))
        greeting = {"notes": notes, "device": predictor.device, "dtype": predictor.dtype}
        send(replies, greeting)
        while True:
            try:
                header, payload = receive(requests)
            except EOFError:
                return
            frames = np.frombuffer(payload, np.uint8).reshape(header["shape"])
            outputs = predictor.start(frames, features=header["features"])()
            given = outputs.scores, outputs.features
            parts = [as_floats(part) for part in given if part is not None]
            said = {"seconds": outputs.seconds, "classes": outputs.scores.shape[1]}
            send(replies, said, np.concatenate(parts, axis=1).tobytes())
    except TsfError as error:
        named: dict[str, Any] = {"error": type(error).__name__, "message": str(error)}
        send(replies, named)
