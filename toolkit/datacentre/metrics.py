"""What the gateway counts, in the text format of Prometheus (exposition format 0.0.4)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from toolkit.datacentre.index import Index
from toolkit.datacentre.looking import Workers
from toolkit.datacentre.spool import Spool

_COUNTING_SECONDS = 30.0  # for which a count of the index is used again: it looks at each document
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_DOCUMENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one gateway; a registry of its own, so that several can live in one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        place: dict[str, Any] = {"namespace": "mdc_gateway", "registry": self._registry}
        self._requests = Counter("requests", "Requests by action and HTTP status.", ["action", "status"], **place)
        self._seconds = Histogram("request_seconds", "From a request's head to its answer.", ["action"], buckets=_SECONDS, **place)
        self._bytes = Counter("received_bytes", "Bytes of request bodies.", **place)
        self._groups = Histogram("commit_documents", "Documents that shared one fsync.", buckets=_DOCUMENTS, **place)
        self._handshakes = Counter("failed_handshakes", "Connections that ended before a request, by reason.", ["reason"], **place)
        self._place = place
        self._lock = threading.Lock()
        self._counted = -_COUNTING_SECONDS

    def watch(self, spool: Spool, index: Index, workers: Workers) -> None:
        """Tell what these are at the moment, too."""
        Gauge("spool_bytes", "Bytes of the spool's segments.", **self._place).set_function(spool.size)
        Gauge("workers", "Processes that look at documents.", **self._place).set_function(lambda: workers.count)
        Gauge("workers_replaced", "Processes that died or hung and were replaced.", **self._place).set_function(lambda: workers.replaced)
        self._waiting = Gauge("documents_waiting", "Documents in the spool that no pack holds yet.", **self._place)
        self._index = index

    def watch_door(self, connections: Callable[[], int], days: Callable[[], int]) -> None:
        """Tell how many connections there are, and how many days our certificate is still good, too."""
        Gauge("connections", "Open connections.", **self._place).set_function(connections)
        Gauge("certificate_days", "Days until the gateway's certificate ends.", **self._place).set_function(days)

    def answered(self, action: str, status: int, seconds: float, size: int) -> None:
        """One request is over."""
        self._requests.labels(action, str(status)).inc()
        self._seconds.labels(action).observe(seconds)
        self._bytes.inc(size)

    def committed(self, documents: int) -> None:
        """So many documents shared one fsync."""
        self._groups.observe(documents)

    def refused(self, reason: str) -> None:
        """A connection ended before its first request."""
        self._handshakes.labels(reason).inc()

    def text(self) -> bytes:
        """All of them. It may wait for the index, so call it in a thread. Raises what the index raises."""
        with self._lock:
            if time.monotonic() - self._counted > _COUNTING_SECONDS:
                self._waiting.set(self._index.counts().spooled)
                self._counted = time.monotonic()
        return generate_latest(self._registry)
