"""A command in a running container: the OCI runtime's `exec` straight from the server, without a monitor."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from podstead.linux import process
from podstead.node.runtime.base import CreateFailed, ExecConfig
from podstead.node.runtime.command import RuntimeCommand
from podstead.node.runtime.errors import last_error
from podstead.node.runtime.processes import kill_children
from podstead.node.runtime.terminal import fit

_NOT_FOUND = ("executable file not found", "no such file or directory")
# Seconds: how long an OCI runtime takes at least to make a command's pty, how long it may, and to be done with it.
_FIRST_LOOK, _LAST_LOOK, _SETTLING = 0.005, 10.0, 2.0
_NOT_EXECUTABLE = ("permission denied", "exec format error", "is a directory", "not a regular file")


class OCIExec:
    """ExecProcess: the OCI runtime's own process, which passes streams, signals and the exit code through."""

    def __init__(self, child: process.Process, files: tuple[Path, Path], program: str) -> None:
        self._child = child
        self._files = files
        self._program = program
        self._error = ""
        self._began = asyncio.get_running_loop().time()
        self._ended = asyncio.ensure_future(child.wait())
        self._ended.add_done_callback(self._finish)

    def _finish(self, ended: asyncio.Future[int]) -> None:
        specification, log = self._files
        if not ended.cancelled() and ended.result() != 0:
            self._error = last_error(log.read_bytes(), self._program) if log.exists() else ""
        specification.unlink(missing_ok=True)
        log.unlink(missing_ok=True)

    async def wait(self) -> int:
        code = await asyncio.shield(self._ended)
        if self._error:
            raise CreateFailed(self._error, "StartError", _start_code(self._error))
        return code if code >= 0 else 128 - code

    def resized(self) -> None:
        self._fit(_FIRST_LOOK)

    def _fit(self, delay: float) -> None:
        """Set the size of the command's pty; see again after `delay` seconds if there is none yet, or it is new: the
        runtime may just be about to set the size that it read before.
        """
        fits, loop = fit(self._child.pid), asyncio.get_running_loop()
        settled = fits and loop.time() - self._began > _SETTLING
        if not settled and self._child.returncode is None and delay < _LAST_LOOK:
            loop.call_later(delay, self._fit, 2 * delay)

    def kill(self) -> None:
        self._kill(_FIRST_LOOK)

    def _kill(self, delay: float) -> None:
        """Kill the command; look again after `delay` seconds: what is killed may be a step before it, and it may begin
        only then.
        """
        if self._child.returncode is not None:
            return
        if kill_children(self._child.pid):
            self._child.send_signal(signal.SIGCONT)  # to pass the code on
        else:
            self._child.kill()
        if delay < _LAST_LOOK:
            asyncio.get_running_loop().call_later(delay, self._kill, 2 * delay)


def start(command: RuntimeCommand, container_id: str, bundle: Path, config: ExecConfig) -> OCIExec:
    """Start `config` in the container, with environment, user, directory and capabilities of its own process.

    Raises CreateFailed where the OCI runtime cannot be called.
    """
    name = f"exec-{os.urandom(8).hex()}"
    specification, log = bundle / f"{name}.json", bundle / f"{name}.log"
    stdin, stdout, stderr = (
        subprocess.DEVNULL if number < 0 else number for number in (config.stdin, config.stdout, config.stderr)
    )
    if config.tty:
        stdout = stderr = stdin
    try:
        specification.write_bytes(msgspec.json.encode(_process(bundle, config)))
        child = process.spawn(
            command.argv("exec", "--process", str(specification), container_id, log=log),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=command.environment(short=False),
            mount_namespace=command.mount_namespace,
        )
    except OSError as error:
        specification.unlink(missing_ok=True)
        raise CreateFailed(f"cannot call {command.name} exec: {error.strerror}", "StartError") from error
    return OCIExec(child, (specification, log), config.argv[0])


def _process(bundle: Path, config: ExecConfig) -> dict[str, Any]:
    """The container's own process with another command (runtime-spec, process)."""
    own: dict[str, Any] = msgspec.json.decode((bundle / "config.json").read_bytes())["process"]
    own |= {"args": list(config.argv), "terminal": config.tty}
    if config.tty and not any(entry.startswith("TERM=") for entry in own["env"]):
        own["env"].append("TERM=xterm")
    return own


def _start_code(error: str) -> int:
    """What a shell gives for a command that it cannot start (POSIX, 2.8.2): 127 not found, 126 not executable."""
    if any(text in error for text in _NOT_FOUND):
        return 127
    return 126 if any(text in error for text in _NOT_EXECUTABLE) else 128
