"""A decode worker that is slow, and tells so, or stops in the middle of a file."""

import time

from timesformer_cli.children import receive, send, take_pipes


def main(parent: int) -> None:
    """Work for four and a half seconds on each file, or stop without a word."""
    requests, replies = take_pipes()
    send(replies, {"status": "ready"})
    while True:
        try:
            request, _ = receive(requests)
        except EOFError:
            return
        for _ in range(9):
            if request["path"] == "stops":
                time.sleep(60)
            time.sleep(0.5)
            send(replies, {"status": "working"})
        send(replies, {"status": "error", "kind": "no_frames", "message": "after all"})
