"""Who gets in: certificates, anonymous requests, and what others are told."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import aiohttp
import pytest
from apiserver_harness import Instance

from podstead.pki import Pki


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/readyz/ping", "/version"])
async def test_anyone_may_ask_whether_it_lives(instance: Instance, path: str) -> None:
    async with instance.session() as nobody, nobody.get(path) as response:
        assert response.status == 200


@pytest.mark.parametrize("path", ["/", "/api", "/apis", "/api/v1/namespaces", "/openapi/v3", "/nothing", "/versionx"])
async def test_without_credentials_nothing_else_is_told(instance: Instance, path: str) -> None:
    async with instance.session() as nobody, nobody.get(path) as response:
        assert response.status == 401
        status = await response.json()
    assert status["reason"] == "Unauthorized" and status["kind"] == "Status"


async def test_without_credentials_nothing_is_written(instance: Instance) -> None:
    async with instance.session() as nobody, nobody.post("/version", data=b"{}") as response:
        assert response.status == 401


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "/api/v1/namespaces/default/pods",
            'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"',
        ),
        ("/api/v1/nodes?watch=1", 'nodes is forbidden: User "jane" cannot watch resource "nodes" in API group "" at '),
        ("/api/v1/namespaces/default/pods/x", 'pods "x" is forbidden: User "jane" cannot get resource "pods" in API '),
        (
            "/api/v1/namespaces/default/pods/x/exec?command=id",
            'pods "x" is forbidden: User "jane" cannot create resource "pods/exec" in API group "" in the namespace',
        ),
        ("/metrics", 'forbidden: User "jane" cannot get path "/metrics"'),
    ],
)
async def test_a_user_without_rights_is_told_which_one_is_missing(instance: Instance, path: str, message: str) -> None:
    async with instance.session("jane", ("staff",)) as jane, jane.get(path) as response:
        assert response.status == 403
        status = await response.json()
    assert status["message"].startswith(message)
    assert status["reason"] == "Forbidden"


async def test_a_certificate_of_another_authority_is_refused(instance: Instance, tmp_path: Path) -> None:
    other = Pki(tmp_path / "other")
    other.ensure()
    credential = other.client("kubernetes-admin", ("system:masters",))
    connector = aiohttp.TCPConnector(ssl=instance.context(credential))
    async with aiohttp.ClientSession(instance.url, connector=connector) as stranger:
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await stranger.get("/api/v1/namespaces")


async def test_kubectl_shows_what_a_user_may_not(instance: Instance) -> None:
    credential = instance.pki.client("jane")
    where = instance.kubeconfig.parent
    (where / "jane.key").write_bytes(credential.key)
    (where / "jane.crt").write_bytes(credential.certificate)
    files = f"--client-key={where}/jane.key", f"--client-certificate={where}/jane.crt"
    await instance.kubectl("config", "set-credentials", "test", *files)
    output = await instance.kubectl("get", "--raw", "/api/v1/namespaces/default/pods", check=False)
    assert 'User "jane" cannot list resource "pods" in API group "" in the namespace "default"' in output


async def test_only_http_1_is_offered(instance: Instance) -> None:
    context = instance.context(None)
    context.set_alpn_protocols(["h2", "http/1.1"])
    _, writer = await asyncio.open_connection("127.0.0.1", instance.server.port, ssl=context)
    tls = writer.get_extra_info("ssl_object")
    assert tls.selected_alpn_protocol() == "http/1.1"
    assert tls.version() in ("TLSv1.2", "TLSv1.3")
    writer.close()


@pytest.mark.parametrize("path", ["/", "/api", "/apis", "/api/v1", "/openapi/v3"])
async def test_whoever_is_known_may_discover_the_api(instance: Instance, path: str) -> None:
    async with instance.session("jane") as jane, jane.get(path) as response:
        assert response.status == 200
