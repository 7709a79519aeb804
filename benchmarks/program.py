"""What every benchmark's command line does alike: it needs root, ends with one line of what went wrong, and prints."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from podstead_side import PodsteadFailed
from raw_client import RequestFailed

T = TypeVar("T")

_FAILURES = (PodsteadFailed, RequestFailed, OSError, RuntimeError, TimeoutError, subprocess.SubprocessError)


def measured(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end and return what it found; exits with a line and a code where it cannot, or is cancelled."""
    if os.geteuid() != 0:
        work.close()
        sys.exit("benchmark: must run as root")
    try:
        return asyncio.run(work)
    except (*_FAILURES, ExceptionGroup) as error:
        sys.exit(f"benchmark: {_described(error)}")
    except asyncio.CancelledError:
        print("benchmark: interrupted; everything of it is removed", file=sys.stderr)
        sys.exit(130)


def show(table: str, about: Sequence[str], file: Path | None, found: dict[str, Any]) -> None:
    """Print the table and what must be known to judge it, and write `found` where a `file` was asked for."""
    print(table, "\n", flush=True)
    for line in about:
        print(f"- {line}")
    if file is not None:
        file.write_text(json.dumps(found, indent=1) + "\n")


def _described(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
