"""The OCI runtime's own command line (runc): start, delete, exec, and its errors from the JSON log that it writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from podstead.linux import process
from podstead.node.runtime.base import RuntimeFailure


class RuntimeCommand:
    """Calls of the binary at `path` with its state below `root`; raises OSError where the binary cannot be started."""

    def __init__(self, path: str, root: Path) -> None:
        self.path = path
        self.root = root

    @property
    def name(self) -> str:
        return Path(self.path).name

    def global_args(self, log: Path | None = None) -> list[str]:
        """What goes before the verb. Errors are one JSON object a line, on stderr or in the file `log`."""
        return [f"--root={self.root}", "--log-format=json", *([f"--log={log}"] if log else [])]

    def argv(self, verb: str, *arguments: str, log: Path | None = None) -> list[str]:
        return [self.path, *self.global_args(log), verb, *arguments]

    @staticmethod
    def environment(*, short: bool = True) -> dict[str, str]:
        """What the runtime finds in its environment; `short`: it lives for milliseconds."""
        found = {"PATH": os.environ.get("PATH", os.defpath)}
        # Collecting garbage only costs time then.
        return {**found, "GOGC": "off"} if short else found

    async def call(self, verb: str, *arguments: str) -> str:
        """Run one verb to its end and return its output; raises RuntimeFailure with the runtime's last line."""
        result = await process.run(self.argv(verb, *arguments), env=self.environment())
        if result.returncode != 0:
            raise RuntimeFailure(last_error(result.stderr) or f"{self.name} {verb} failed")
        return result.stdout.decode(errors="replace")

    async def version(self) -> str:
        """`1.1.5+ds1` from `runc version 1.1.5+ds1`; raises RuntimeFailure."""
        first, *_ = (await self.call("--version")).splitlines() or [""]
        return first.split()[-1] if first else ""

    async def status(self, container_id: str) -> str:
        """creating, created, running, paused or stopped; empty where the runtime does not know the container."""
        try:
            state = msgspec.json.decode(await self.call("state", container_id))
        except RuntimeFailure:
            return ""
        return str(state.get("status", ""))

    async def delete(self, container_id: str) -> None:
        """Remove what the runtime keeps of a container that has ended; one that it does not know is not an error.

        The plain verb takes 5 ms; --force would wait 100 ms and is only for what a crash left half-made.
        """
        state = self.root / container_id
        if not state.is_dir():
            return
        if (state / "state.json").exists():
            try:
                await self.call("delete", container_id)
            except RuntimeFailure:
                await self.call("delete", "--force", container_id)
        else:
            self.forget(container_id)

    def forget(self, container_id: str) -> None:
        """Remove the runtime's state of a container of an earlier boot, or one that was never made, by hand."""
        shutil.rmtree(self.root / container_id, ignore_errors=True)

    def known(self) -> Sequence[str]:
        return [path.name for path in self.root.iterdir()] if self.root.is_dir() else []


def last_error(output: bytes) -> str:
    """The message of the last error in what an OCI runtime wrote, one line; empty if it wrote nothing.

    Lines that are not of its JSON log (a crash, the monitor's own) count as errors.
    """
    found = ""
    for line in output.decode(errors="replace").splitlines():
        text, error = line.strip("\0 "), True
        try:
            entry = msgspec.json.decode(text)
            text, error = str(entry["msg"]).strip(), entry["level"] in ("error", "fatal")
        except (msgspec.DecodeError, KeyError, TypeError):
            pass
        if text and (error or not found):
            found = text
    return found.splitlines()[-1] if found else ""
