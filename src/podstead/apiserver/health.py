"""/healthz, /livez, /readyz and /version: what anyone may know of the server (Kubernetes API health endpoints)."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping

from podstead.apiserver.answers import Answer, of_object
from podstead.apiserver.request import RequestInfo
from podstead.objects.errors import path_not_found

KUBERNETES_VERSION = "v1.37.0"
"""The version whose API is served."""

Check = Callable[[], bool]

_TEXT = "text/plain; charset=utf-8"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class Health:
    """Answers the health paths; `ready` are checks, by name, that /readyz asks besides `ping`."""

    def __init__(self, ready: Mapping[str, Check]) -> None:
        ping: Mapping[str, Check] = {"ping": lambda: True}
        self._checks: dict[str, Mapping[str, Check]] = {
            "healthz": ping,
            "livez": ping,
            "readyz": {**ping, **ready},
        }

    def paths(self) -> list[str]:
        """Return every path that `answer` knows."""
        return [
            path
            for kind, checks in self._checks.items()
            for path in (f"/{kind}", *(f"/{kind}/{name}" for name in checks))
        ]

    def answer(self, info: RequestInfo) -> Answer:
        """Answer one of the paths, with `?verbose` and `?exclude=NAME`. Raises StatusError 404 for an unknown check."""
        kind, _, name = info.path.strip("/").partition("/")
        checks = self._checks[kind]
        if name:
            if name not in checks:
                raise path_not_found()
            checks = {name: checks[name]}
        excluded = info.query.get("exclude", [])
        lines, failed = [], []
        for check, passes in checks.items():
            if check in excluded:
                lines.append(f"[+]{check} excluded: ok")
            elif passes():
                lines.append(f"[+]{check} ok")
            else:
                failed.append(check)
                lines.append(f"[-]{check} failed: reason withheld")
        if failed:
            return Answer(_text(*lines, f"{kind} check failed"), 500, _TEXT)
        if "verbose" in info.query:
            return Answer(_text(*lines, f"{kind} check passed"), 200, _TEXT)
        return Answer(b"ok", 200, _TEXT)


def _text(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def version() -> Answer:
    """Return /version (version.Info)."""
    machine = platform.machine()
    _, major_minor = KUBERNETES_VERSION.split("v")
    major, minor, _ = major_minor.split(".")
    return of_object(
        {
            "major": major,
            "minor": minor,
            "gitVersion": KUBERNETES_VERSION,
            "gitCommit": "",
            "gitTreeState": "",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": f"python{platform.python_version()}",
            "compiler": platform.python_implementation().lower(),
            "platform": f"linux/{_MACHINES.get(machine, machine)}",
        }
    )
