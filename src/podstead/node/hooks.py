"""A container's postStart and preStop hooks: a command in it, a GET to it, or a wait.

Source: Kubernetes documentation, "Container Lifecycle Hooks"; KEP-3960 (sleep).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import SplitResult

from podstead.node.runtime.base import ExecConfig, ExecProcess, Runtime, RuntimeFailure
from podstead.objects.lifecycle import HTTPGetAction, LifecycleHandler
from podstead.objects.pod import Container

_REAP = 2.0
"""Seconds that a command which was cut has to be gone."""
USER_AGENT = "kube-lifecycle/1.37"


class HookFailed(Exception):
    """The command ended with an error or could not be started, nobody answered, or there is no such handler."""


class Hooks:
    """Runs hooks. `address` gives the pod's address; `wait_end(id)` returns once a container has ended."""

    def __init__(
        self,
        runtime: Runtime,
        address: Callable[[], Awaitable[str]],
        wait_end: Callable[[str], Awaitable[None]],
    ) -> None:
        self._runtime = runtime
        self._address = address
        self._wait_end = wait_end

    async def run(self, handler: LifecycleHandler, container: Container, container_id: str) -> None:
        """Run one hook of the running container `container_id` to its end; raises HookFailed.

        Being cancelled ends its command. A wait is over with its container.
        """
        if handler.exec is not None:
            await self._exec(container_id, list(handler.exec.command))
        elif handler.http_get is not None:
            await self._get(handler.http_get, container)
        elif handler.sleep is not None:
            await self._sleep(handler.sleep.seconds, container_id)
        else:
            raise HookFailed("invalid handler")

    async def _exec(self, container_id: str, command: list[str]) -> None:
        quoted = " ".join(command)
        try:
            process = await self._runtime.exec(container_id, ExecConfig(command))
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                await _cut(process)
                raise
        except RuntimeFailure as error:
            raise HookFailed(f"command '{quoted}' could not be run: {error}") from error
        if code != 0:
            raise HookFailed(f"command '{quoted}' exited with {code}")

    async def _sleep(self, seconds: float, container_id: str) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wait_end(container_id)
        except TimeoutError:
            pass

    async def _get(self, action: HTTPGetAction, container: Container) -> None:
        """Send the request; as with the kubelet any answer will do, whatever its status."""
        import aiohttp

        host = action.host or await self._address()
        url = _url(action, host, resolve_port(action.port, container))
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*"}
        headers |= {header.name: header.value for header in action.http_headers}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
                session.get(url, headers=headers, ssl=False) as response,
            ):
                response.release()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise HookFailed(f"GET {url}: {error}") from error


async def _cut(process: ExecProcess) -> None:
    process.kill()
    try:
        async with asyncio.timeout(_REAP):
            await process.wait()
    except (TimeoutError, RuntimeFailure):
        pass


def resolve_port(port: int | str, container: Container) -> int:
    """Return the number of a port that may be the name of one of the container's; raises HookFailed."""
    if isinstance(port, int):
        return port
    if port.isdigit():
        return int(port)
    for declared in container.ports:
        if declared.name == port:
            return declared.container_port
    raise HookFailed(f"couldn't find port: {port} in container {container.name}")


def _url(action: HTTPGetAction, host: str, port: int) -> str:
    path, _, query = action.path.partition("?")
    shown = f"[{host}]" if ":" in host else host
    slash = "" if path.startswith("/") else "/"
    return SplitResult((action.scheme or "HTTP").lower(), f"{shown}:{port}", f"{slash}{path}", query, "").geturl()
