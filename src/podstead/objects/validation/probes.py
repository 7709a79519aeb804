"""Validation of probes, of lifecycle hooks and of what both can do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import non_negative, port

Object = Mapping[str, Any]

_SCHEMES = ("HTTP", "HTTPS")
_HEADER = "[-A-Za-z0-9]+"
_header_re = re.compile(rf"{_HEADER}\Z")
_HEADER_TEXT = (
    "a valid HTTP header must consist of alphanumeric characters or '-' "
    f"(e.g. 'X-Header-Name', regex used for validation is '{_HEADER}')"
)
_PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
_COUNTS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_WINDOWS_SIGNALS = ("SIGKILL", "SIGTERM")


def validate_probe(kind: str, probe: Object, grace: int | None, path: str) -> Iterator[FieldError]:
    """`kind` is the field's name, `grace` the pod's seconds to end in."""
    yield from _handler(probe, _PROBE_HANDLERS, grace, path)
    yield from non_negative(probe, _COUNTS, path)
    seconds = probe.get("terminationGracePeriodSeconds")
    if seconds is not None and seconds <= 0:
        yield meta.invalid(f"{path}.terminationGracePeriodSeconds", seconds, "must be greater than 0")
    if kind == "readinessProbe":
        if seconds is not None:
            detail = "must not be set for readinessProbes"
            yield meta.invalid(f"{path}.terminationGracePeriodSeconds", seconds, detail)
    elif probe.get("successThreshold") != 1:
        yield meta.invalid(f"{path}.successThreshold", probe.get("successThreshold") or 0, "must be 1")


def validate_lifecycle(lifecycle: Object, grace: int | None, os: Object | None, path: str) -> Iterator[FieldError]:
    for name in ("postStart", "preStop"):
        if lifecycle.get(name) is not None:
            yield from _handler(lifecycle[name], _HOOK_HANDLERS, grace, f"{path}.{name}")
    signal = lifecycle.get("stopSignal")
    if signal is not None:
        system = (os or {}).get("name")
        if not system:
            yield meta.forbidden(f"{path}.stopSignal", "may not be set for containers with empty `spec.os.name`")
        elif system == "windows" and signal not in _WINDOWS_SIGNALS:
            yield meta.unsupported(f"{path}.stopSignal", signal, _WINDOWS_SIGNALS)


def _handler(holder: Object, kinds: Sequence[str], grace: int | None, path: str) -> Iterator[FieldError]:
    given = [kind for kind in kinds if holder.get(kind) is not None]
    if not given:
        yield meta.required(path, "must specify a handler type")
        return
    # Only the first is looked into; the order is that of `kinds`.
    kind, action = given[0], holder[given[0]]
    at = f"{path}.{kind}"
    if kind == "exec":
        if not action.get("command"):
            yield meta.required(f"{at}.command")
    elif kind == "httpGet":
        yield from _http_get(action, at)
    elif kind == "sleep":
        yield from _sleep(action.get("seconds") or 0, grace, at)
    else:
        target = action.get("port")
        yield from port(0 if target is None else target, f"{at}.port")
    for extra in given[1:]:
        yield meta.forbidden(f"{path}.{extra}", "may not specify more than 1 handler type")


def _http_get(action: Object, path: str) -> Iterator[FieldError]:
    if not action.get("path"):
        yield meta.required(f"{path}.path")
    target = action.get("port")
    yield from port(0 if target is None else target, f"{path}.port")
    scheme = action.get("scheme") or ""
    if scheme not in _SCHEMES:
        yield meta.unsupported(f"{path}.scheme", scheme, _SCHEMES)
    for header in action.get("httpHeaders") or ():
        name = header.get("name") or ""
        if not _header_re.match(name):
            yield meta.invalid(f"{path}.httpHeaders", name, _HEADER_TEXT)


def _sleep(seconds: int, grace: int | None, path: str) -> Iterator[FieldError]:
    if grace is not None and not 0 <= seconds <= grace:
        detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
        yield meta.invalid(path, seconds, detail)
