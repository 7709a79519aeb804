"""exec: a command in the container that ends with 0 is well."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from podstead.node.probes.result import BODY_LIMIT, SUCCESS, Result, errored, failure
from podstead.node.runtime.base import ExecConfig, ExecProcess, Runtime, RuntimeFailure

_CHUNK = 64 << 10


class _Output:
    """Reads a pipe on the loop, keeps its first BODY_LIMIT bytes and lets go of the rest."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self.writer, True)
        self._kept = bytearray()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._reader, self._read)

    def _read(self) -> bool:
        """Tell whether there may be more."""
        try:
            data = os.read(self._reader, _CHUNK)
        except BlockingIOError:
            return False
        if len(self._kept) < BODY_LIMIT:
            self._kept += data[: BODY_LIMIT - len(self._kept)]
        if not data:
            self._loop.remove_reader(self._reader)
        return bool(data)

    def text(self) -> str:
        """Return what came so far; a child that still holds the pipe is not waited for."""
        while len(self._kept) < BODY_LIMIT and self._read():
            pass
        return self._kept.decode(errors="replace")

    def release(self) -> None:
        """Close the end that the command has."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def close(self) -> None:
        self.release()
        self._loop.remove_reader(self._reader)
        os.close(self._reader)


async def probe_exec(runtime: Runtime, container_id: str, argv: Sequence[str], timeout: float) -> Result:
    """Run `argv` in the container; after `timeout` seconds it is killed, which is a failure."""
    output = _Output()
    process: ExecProcess | None = None
    ended = False
    try:
        async with asyncio.timeout(timeout):
            process = await runtime.exec(container_id, ExecConfig(argv, stdout=output.writer, stderr=output.writer))
            output.release()
            code = await process.wait()
        ended = True
        return SUCCESS if code == 0 else failure(output.text())
    except TimeoutError:
        return failure(f'command timed out: "{" ".join(argv)}" timed out after {timeout:g}s')
    except RuntimeFailure as error:
        ended = True
        return errored(f"failed to exec in container: {error}")
    finally:
        if process is not None and not ended:
            process.kill()
        output.close()
