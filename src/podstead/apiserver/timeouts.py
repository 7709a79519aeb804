"""The `timeout` parameter of requests that are not streams, as client-go sends it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from podstead.apiserver.request import text
from podstead.objects.errors import StatusError, bad_request

LIMIT = 60.0
"""Seconds that any request may take, and that one without the parameter has."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")


def seconds(query: Mapping[str, list[str]]) -> float:
    """Return the time that a request has, at most LIMIT; raises StatusError 400 for what is not a Go duration."""
    value = text(query, "timeout")
    if value in ("", "0"):
        return LIMIT
    parts = _PART.findall(value)
    if "".join(number + unit for number, unit in parts) != value:
        raise bad_request(f'invalid timeout specified in the request URL - time: invalid duration "{value}"')
    return min(sum(float(number) * _UNITS[unit] for number, unit in parts) or LIMIT, LIMIT)


def exceeded() -> StatusError:
    return StatusError(504, "Timeout", "the request did not complete within the requested timeout", {})
