"""What a server counts, in Prometheus's text format."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)  # bounds of the histogram
LEFT = 499  # the status of a request whose client left before its answer, as nginx has it


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tsf_requests",
            "Requests by verb and status.",
            ("verb", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "tsf_request_seconds",
            "Time from a request's head to the end of its answer.",
            ("verb",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._videos = Counter(
            "tsf_videos",
            "Videos by outcome: ok, partial, or the kind of the error.",
            ("outcome",),
            registry=self.registry,
        )
        self._bytes = Counter(
            "tsf_upload_bytes", "Bytes of bodies received.", registry=self.registry
        )
        self._places = Gauge(
            "tsf_requests_under_way", "Requests that have a place.", registry=self.registry
        )

    def request(self, verb: str, status: int, seconds: float) -> None:
        """A request has ended."""
        self._requests.labels(verb, str(status)).inc()
        self._seconds.labels(verb).observe(seconds)

    def video(self, outcome: str) -> None:
        """A video was read and scored, or could not be."""
        self._videos.labels(outcome).inc()

    def received(self, count: int) -> None:
        """So many bytes of a body have come."""
        self._bytes.inc(count)

    def text(self, under_way: int) -> bytes:
        """All counters."""
        self._places.set(under_way)
        return generate_latest(self.registry)
