"""What a request asks for, read from its method and path alone (Kubernetes: API concepts, resource URIs)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qs, unquote

from podstead.objects.errors import StatusError, bad_request

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_KEPT_LENGTH = 256
"""Characters of a target that is remembered as it was read: clients ask the same again and again."""
_MOST_PARAMETERS = 10_000
"""As Go's net/url."""


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """One request, in the terms that authorization and dispatch use.

    `verb` is a Kubernetes verb for resources (get, list, watch, create, update, patch, delete, deletecollection) and
    the lower-case method for everything else. For `namespaces` themselves, `namespace` equals `name`.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    verb: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""


def method_not_allowed() -> StatusError:
    """405 for a method that the path does not have."""
    return StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def parse(method: str, raw_target: str) -> RequestInfo:
    """Return what `raw_target` (path and query as on the request line) asks for; raises StatusError 400.

    A path that names no resource is not an error here: `is_resource` is then False.
    """
    return _parse(method, raw_target) if len(raw_target) <= _KEPT_LENGTH else _parse.__wrapped__(method, raw_target)


@lru_cache(1024)
def _parse(method: str, raw_target: str) -> RequestInfo:
    raw_path, _, raw_query = raw_target.partition("?")
    if not raw_path.startswith("/"):
        raw_path = "/" + raw_path.partition("://")[2].partition("/")[2]  # the absolute form (RFC 9112, 3.2.2)
    if raw_query.count("&") >= _MOST_PARAMETERS:
        raise bad_request("number of URL query parameters exceeded limit")
    try:
        query = parse_qs(raw_query, keep_blank_values=True, errors="strict")
        path = unquote(raw_path, errors="strict")
    except (UnicodeDecodeError, ValueError) as error:
        raise bad_request("the request's path or query is not valid UTF-8") from error
    # As kube-apiserver does: an escaped slash separates too, slashes at the end say nothing, an empty segment within
    # the path is one, and nothing is cleaned or redirected.
    path = path.rstrip("/") or "/"
    segments = path[1:].split("/")
    info = _resource(method, path, segments, query)
    return info or RequestInfo(method=method, path=path, query=query, verb=method.lower())


def _resource(method: str, path: str, segments: list[str], query: Mapping[str, list[str]]) -> RequestInfo | None:
    if segments[:1] == ["api"] and len(segments) >= 3:
        group, version, rest = "", segments[1], segments[2:]
    elif segments[:1] == ["apis"] and len(segments) >= 4 and segments[1]:
        group, version, rest = segments[1], segments[2], segments[3:]
    else:
        return None
    verb = _VERBS.get(method, method.lower())
    if rest[0] == "watch":
        rest = rest[1:]
        if verb != "get" or not rest:
            return None
        verb = "watch"
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in ("status", "finalize"):
            rest = rest[2:]
    if len(rest) > 3:
        # What follows `proxy` is the path that is asked of the node, pod or service.
        if group or rest[2] != "proxy":
            return None
        rest = rest[:3]
    resource, name, subresource = (*rest, "", "")[:3]
    if not name:
        verb = {"get": "list", "delete": "deletecollection"}.get(verb, verb)
        if verb == "list" and flag(query, "watch"):
            verb = "watch"
    elif verb == "get" and not subresource and flag(query, "watch"):
        verb = "watch"
    return RequestInfo(method, path, query, verb, True, group, version, namespace, resource, name, subresource)


def text(query: Mapping[str, list[str]], key: str) -> str:
    """Return the first value of a parameter, "" where there is none."""
    values = query.get(key)
    return values[0] if values else ""


def flag(query: Mapping[str, list[str]], key: str) -> bool:
    """Return a parameter as apimachinery reads a bool: false only if absent, `false` in any case, or `0`."""
    return key in query and query[key][0].lower() not in ("false", "0")


def optional_flag(query: Mapping[str, list[str]], key: str) -> bool | None:
    return flag(query, key) if key in query else None


def integer(query: Mapping[str, list[str]], key: str) -> int | None:
    """Return a parameter as a 64-bit integer, None where it is absent or empty; raises StatusError 400."""
    value = text(query, key)
    if not value:
        return None
    digits = value[1:] if value[0] in "+-" else value
    if not (digits.isascii() and digits.isdigit()):
        raise bad_request(f'strconv.ParseInt: parsing "{value}": invalid syntax')
    number = int(value) if len(digits) < 20 else 1 << 63
    if not -(1 << 63) <= number < 1 << 63:
        raise bad_request(f'strconv.ParseInt: parsing "{value}": value out of range')
    return number
