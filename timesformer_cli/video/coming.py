"""Videos whose paths are still being written to stdin: each is there once its line is."""

import queue
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from io import BufferedIOBase

from timesformer_cli.callbacks import NoteCallback, ignore_note
from timesformer_cli.video.find import PAUSE, VideoPath, each_video
from timesformer_cli.video.listed import names_as_they_come

WAITING = 1000  # paths that may wait; then whoever writes them waits


def coming_videos(
    arguments: Sequence[str],
    stdin: BufferedIOBase,
    fps: float | None = None,
    note: NoteCallback = ignore_note,
) -> Iterator[VideoPath]:
    """The videos of `find_videos` one by one, and `PAUSE` wherever the next one has to be waited for.

    A thread reads stdin. Raises UsageError, once all that came before was given, where it is no list.
    """
    waiting: queue.Queue[VideoPath | BaseException | None] = queue.Queue(WAITING)

    def collect() -> None:
        try:
            for video in each_video(arguments, partial(names_as_they_come, stdin), fps, note):
                waiting.put(video)
            waiting.put(None)
        except BaseException as error:  # raised where the next video is asked for
            waiting.put(error)

    threading.Thread(target=collect, name="tsf-paths", daemon=True).start()
    while True:
        try:
            item = waiting.get_nowait()
        except queue.Empty:
            yield PAUSE
            item = waiting.get()
        if item is None:
            return
        if isinstance(item, BaseException):
            raise item
        yield item
