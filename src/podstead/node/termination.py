"""A container's termination message: from its file, or from the end of its log.

Source: Kubernetes documentation, "Determine the Reason for Pod Failure".
"""

from __future__ import annotations

import os
from pathlib import Path

MESSAGE_LIMIT = 4096
"""Bytes of a message file that are read."""
LOG_LIMIT, LOG_LINES = 2048, 80
"""What FallbackToLogsOnError takes of the log: bytes, lines."""


def termination_message(file: Path, log_path: Path, policy: str, exit_code: int) -> str:
    """Return the message; empty where there is none. Reads the file without following a link (a container wrote it)."""
    message = _head(file, MESSAGE_LIMIT)
    if message or policy != "FallbackToLogsOnError" or exit_code == 0:
        return message
    return _log_tail(log_path)


def _head(path: Path, limit: int) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, limit).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _log_tail(path: Path) -> str:
    """Return the contents of the last lines of a CRI log (`TIME STREAM TAG CONTENT`)."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 4 * LOG_LIMIT - 80 * LOG_LINES))
            lines = file.read().split(b"\n")[-LOG_LINES - 1 :]
    except OSError:
        return ""
    contents = [parts[3] for line in lines if len(parts := line.split(b" ", 3)) == 4]
    return b"".join(content + b"\n" for content in contents)[-LOG_LIMIT:].decode(errors="replace")
