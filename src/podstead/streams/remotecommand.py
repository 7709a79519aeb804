"""What exec and attach ask of a streaming session, whatever carries it: channels, messages, and how one ends.

A codec (WebSocket, SPDY) fills `Session`; the node's server runs commands against it. Channel numbers, query names and
the Status of version 4 are Kubernetes' remotecommand protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

import msgspec

TRANSFER_SIZE = 64 << 10
"""Bytes of output that go into one frame."""

_SIZES_LIMIT = 8 << 10
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))


class Channel(IntEnum):
    """Numbers of the streams, where the carrier numbers them."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4
    CLOSE = 255


class OptionsError(ValueError):
    """A query asks for no stream at all."""


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Which streams a client asked for. With `tty` there is one output, stdout."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> StreamOptions:
        """Read the kubelet's names (input, output, error, tty); raises OptionsError."""
        asked = {name: query.get(name, "") in _TRUE for name in ("input", "output", "error", "tty")}
        if not (asked["input"] or asked["output"] or asked["error"]):
            raise OptionsError("you must specify at least 1 of stdin, stdout, stderr")
        return cls(asked["input"], asked["output"], asked["error"] and not asked["tty"], asked["tty"])

    @property
    def first_output(self) -> Channel:
        """The lowest channel that the server writes to."""
        if self.stdout:
            return Channel.STDOUT
        return Channel.STDERR if self.stderr else Channel.ERROR


@dataclass(frozen=True, slots=True)
class Input:
    """Bytes for stdin."""

    data: bytes


@dataclass(frozen=True, slots=True)
class InputEnd:
    """Nothing more will come for stdin; the outputs stay open."""


@dataclass(frozen=True, slots=True)
class Resize:
    """The client's terminal has changed: columns and rows, each from 1 to 65,535."""

    width: int
    height: int


Message = Input | InputEnd | Resize


class Session(Protocol):
    """The server's end of one exec or attach. One task receives, others send; both may be cancelled at any await."""

    async def receive(self) -> Message | None:
        """Return what the client sent next; None once it has gone or closed the connection. Answers pings meanwhile."""
        ...

    async def keep_alive(self) -> None:
        """Show the client that the server lives while its input waits for a command that does not read.

        Raises ConnectionError where the client has gone.
        """
        ...

    async def send(self, channel: Channel, data: bytes) -> None:
        """Send output; waits while the client does not read. Raises ConnectionError where the client has gone."""
        ...

    async def finish(self, status: Mapping[str, Any]) -> None:
        """Say how it ended (a metav1.Status) and close; a client that has gone is not an error."""
        ...

    async def close(self) -> None:
        """Release the connection, whether or not `finish` was called."""
        ...


def parse_resize(data: bytes) -> Resize | None:
    """Return what a resize message says (`{"Width": 80, "Height": 24}`); None where it is none or not positive."""
    try:
        size = msgspec.json.decode(data, type=dict[str, Any])
        width, height = int(size["Width"]), int(size["Height"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return None
    if not (0 < width < 1 << 16 and 0 < height < 1 << 16):
        return None
    return Resize(width, height)


class ResizeReader:
    """Resize messages that come as a stream of JSON objects, in whatever pieces."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > _SIZES_LIMIT:
            self._buffer = b""

    def next(self) -> Resize | None:
        """Return the next size; None where there is none yet."""
        while b"}" in self._buffer:
            text, _, self._buffer = self._buffer.partition(b"}")
            if (size := parse_resize(text + b"}")) is not None:
                return size
        return None


def success() -> dict[str, Any]:
    """The Status of a session that ended well."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}


def exit_status(code: int) -> dict[str, Any]:
    """The Status of a command that ended with `code`."""
    if code == 0:
        return success()
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def encode_status(status: Mapping[str, Any], version: int) -> bytes:
    """Return what goes over the error channel: JSON since version 4, before it a failure's message and else nothing."""
    if version >= 4:
        return msgspec.json.encode(status)
    return b"" if status["status"] == "Success" else str(status.get("message", "")).encode()
