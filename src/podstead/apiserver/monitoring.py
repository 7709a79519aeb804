"""/metrics of the API server: requests by verb, resource and code, how long they took, and what is under way.

Names are kube-apiserver's: https://kubernetes.io/docs/reference/instrumentation/metrics/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from podstead.apiserver.answers import Answer
from podstead.apiserver.request import RequestInfo
from podstead.metrics import CONTENT_TYPE, Histogram, Series, encode, family, process_families
from podstead.objects.kinds import ResourceInfo

PATH = "/metrics"
_LABELS = ("verb", "group", "version", "resource", "subresource", "scope")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_VERBS = {"create": "POST", "update": "PUT", "deletecollection": "DELETECOLLECTION"}
_METHODS = frozenset(("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"))


class Requests:
    """Counts requests. `known` are the resources whose names become labels: others would be as many as anyone likes."""

    def __init__(self, known: Iterable[ResourceInfo]) -> None:
        self._known = {
            (info.group, info.version, info.plural, below)
            for info in known
            for below in ("", *(sub.name for sub in info.subresources))
        }
        self._seconds = Histogram("", "", (*_LABELS, "code"), _BUCKETS)
        self.reading = 0
        self.writing = 0
        """Requests under way, watches and streams among them."""

    def begin(self, method: str) -> None:
        """A request has come."""
        if method in ("GET", "HEAD"):
            self.reading += 1
        else:
            self.writing += 1

    def end(self, info: RequestInfo, method: str, code: int, seconds: float) -> None:
        """It has been answered."""
        if method in ("GET", "HEAD"):
            self.reading -= 1
        else:
            self.writing -= 1
        group, version, resource, subresource = info.group, info.version, info.resource, info.subresource
        if (group, version, resource, subresource) not in self._known:
            group = version = resource = subresource = scope = ""
        else:
            scope = "resource" if info.name else "namespace" if info.namespace else "cluster"
        verb = info.verb if info.verb in _METHODS else "other"
        self._seconds.observe(seconds, (verb, group, version, resource, subresource, scope, str(code)))

    def text(self) -> Iterator[str]:
        """Yield the lines of the text format."""
        totals, spans = [], Histogram("apiserver_request_duration_seconds", "Seconds per request.", _LABELS, _BUCKETS)
        for (verb, *rest, code), series in list(self._seconds.series.items()):
            labels = (_VERBS.get(verb, verb.upper()), *rest)
            totals.append((dict(zip(_LABELS, labels, strict=True)) | {"code": code}, float(sum(series.counts))))
            spans.series.setdefault(labels, Series(len(_BUCKETS))).add(series)
        yield from family("apiserver_request_total", "counter", "Requests, by what was asked and the answer.", totals)
        yield from spans.text()
        under_way = [({"request_kind": "readOnly"}, self.reading), ({"request_kind": "mutating"}, self.writing)]
        yield from family("apiserver_current_inflight_requests", "gauge", "Requests under way.", under_way)


class Monitoring:
    """Answers /metrics. `watches` tells how many are open; `more` are what other parts of the server measure."""

    def __init__(self, requests: Requests, watches: Callable[[], int], more: Sequence[Histogram]) -> None:
        self._requests = requests
        self._watches = watches
        self._more = more

    def answer(self) -> Answer:
        """Return the text."""
        return Answer(encode(self._lines()), 200, CONTENT_TYPE)

    def _lines(self) -> Iterator[str]:
        yield from self._requests.text()
        watches = [({"verb": "WATCH"}, float(self._watches()))]
        yield from family("apiserver_longrunning_requests", "gauge", "Open watches.", watches)
        for one in self._more:
            yield from one.text()
        yield from process_families()
