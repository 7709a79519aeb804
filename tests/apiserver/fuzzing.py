"""What the fuzz tests share: their length, requests of every verb and content type, and what every answer keeps."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import yaml
import yarl
from apiserver_harness import Instance
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podstead.objects import kinds

_T = TypeVar("_T")
LONG = os.environ.get("PODSTEAD_TEST_LONG", "") not in ("", "0")
"""The long forms: thousands of random requests, thousands of connections."""
ANSWER_SECONDS = 20

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
PATCHES = tuple(f"application/{name}" for name in ("json-patch+json", "merge-patch+json", "strategic-merge-patch+json"))
APPLY = "application/apply-patch+yaml"


def examples(short: int, long: int) -> settings:
    """The same requests in every short run, others in every long one."""
    return settings(
        max_examples=long if LONG else short,
        derandomize=not LONG,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    @property
    def url(self) -> yarl.URL:
        query = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in self.query)
        return yarl.URL(f"{self.path}?{query}" if query else self.path, encoded=True)


# -- values

TEXT = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
    st.sampled_from(["", "default", "a", "0", "-1", "x" * 300, "a/b", "..", "%", "\x00", "a=b", "null", "☃", "1e400"]),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**30, -0.0, 1.5, 1e300]),
    TEXT,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)

_CONTAINER = {
    "name": "c",
    "image": "busybox",
    "command": ["true"],
    "env": [{"name": "A", "value": "b"}],
    "ports": [{"containerPort": 80, "protocol": "TCP"}],
    "resources": {"limits": {"cpu": "1", "memory": "1Mi"}},
    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
}
_POD = {"containers": [_CONTAINER], "volumes": [{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]}
_META = {
    "name": "a",
    "labels": {"a": "b"},
    "annotations": {"a": "b"},
    "finalizers": ["example.com/f"],
    "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u"}],
}
_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": _POD}
_SPECS: dict[str, dict[str, Any]] = {
    "pods": {"spec": _POD, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}},
    "configmaps": {"data": {"k": "v"}, "binaryData": {"b": "AA=="}},
    "secrets": {"stringData": {"k": "v"}, "type": "Opaque"},
    "services": {"spec": {"selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "http"}]}},
    "deployments": {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": _TEMPLATE, "replicas": 1}},
    "controllerrevisions": {"revision": 1, "data": {"a": {"b": [1]}}},
    "persistentvolumeclaims": {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    },
    "leases": {"spec": {"holderIdentity": "a", "leaseDurationSeconds": 1, "renewTime": "2020-01-01T00:00:00.000000Z"}},
    "events": {"involvedObject": {"namespace": "default", "name": "a"}, "reason": "R", "lastTimestamp": None},
    "horizontalpodautoscalers": {
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "a"}, "minReplicas": 1, "maxReplicas": 2}
    },
}


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in _places(item, (*path, key)))]


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copied = value.copy()
    copied[path[0]] = _replaced(value[path[0]], path[1:], new)
    return copied


@st.composite
def objects(draw: st.DrawFn, info: kinds.ResourceInfo) -> Any:
    """An object that could be right, with up to three values that are not."""
    obj: Any = {"apiVersion": info.api_version, "kind": info.kind, "metadata": _META, **_SPECS.get(info.plural, {})}
    obj = _replaced(obj, ("metadata", "name"), draw(st.sampled_from(["a", "b", "c"])))
    for _ in range(draw(st.integers(0, 3))):
        if not isinstance(obj, dict):
            break
        place = draw(st.sampled_from(_places(obj)))
        obj = _replaced(obj, place, draw(VALUES))
    return obj


@st.composite
def json_patches(draw: st.DrawFn, obj: Any) -> Any:
    pointers = ["/" + "/".join(map(str, place)) for place in _places(obj)]
    pointers += ["", "/-", "a", "/metadata/labels/-", "/~2"]
    pointer = st.sampled_from(pointers)
    operation = st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "no"]), "path": pointer},
        optional={"from": pointer, "value": VALUES},
    )
    return draw(st.lists(operation, max_size=4) | VALUES)


@st.composite
def bodies(draw: st.DrawFn, info: kinds.ResourceInfo, content_type: str) -> bytes:
    """Bytes that often are of `content_type`, and sometimes are not."""
    value = draw(objects(info))
    if content_type == PATCHES[0]:
        value = draw(json_patches(value))
    if content_type == PATCHES[2] and isinstance(value, dict) and draw(st.booleans()):
        directive = draw(st.sampled_from(["$patch", "$retainKeys", "$setElementOrder/a", "$deleteFromPrimitiveList/a"]))
        value = _replaced({**value, directive: None}, (directive,), draw(VALUES))
    if content_type in (YAML, APPLY) and draw(st.booleans()):
        data = yaml.safe_dump(value, allow_unicode=True).encode()
    else:
        data = json.dumps(value).encode()
    if content_type == PROTOBUF:
        return b"k8s\0" + draw(st.binary(max_size=60))
    match draw(st.integers(0, 19)):
        case 3:
            return draw(st.binary(max_size=40))
        case 1:
            where = draw(st.integers(0, len(data)))
            return data[:where] + draw(st.binary(min_size=1, max_size=3)) + data[where + 1 :]
        case 2:
            return data[: draw(st.integers(0, len(data)))]
    return data


# -- requests

_QUERIES: dict[str, list[str]] = {
    "labelSelector": ["a=b", "a in (b,", "!a", "a>1", "=", "a,,b", "a notin (b)"],
    "fieldSelector": ["metadata.name=a", "spec.nodeName!=x", "x=y", "metadata.name", "metadata.namespace=default"],
    "resourceVersion": ["0", "1", "3", "-1", "x", "99999999999999999999"],
    "resourceVersionMatch": ["Exact", "NotOlderThan", "x"],
    "limit": ["1", "0", "-1", "x", "9223372036854775808"],
    "continue": ["x", "e30", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiYSJ9"],
    "watch": ["1", "true", "false", "x"],
    "allowWatchBookmarks": ["true", "x"],
    "sendInitialEvents": ["true", "false"],
    "timeoutSeconds": ["1", "x"],
    "timeout": ["1s", "-1s", "x", "1h"],
    "dryRun": ["All", "x"],
    "fieldManager": ["me", "", "x" * 200, "\n"],
    "fieldValidation": ["Strict", "Warn", "Ignore", "x"],
    "force": ["true", "false"],
    "gracePeriodSeconds": ["0", "-1", "x", "5"],
    "propagationPolicy": ["Foreground", "Background", "Orphan", "x"],
    "orphanDependents": ["true", "x"],
    "pretty": ["true", ""],
    "includeObject": ["None", "x"],
    "container": ["c", "x"],
    "tailLines": ["1", "x"],
    "command": ["true"],
    "unknown": ["x"],
}
_ACCEPTS = ["*/*", JSON, YAML, PROTOBUF, "text/html", "", ";", f"{JSON};as=Table;v=v1;g=meta.k8s.io", f"{JSON};q=x"]
_ACCEPTS += [f"{JSON};as=PartialObjectMetadata{more};v=v1;g=meta.k8s.io" for more in ("", "List")]
_FURNISHED = [info for info in kinds.DISCOVERED if info.plural in _SPECS]
RESOURCES = st.one_of(st.sampled_from(_FURNISHED), st.sampled_from(_FURNISHED), st.sampled_from(kinds.DISCOVERED))
_USUAL = {False: ["GET", "POST", "POST", "POST", "DELETE"], True: ["GET", "PUT", "PATCH", "PATCH", "PATCH", "DELETE"]}
"""The methods of a collection, and of an object in it."""
METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND"])
_SEGMENT = TEXT.map(lambda text: quote(text, safe=""))


@st.composite
def paths(draw: st.DrawFn, info: kinds.ResourceInfo, named: bool) -> str:
    root = f"/apis/{info.group}/{info.version}" if info.group else f"/api/{info.version}"
    segments = [root]
    if info.namespaced and sometimes(draw, 11, of=12):
        segments += ["namespaces", draw(st.sampled_from(["default", "default", "default", "other", "missing"]))]
    segments.append(info.plural)
    if named:
        segments.append(draw(st.sampled_from(["a", "a", "a", "b", "c"])))
        known = [sub.name for sub in info.subresources]
        if known and sometimes(draw, 1, of=4):
            segments.append(draw(st.sampled_from(known)))
    if sometimes(draw, 1, of=12):
        segments.insert(draw(st.integers(1, len(segments))), draw(_SEGMENT))
    return "/".join(segments)


def sometimes(draw: st.DrawFn, times: int, *, of: int) -> bool:
    return draw(st.integers(0, of - 1)) >= of - times


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A request of any verb to any resource, right or wrong in any part, most often in few."""
    info, named = draw(RESOURCES), draw(st.booleans())
    method = draw(METHODS if sometimes(draw, 1, of=12) else st.sampled_from(_USUAL[named]))
    keys = draw(st.lists(st.sampled_from(sorted(_QUERIES)), max_size=3)) if draw(st.booleans()) else []
    query = [(key, draw(st.sampled_from(_QUERIES[key]) | TEXT)) for key in keys]
    headers = {"Accept": draw(st.sampled_from(_ACCEPTS)) if sometimes(draw, 1, of=8) else JSON}
    body = None
    if method in ("POST", "PUT", "PATCH") or (method == "DELETE" and sometimes(draw, 1, of=6)):
        usual = [*PATCHES, APPLY] if method == "PATCH" else [JSON, JSON, JSON, YAML, PROTOBUF]
        odd = sometimes(draw, 1, of=12)
        content_type = draw(st.sampled_from([JSON, APPLY, "text/plain", "", ";"] if odd else usual))
        if content_type:
            headers["Content-Type"] = content_type
        body = draw(bodies(info, content_type))
        if content_type == APPLY:
            query.append(("fieldManager", "fuzz"))
    return Request(method, draw(paths(info, named)), query, headers, body)


async def furnish(instance: Instance) -> None:
    """Make an object `a` of many kinds, for requests to be about."""
    for info in kinds.SERVED:
        if info.plural not in _SPECS:
            continue
        root = f"/apis/{info.group}/{info.version}" if info.group else f"/api/{info.version}"
        path = f"{root}/namespaces/default/{info.plural}" if info.namespaced else f"{root}/{info.plural}"
        obj = {"metadata": {"name": "a"}, **_SPECS[info.plural]}
        answer = await instance.ask("POST", path, json=obj)
        assert answer.status in (201, 409), answer.body


# -- answers


async def each(
    strategy: st.SearchStrategy[_T], check: Callable[[_T], Coroutine[Any, Any, None]], how: settings
) -> None:
    """Run `check` on the loop for every example: hypothesis itself, which knows no loop, works in a thread."""
    loop = asyncio.get_running_loop()

    @how
    @given(example=strategy)
    def run(example: _T) -> None:
        asyncio.run_coroutine_threadsafe(check(example), loop).result(2 * ANSWER_SECONDS)

    await asyncio.to_thread(run)


async def send(instance: Instance, request: Request) -> tuple[int, Any]:
    """Send a request and check what holds for every answer: it comes in time, and what is not well is a Status.

    Returns the code, and the body where it is JSON and whole.
    """
    options: dict[str, Any] = {"headers": request.headers, "skip_auto_headers": ("Content-Type",)}
    timeout = aiohttp.ClientTimeout(ANSWER_SECONDS)
    call = instance.http.request(request.method, request.url, data=request.body, timeout=timeout, **options)
    async with call as response:
        # A watch goes on for as long as it likes: its head is the answer.
        endless = response.headers.get("Transfer-Encoding") == "chunked"
        data = b"" if endless else await response.read()
        if endless:
            response.close()
    check_answer(request, response.status, data)
    plain = data and response.headers.get("Content-Type", "").startswith(JSON)
    return response.status, json.loads(data) if plain else None


def check_answer(request: Request, status: int, data: bytes) -> None:
    """501 to 505 are no failures of the server: no node answers, a revision does not come, a method that HTTP knows."""
    assert status in (200, 201, 202, 404) or 400 <= status < 500 or status in (503, 504), (status, request, data)
    if status >= 400 and request.method != "HEAD":
        text = yaml.safe_load(data) if not data.startswith(b"{") else json.loads(data)
        assert (text["kind"], text["apiVersion"], text["status"]) == ("Status", "v1", "Failure"), (request, data)
        assert text["code"] == status and text["message"] and text["reason"], (request, data)
        assert "Traceback" not in text["message"] and "<class" not in text["message"], (request, data)
