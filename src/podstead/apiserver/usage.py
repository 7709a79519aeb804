"""metrics.k8s.io/v1beta1: what nodes and pods use, asked of the nodes when a client asks (`kubectl top`).

https://kubernetes.io/docs/reference/external-api/metrics.v1beta1/; texts are metrics-server's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from podstead.apiserver import query
from podstead.apiserver.answers import Answer
from podstead.apiserver.call import Call
from podstead.apiserver.nodes import NodeRequest
from podstead.apiserver.render import Renderer
from podstead.apiserver.request import method_not_allowed
from podstead.objects.errors import StatusError, bad_request, not_found, path_not_found
from podstead.objects.kinds import ResourceInfo
from podstead.objects.selectors import parse_field_selector, parse_label_selector
from podstead.registry.entry import Entry, unstored
from podstead.registry.registry import Registry
from podstead.streams.dialer import NodeDialer

GROUP = "metrics.k8s.io"


def _resource(plural: str, kind: str, *, namespaced: bool) -> ResourceInfo:
    return ResourceInfo(
        group=GROUP,
        version="v1beta1",
        kind=kind,
        plural=plural,
        singular="",
        short_names=(),
        namespaced=namespaced,
        verbs=("get", "list"),
        categories=(),
        subresources=(),
        acted_on_by="node agent",
    )


NODES = _resource("nodes", "NodeMetrics", namespaced=False)
PODS = _resource("pods", "PodMetrics", namespaced=True)
RESOURCES = (NODES, PODS)
_NAMES = {"nodes": "nodemetrics", "pods": "podmetrics"}

Object = dict[str, Any]


class UsageApi:
    """Answers for both resources. A node that does not answer has no metrics, nor have its pods."""

    def __init__(self, registry: Registry, dialer: NodeDialer) -> None:
        self._registry = registry
        self._dialer = dialer

    async def answer(self, call: Call) -> Answer:
        """Raises StatusError 400, 404, 405, 406."""
        asked = call.info
        info = next((one for one in RESOURCES if one.plural == asked.resource), None)
        if info is None or asked.version != info.version or asked.subresource:
            raise path_not_found()
        if asked.verb not in info.verbs:
            raise method_not_allowed()
        if (asked.namespace and not info.namespaced) or (asked.name and info.namespaced and not asked.namespace):
            raise path_not_found()
        if asked.verb == "get":
            renderer = Renderer.of(info, call.accept, asked.query)
            found = [one for one in await self._all(info) if _is(one, asked.namespace, asked.name)]
            if not found:
                name = f"{asked.namespace}/{asked.name}" if info.namespaced else asked.name
                raise not_found(_NAMES[info.plural], name, GROUP)
            return Answer(renderer.one(found[0]))
        renderer = Renderer.of(info, call.accept, asked.query, many=True)
        matches = _selection(call)
        chosen = [one for one in await self._all(info) if _is(one, asked.namespace) and matches(one)]
        return Answer(renderer.many(chosen, {}))

    async def _all(self, info: ResourceInfo) -> list[Entry]:
        nodes = {node["metadata"]["name"]: _labels(node) for node in self._registry.scan("nodes")}
        documents = [one for one in await asyncio.gather(*map(self._ask, nodes)) if one is not None]
        if info is NODES:
            made = [_node(one, nodes.get(one["node"]["name"], {})) for one in documents]
        else:
            pods = {(pod["metadata"]["namespace"], pod["metadata"]["name"]): pod for pod in self._registry.scan("pods")}
            made = [pod for one in documents for pod in _pods(one, pods)]
        return [unstored(one) for one in made]

    async def _ask(self, node: str) -> Mapping[str, Any] | None:
        """Return the node's answer; None where there is none."""
        try:
            async with await NodeRequest.open(self._dialer, node) as request:
                headers = [(b"Host", quote(node).encode()), (b"Connection", b"close")]
                await request.send("GET", "/stats/usage", headers)
                if request.status != 200:
                    return None
                document: Mapping[str, Any] = msgspec.json.decode(b"".join([part async for part in request.body()]))
        except (StatusError, ConnectionError, msgspec.DecodeError):
            return None
        return document


def _is(entry: Entry, namespace: str, name: str = "") -> bool:
    meta = entry.object["metadata"]
    return namespace in ("", meta.get("namespace", "")) and name in ("", meta["name"])


def _selection(call: Call) -> Callable[[Entry], bool]:
    """Raises StatusError 400."""
    options = query.list_options(call.info.query, watch=False)
    try:
        labels = parse_label_selector(options.label_selector)
        fields = parse_field_selector(options.field_selector)
    except ValueError as error:
        raise bad_request(str(error)) from error

    def matches(entry: Entry) -> bool:
        meta = entry.object["metadata"]
        shown = {"metadata.name": meta["name"], "metadata.namespace": meta.get("namespace", "")}
        return labels.matches(meta.get("labels") or {}) and fields.matches(shown)

    return matches


def _node(document: Mapping[str, Any], labels: Mapping[str, str]) -> Object:
    node = document["node"]
    return _object(NODES, document, {"name": node["name"]}, labels) | {"usage": _usage(node)}


def _labels(obj: Mapping[str, Any]) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _pods(document: Mapping[str, Any], known: Mapping[tuple[str, str], Mapping[str, Any]]) -> Iterator[Object]:
    for pod in document["pods"]:
        if (obj := known.get((pod["namespace"], pod["name"]))) is not None:
            containers = [{"name": one["name"], "usage": _usage(one)} for one in pod["containers"]]
            names = {"name": pod["name"], "namespace": pod["namespace"]}
            yield _object(PODS, document, names, _labels(obj)) | {"containers": containers}


def _object(
    info: ResourceInfo, document: Mapping[str, Any], names: Mapping[str, str], labels: Mapping[str, str]
) -> Object:
    metadata: Object = {**names, "creationTimestamp": document["time"]}
    if labels:
        metadata["labels"] = dict(labels)
    head = {"kind": info.kind, "apiVersion": info.api_version, "metadata": metadata}
    return head | {"timestamp": document["time"], "window": _duration(document["window"])}


def _usage(used: Mapping[str, int]) -> dict[str, str]:
    return {"cpu": f"{used['cpu']}n" if used["cpu"] else "0", "memory": f"{used['memory'] >> 10}Ki"}


def _duration(seconds: float) -> str:
    """Return seconds as Go's time.Duration prints them, to the millisecond: 15.002s, 1m30s."""
    minutes, rest = divmod(round(seconds, 3), 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{minutes:.0f}m{text}" if minutes else text
