"""The process on one of several devices: loads the model, then scores batches until it is ended."""

from typing import Any

import numpy as np

from timesformer_cli.children import die_with, receive, send, take_pipes
from timesformer_cli.errors import TsfError
from timesformer_cli.inference.open import ready
from timesformer_cli.inference.predictor import Predictor


def main(parent: int, name: str, device: str, dtype: str, compile: str) -> None:
    """Talk in messages: a greeting out, then frames in and scores out."""
    requests, replies = take_pipes()
    die_with(parent)
    try:
        form, notes = ready(name, device, dtype, compile=bool(compile))
        predictor = Predictor(form)
        greeting = {"notes": notes, "device": predictor.device, "dtype": predictor.dtype}
        send(replies, greeting)
        while True:
            try:
                header, payload = receive(requests)
            except EOFError:
                return
            frames = np.frombuffer(payload, np.uint8).reshape(header["shape"])
            scores, seconds = predictor.start(frames)()
            send(replies, {"seconds": seconds}, scores.numpy().tobytes())
    except TsfError as error:
        named: dict[str, Any] = {"error": type(error).__name__, "message": str(error)}
        send(replies, named)
