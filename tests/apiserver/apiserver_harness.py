"""A real API server over a real registry and store; clients with and without credentials; kubectl; a fake node."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from podstead import pki
from podstead.apiserver.server import ApiServer, TlsFiles
from podstead.objects.user import SYSTEM_MASTERS, UserInfo
from podstead.pki import Pki
from podstead.registry.registry import Registry
from podstead.store.sqlite import SQLiteStore
from podstead.streams.dialer import NodeUnreachable
from podstead.tokens import TokenKeys

KUBECTL = Path(__file__).parents[2] / ".venv/bin/kubectl"
NodeHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "box"},
    "spec": {"containers": [{"name": "c1", "image": "busybox"}, {"name": "c2", "image": "busybox"}]},
}


def an_admin() -> UserInfo:
    return UserInfo("admin", (SYSTEM_MASTERS,))


async def eventually(condition: Callable[[], object]) -> None:
    """Let the loop run until `condition` holds, for at most ten seconds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


@dataclass
class FakeNode:
    """A node's server that is one handler function, reached over a socketpair."""

    handler: NodeHandler | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def dial(self, node: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.handler is None:
            raise NodeUnreachable(f"node {node} does not answer")
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=theirs)
        self.tasks.add(asyncio.create_task(self._serve(self.handler, reader, writer)))
        return await asyncio.open_connection(sock=ours)

    async def _serve(self, handler: NodeHandler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        finally:
            writer.close()

    async def finished(self) -> None:
        """Wait until every handler has returned; raises what one raised."""
        async with asyncio.timeout(10):
            await asyncio.gather(*self.tasks)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Instance:
    server: ApiServer
    registry: Registry
    node: FakeNode
    pki: Pki
    url: str
    http: aiohttp.ClientSession
    kubeconfig: Path

    def context(self, credential: pki.Credential | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.pki.ca_certificate))
        if credential is not None:
            context.load_cert_chain(credential.path)
        return context

    def session(self, user: str = "", groups: tuple[str, ...] = (), token: str = "") -> aiohttp.ClientSession:
        """Return a session of `user`, or with `token`; without credentials if there is neither."""
        context = self.context(self.pki.client(user, groups) if user else None)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connector = aiohttp.TCPConnector(ssl=context)
        return aiohttp.ClientSession(self.url, connector=connector, headers=headers, trust_env=False)

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        async with self.http.request(method, path, timeout=aiohttp.ClientTimeout(20), **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, accept: str = "") -> Any:
        answer = await self.ask("GET", path, headers={"Accept": accept} if accept else {})
        assert answer.status == 200, answer.body
        return answer.json

    async def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        """Run the real kubectl; return what it prints on both streams."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.kubeconfig.parent)}
        process = await asyncio.create_subprocess_exec(
            KUBECTL,
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(30):
                output, _ = await process.communicate(stdin.encode())
        except BaseException:
            process.kill()
            await process.wait()
            raise
        assert process.returncode == 0 or not check, output.decode()
        return output.decode()

    async def create_pod(self, bound: bool = True, **changes: Any) -> None:
        """Make POD, bound to the fake node."""
        client = self.registry.client(an_admin())
        spec = {**POD["spec"], **({"nodeName": "fake"} if bound else {})}
        await client.create("pods", {**POD, "spec": spec, **changes}, "default")


@pytest.fixture(scope="session")
def shared_pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    made = Pki(directory)
    made.ensure()
    made.client(pki.ADMIN_USER, pki.ADMIN_GROUPS)
    return directory


@pytest.fixture
async def instance(tmp_path: Path, shared_pki: Path) -> AsyncIterator[Instance]:
    shutil.copytree(shared_pki, tmp_path / "pki")
    credentials = Pki(tmp_path / "pki")
    store = SQLiteStore(tmp_path / "state.db")
    keys = TokenKeys(credentials.service_account_key, credentials.retired_service_account_keys)
    registry = Registry(store, token_keys=keys)
    await registry.start()
    client = registry.client(an_admin())
    for namespace in ("default", "other"):
        await client.create("namespaces", {"metadata": {"name": namespace}})
        await client.create("serviceaccounts", {"metadata": {"name": "default"}}, namespace)
    node = FakeNode()
    tls = TlsFiles(credentials.server_pem, credentials.ca_certificate)
    components = {"scheduler": lambda: False, "etcd-0": lambda: not store.failed}
    server = ApiServer(registry, node, tls, components=components)
    await server.start()
    url = f"https://127.0.0.1:{server.port}"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(pki.admin_kubeconfig(credentials, url, "test")))
    made = Instance(server, registry, node, credentials, url, None, kubeconfig)  # type: ignore[arg-type]
    made.http = made.session(pki.ADMIN_USER, pki.ADMIN_GROUPS)
    try:
        yield made
    finally:
        await made.http.close()
        await server.close()
        await node.close()
        await registry.close()
        await store.close()
