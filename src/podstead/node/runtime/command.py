"""The command line of an OCI runtime (runc, crun): create, start, delete, exec, and its errors from its JSON log."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from podstead.linux import process
from podstead.node.runtime.base import RuntimeFailure
from podstead.node.runtime.errors import last_error
from podstead.node.runtime.records import Binary
from podstead.node.runtime.views import MountViews

NSENTER = "nsenter"
_STATE_FILES = ("state.json", "status")
"""What runc and crun write last into a container's state: without it there is nothing that they could delete."""


class RuntimeCommand:
    """Calls of one binary with its state below `root`; raises OSError where the binary cannot be started."""

    def __init__(self, binary: Binary, root: Path, views: MountViews) -> None:
        self.binary = binary
        self.path = binary.path
        self.root = root
        self._views = views

    @property
    def name(self) -> str:
        return Path(self.path).name

    def global_args(self, log: Path | None = None) -> list[str]:
        """What goes before the verb. Errors are one JSON object a line, on stderr or in the file `log`."""
        return [f"--root={self.root}", "--log-format=json", *([f"--log={log}"] if log else [])]

    def argv(self, verb: str, *arguments: str, log: Path | None = None) -> list[str]:
        return [self.path, *self.global_args(log), verb, *arguments]

    @asynccontextmanager
    async def creating(self) -> AsyncIterator[list[str]]:
        """Give the words before the verb with which another process (a monitor) may call `create` meanwhile."""
        direct = [self.path, *self.global_args()]
        if not self.binary.private_mounts:
            yield direct
            return
        async with self._views.whole() as namespace:
            yield [shutil.which(NSENTER) or NSENTER, f"--mount={namespace}", *direct]

    @property
    def mount_namespace(self) -> int:
        """Where all other verbs are to be called (process.spawn): -1 for the server's own."""
        return self._views.system if self.binary.private_mounts else -1

    @staticmethod
    def environment(*, short: bool = True) -> dict[str, str]:
        """What the runtime finds in its environment; `short`: it lives for milliseconds."""
        found = {"PATH": os.environ.get("PATH", os.defpath)}
        # Collecting garbage only costs time then.
        return {**found, "GOGC": "off"} if short else found

    async def call(self, verb: str, *arguments: str, input: bytes | None = None) -> str:
        """Run one verb to its end and return its output; raises RuntimeFailure with the runtime's last line."""
        argv = self.argv(verb, *arguments)
        namespace = self.mount_namespace
        result = await process.run(argv, input=input, env=self.environment(), mount_namespace=namespace)
        if result.returncode != 0:
            raise RuntimeFailure(last_error(result.stderr) or f"{self.name} {verb} failed")
        return result.stdout.decode(errors="replace")

    async def update(self, container_id: str, resources: Mapping[str, Any]) -> None:
        """Change limits of a container, in the form of the runtime-spec's linux.resources; raises RuntimeFailure."""
        await self.call("update", "--resources", "/dev/stdin", container_id, input=msgspec.json.encode(resources))

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
        if any((state / name).exists() for name in _STATE_FILES):
            try:
                await self.call("delete", container_id)
            except FileNotFoundError:
                pass  # The runtime has been uninstalled: its state goes by hand, the cgroup by ours.
            except RuntimeFailure:
                await self.call("delete", "--force", container_id)
        self.forget(container_id)

    def forget(self, container_id: str) -> None:
        """Remove the runtime's state of a container of an earlier boot, or one that was never made, by hand."""
        shutil.rmtree(self.root / container_id, ignore_errors=True)


class Commands:
    """The OCI runtimes of an instance: `current` makes what is new, and each goes on with what it made."""

    def __init__(self, root: Path, views: MountViews) -> None:
        self._root = root
        self._views = views
        self._made: dict[Binary, RuntimeCommand] = {}
        self._current: RuntimeCommand | None = None

    @property
    def current(self) -> RuntimeCommand:
        """Raises RuntimeFailure where none was chosen (`podstead down`)."""
        if self._current is None:
            raise RuntimeFailure("no OCI runtime was chosen")
        return self._current

    def with_shared_mounts(self) -> RuntimeCommand:
        """The OCI runtime for a container whose mounts are to show outside of it: what is called in a mount namespace
        of its own cannot make one. Raises RuntimeFailure where there is no other.
        """
        if not self.current.binary.private_mounts:
            return self.current
        path = shutil.which("runc")
        if path is None:
            raise RuntimeFailure(
                f"mounts cannot propagate out of a container of {self.current.name} here: install runc"
            )
        return self.of(Binary(path))

    async def use(self, binary: Binary) -> None:
        """Make new containers with it from now on."""
        await self.prepare(binary)
        self._current = self.of(binary)

    async def prepare(self, binary: Binary) -> None:
        """Have it ready to make containers."""
        if binary.private_mounts:
            await self._views.prepare()

    def of(self, binary: Binary) -> RuntimeCommand:
        """Return the command for what was made with `binary`."""
        if binary not in self._made:
            self._made[binary] = RuntimeCommand(binary, self._root / Path(binary.path).name, self._views)
        return self._made[binary]

    def strays(self, known: frozenset[str], *, private_mounts: bool) -> Iterator[tuple[RuntimeCommand, str]]:
        """Yield every container that has a runtime's state but is not `known`, with the runtime to delete it."""
        for root in self._root.iterdir() if self._root.is_dir() else ():
            by_name = (command for command in self._made.values() if command.root == root)
            command = next(by_name, None) or self.of(Binary(root.name, private_mounts))
            yield from ((command, entry.name) for entry in root.iterdir() if entry.name not in known)
