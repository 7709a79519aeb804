"""Runs skopeo: copies into the node's own containers/storage, with a deadline on progress and nothing left behind.

The store is given by a generated storage.conf, not in the image name: options such as skip_mount_home (without which
containers/storage leaves a bind mount of its home) count only for the store that the file names. A copy that stalls,
fails or is cancelled is killed; its incomplete layers are marked as such and removed by the next writer of the store,
and what it downloaded lies in a scratch directory that goes with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from podstead.linux import process
from podstead.node.images.meter import terminal
from podstead.node.runtime.base import Progress
from podstead.paths import Paths

STALL_SECONDS = 120.0
_STDERR_LIMIT = 1 << 20
_FATAL = re.compile(r'level=(?:fatal|error) msg=("(?:[^"\\]|\\.)*"|\S+)')
_SYSTEM_POLICY = Path("/etc/containers/policy.json")


class SkopeoFailed(Exception):
    """skopeo failed; the message is its own last error on one line.

    SkopeoFailed
    +-- SkopeoStalled   nothing moved for STALL_SECONDS
    +-- SkopeoMissing   it is not installed
    """


class SkopeoStalled(SkopeoFailed):
    """No byte was read or written for too long."""


class SkopeoMissing(SkopeoFailed):
    """There is no skopeo on PATH."""


class Skopeo:
    """skopeo on one instance's image store. `stall` is how long nothing may move, in seconds."""

    def __init__(self, paths: Paths, *, stall: float = STALL_SECONDS) -> None:
        self._paths = paths
        self._stall = stall

    async def copy(
        self,
        source: str,
        name: str,
        options: Sequence[str] = (),
        *,
        cwd: Path | None = None,
        auth_file: str = "",
        progress: Progress | None = None,
    ) -> None:
        """Copy the image at `source` (`transport:details`) into the store under `name`; raises SkopeoFailed.

        A path in `source` may be relative to `cwd`, and is best so: skopeo takes a colon for the path's end.
        `auth_file` is the content of one that replaces the user's (containers-auth.json(5)).
        """
        async with self.scratch() as scratch:
            arguments = ["copy", *options]
            if auth_file:  # not on the command line, which everybody can read
                (scratch / "auth.json").write_text(auth_file)
                arguments += ["--src-authfile", str(scratch / "auth.json")]
            arguments += [source, f"containers-storage:{name}"]
            if progress is None:
                await self._run([*arguments, "--quiet"], scratch, cwd)
                return
            with terminal(progress) as output:
                await self._run(arguments, scratch, cwd, output)

    async def delete(self, identity: str) -> None:
        """Take the image with that id and the layers only it uses out of the store; raises SkopeoFailed."""
        async with self.scratch() as scratch:
            await self._run(("delete", f"containers-storage:@{identity}"), scratch)

    def transferring(self) -> bool:
        """Whether any process copies something into the store at this moment."""
        parent = self._paths.image_graph / "transfers"
        if not parent.is_dir():
            return False
        return any(Path(f"/proc/{entry.name.partition('-')[0]}").exists() for entry in parent.iterdir())

    @contextlib.asynccontextmanager
    async def scratch(self) -> AsyncIterator[Path]:
        """A directory beside the store for what is on its way, removed at the end; so are those of dead processes."""
        parent = self._paths.image_graph / "transfers"
        directory = await asyncio.to_thread(_make_scratch, parent)
        try:
            yield directory
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True))

    async def _run(
        self, arguments: Sequence[str], scratch: Path, cwd: Path | None = None, stdout: int = subprocess.DEVNULL
    ) -> None:
        self._write_storage_conf()
        # TMPDIR is not enough: what skopeo downloads would lie in /var/tmp, and stay there if it is killed.
        argv = ["skopeo", "--tmpdir", str(scratch), *_policy_option(), *_registries_option(), *arguments]
        errors = os.memfd_create("stderr")
        try:
            try:
                child = process.spawn(argv, stdout=stdout, stderr=errors, env=self._environment(scratch), cwd=cwd)
            except FileNotFoundError as error:
                raise SkopeoMissing("skopeo is not installed: apt-get install skopeo") from error
            try:
                code = await self._wait(child)
            except BaseException:
                child.kill()
                await asyncio.shield(child.wait())
                raise
            if code != 0:
                output = os.pread(errors, _STDERR_LIMIT, 0).decode(errors="replace")
                raise SkopeoFailed(last_error(output) or f"skopeo ended with code {code}")
        finally:
            os.close(errors)

    async def _wait(self, child: process.Process) -> int:
        before, quiet, period = _activity(child.pid), 0.0, self._stall / 4
        while True:
            try:
                async with asyncio.timeout(period):
                    return await child.wait()
            except TimeoutError:
                now = _activity(child.pid)
                quiet = quiet + period if now == before else 0.0
                before = now
            if quiet >= self._stall:
                raise SkopeoStalled(f"nothing arrived for {self._stall:g} seconds")

    def _environment(self, scratch: Path) -> dict[str, str]:
        # STORAGE_DRIVER and STORAGE_OPTS would override the file; the rest (proxies, auth files, HOME) is the user's.
        kept = {key: value for key, value in os.environ.items() if key not in ("STORAGE_DRIVER", "STORAGE_OPTS")}
        own = {"CONTAINERS_STORAGE_CONF": str(self._storage_conf), "TMPDIR": str(scratch)}
        # Fewer garbage collections save a tenth of the time of a pull and cost 15 MB.
        return {"GOGC": "400"} | kept | own

    @property
    def _storage_conf(self) -> Path:
        return self._paths.image_graph / "storage.conf"

    def _write_storage_conf(self) -> None:
        text = (
            "# Written by podstead.\n[storage]\n"
            'driver = "overlay"\n'
            f"graphroot = {json.dumps(str(self._paths.image_graph))}\n"
            f"runroot = {json.dumps(str(self._paths.image_run))}\n"
            '[storage.options.overlay]\nskip_mount_home = "true"\n'
        )
        self._paths.image_run.mkdir(parents=True, exist_ok=True)
        if self._storage_conf.is_file() and self._storage_conf.read_text() == text:
            return
        partial = self._storage_conf.with_suffix(f".{os.getpid()}")
        partial.write_text(text)
        partial.replace(self._storage_conf)


def last_error(output: str) -> str:
    """Return the last error of skopeo's log (logfmt) as one line; an empty string if there is no output."""
    found = _FATAL.findall(output)
    if not found:
        lines = output.strip().splitlines()
        return lines[-1].strip() if lines else ""
    text = found[-1]
    if text.startswith('"'):
        try:
            text = str(json.loads(text))
        except ValueError:
            text = text[1:-1]
    return " ".join(text.split())


def _policy_option() -> list[str]:
    """A signature policy is obeyed wherever there is one; without any file skopeo would refuse every image."""
    policies = (Path("~/.config/containers/policy.json").expanduser(), _SYSTEM_POLICY)
    return [] if any(policy.exists() for policy in policies) else ["--insecure-policy"]


def _registries_option() -> list[str]:
    """Debian's skopeo 1.9 does not read the variable itself."""
    configuration = os.environ.get("CONTAINERS_REGISTRIES_CONF")
    return ["--registries-conf", str(Path(configuration).absolute())] if configuration else []


def _activity(pid: int) -> tuple[bytes, ...]:
    """What changes while a process reads (from the network, or what it unpacks) or, where that is not to be known,
    computes; equal if it did nothing in between. What it writes may be nothing but its progress bars."""
    try:
        counters = Path(f"/proc/{pid}/io").read_bytes().split(b"\n")
        return tuple(line for line in counters if line.startswith(b"rchar"))
    except OSError:
        pass
    try:
        return tuple(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[11:13])
    except OSError:
        return ()


def _make_scratch(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    for old in parent.iterdir():
        owner = old.name.partition("-")[0]
        if not Path(f"/proc/{owner}").exists():
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
