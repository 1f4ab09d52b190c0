"""How many requests there may be at a time, and when the next may come."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from timesformer_cli.errors import ErrorKind
from timesformer_cli.serving.refused import Refused

LONGEST_WAIT = 60  # seconds that a client is told to wait
FORGETTING = 0.1  # the share of the last request in the mean


class Places:
    """A bounded number of places; whoever finds none is told when one is likely to be free."""

    def __init__(self, most: int) -> None:
        self.most, self.taken = most, 0
        self._mean = 1.0  # seconds that a request keeps its place

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place until the block ends; raises Refused where all are taken."""
        if self.taken >= self.most:
            wait = min(LONGEST_WAIT, max(1, math.ceil(self._mean / self.most)))
            message = f"{self.most} requests are under way, the most here; try again in {wait} s"
            raise Refused(429, ErrorKind.BUSY, message, {"Retry-After": str(wait)})
        self.taken += 1
        began = time.monotonic()
        try:
            yield
        finally:
            self.taken -= 1
            self._mean += FORGETTING * (time.monotonic() - began - self._mean)
