"""nodes/proxy, pods/proxy, services/proxy; bindings and componentstatuses, which nobody keeps."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from apiserver_harness import POD, Instance, an_admin

from podstead.apiserver import forward

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server on this machine that tells what it was asked; its address is one that a pod may have, in these tests."""
    monkeypatch.setattr(forward, "_allowed", lambda address: address)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_get("/ws", _echo)
    app.router.add_get("/moved", _moved)
    app.router.add_route("*", "/{path:.*}", _tell)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def _tell(request: web.Request) -> web.Response:
    asked = f"{request.method} {request.raw_path}"
    told = {"asked": asked, "headers": dict(request.headers), "body": (await request.read()).decode()}
    return web.json_response(told, status=418 if request.method == "DELETE" else 200, headers={"X-Own": "1"})


async def _moved(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/there"})


async def _echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"echo {message.data}")
    return socket


async def _run(instance: Instance, port: int = 0) -> None:
    """Make the pod `box` run at 127.0.0.1; its first container declares `port`."""
    containers: list[Any] = [{**one} for one in POD["spec"]["containers"]]
    if port:
        containers[0]["ports"] = [{"containerPort": port}]
    client = instance.registry.client(an_admin())
    pod = await client.create("pods", {**POD, "spec": {"containers": containers, "nodeName": "fake"}}, "default")
    status = {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}
    await client.update("pods", {**pod, "status": status}, subresource="status")


async def test_a_request_reaches_the_pod_as_it_was_sent(instance: Instance, port: int) -> None:
    await _run(instance, port)
    for name in ("box", f"box:{port}", f"http:box:{port}"):
        answer = await instance.ask("GET", f"{PODS}/{name}/proxy/a/b%2Fc/?x=1&watch=1")
        assert (answer.status, answer.headers["X-Own"]) == (200, "1")
        assert answer.json["asked"] == "GET /a/b%2Fc/?x=1&watch=1"
    headers = {"Authorization": "Bearer secret", "Cookie": "a=b", "X-Mine": "1"}
    told = (await instance.ask("POST", f"{PODS}/box/proxy/x", data=io.BytesIO(b"y" * 5_000_000), headers=headers)).json
    assert (told["asked"], len(told["body"])) == ("POST /x", 5_000_000)
    assert told["headers"]["X-Mine"] == "1" and told["headers"]["Cookie"] == "a=b"
    assert told["headers"]["X-Forwarded-Uri"] == f"{PODS}/box/proxy/x"
    assert "Authorization" not in told["headers"] and told["headers"]["Host"] == f"127.0.0.1:{port}"
    assert (await instance.ask("DELETE", f"{PODS}/box/proxy/x")).status == 418


async def test_links_lead_back_through_the_proxy(instance: Instance, port: int) -> None:
    await _run(instance, port)
    bare = await instance.ask("GET", f"{PODS}/box/proxy?a=b", allow_redirects=False)
    assert (bare.status, bare.headers["Location"]) == (301, f"{PODS}/box/proxy/?a=b")
    moved = await instance.ask("GET", f"{PODS}/box/proxy/moved", allow_redirects=False)
    assert (moved.status, moved.headers["Location"]) == (302, f"{PODS}/box/proxy/there")
    head = await instance.ask("HEAD", f"{PODS}/box/proxy/x")
    assert (head.status, head.body) == (200, b"")


async def test_a_websocket_through_the_proxy(instance: Instance, port: int) -> None:
    await _run(instance)
    async with instance.http.ws_connect(f"{PODS}/box:{port}/proxy/ws", timeout=aiohttp.ClientWSTimeout(10)) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str(timeout=10) == "echo hello"


async def test_kubectl_get_raw(instance: Instance, port: int) -> None:
    await _run(instance)
    assert '"asked": "GET /hello"' in await instance.kubectl("get", "--raw", f"{PODS}/box:{port}/proxy/hello")


async def test_what_cannot_be_reached(instance: Instance) -> None:
    await instance.create_pod()
    for name, code, message in (
        ("none", 404, 'pods "none" not found'),
        ("box", 400, "address not allowed"),
        ("a:b:c:d", 400, 'invalid pod request "a:b:c:d"'),
    ):
        answer = await instance.ask("GET", f"{PODS}/{name}/proxy/")
        assert (answer.status, answer.json["message"]) == (code, message)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "0.0.0.0", "host.example", ""])
async def test_a_written_status_opens_no_way_to_this_machine(instance: Instance, address: str) -> None:
    await instance.create_pod()
    client = instance.registry.client(an_admin())
    pod = await client.get("pods", "box", "default")
    status = {"phase": "Running"} | ({"podIP": address, "podIPs": [{"ip": address}]} if address[:1] != "h" else {})
    if address:
        await client.update("pods", {**pod, "status": status}, subresource="status")
    answer = await instance.ask("GET", f"{PODS}/box:80/proxy/")
    assert (answer.status, answer.json["message"]) == (400, "address not allowed")


async def test_a_pod_that_does_not_listen(instance: Instance, port: int) -> None:
    await _run(instance)
    closed = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    free = closed.sockets[0].getsockname()[1]
    closed.close()
    await closed.wait_closed()
    answer = await instance.ask("GET", f"{PODS}/box:{free}/proxy/")
    assert (answer.status, answer.json["reason"]) == (503, "ServiceUnavailable")
    assert answer.json["message"].startswith(f"error trying to reach service: dial tcp 127.0.0.1:{free}: connect: ")


async def test_a_node_answers_at_its_server(instance: Instance) -> None:
    asked: list[bytes] = []

    async def node(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok")

    instance.node.handler = node
    await instance.registry.client(an_admin()).create("nodes", {"metadata": {"name": "fake"}})
    for name in ("fake", "fake:10250"):
        answer = await instance.ask("GET", f"/api/v1/nodes/{name}/proxy/healthz?verbose")
        assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"ok", "text/plain")
    assert [head.split(b"\r\n")[0] for head in asked] == [b"GET /healthz?verbose HTTP/1.1"] * 2


async def test_a_service_is_reached_at_its_pods(instance: Instance, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    await _run(instance)
    client = instance.registry.client(an_admin())
    pod = await client.get("pods", "box", "default")
    status = {**pod["status"], "podIP": "10.1.2.1", "podIPs": [{"ip": "10.1.2.1"}]}
    await client.update("pods", {**pod, "status": status}, subresource="status")
    connect = forward._connect

    async def here(place: forward.Place, dialer: Any) -> Any:
        assert place.host == "10.1.2.1"
        return await connect(replace(place, host="127.0.0.1"), dialer)

    monkeypatch.setattr(forward, "_connect", here)
    services = "/api/v1/namespaces/default/services"
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"name": "web", "port": 80}]}}
    await client.create("services", service, "default")
    references = [{"kind": "Pod", "name": "box"}, {"kind": "Pod", "name": "none"}, None]
    addresses = [{"targetRef": one} if one else {} for one in references]
    # Two of three are nobody's: only a pod's own address is gone to.
    addresses = [{**one, "ip": f"10.1.2.{index + 1}"} for index, one in enumerate(addresses)]
    subsets = [{"addresses": addresses, "ports": [{"name": "web", "port": port}]}]
    await client.create("endpoints", {"metadata": {"name": "s"}, "subsets": subsets}, "default")
    for name in ("s:web", "s:80", "http:s:web"):
        assert (await instance.ask("GET", f"{services}/{name}/proxy/x")).json["asked"] == "GET /x"
    for name, message in (
        ("s", 'no endpoints available for service "s"'),
        ("s:81", 'no service port 81 found for service "s"'),
    ):
        answer = await instance.ask("GET", f"{services}/{name}/proxy/x")
        assert (answer.status, answer.json["message"]) == (503, message)


async def test_a_binding_in_its_collection(instance: Instance) -> None:
    await instance.create_pod(bound=False)
    bindings = "/api/v1/namespaces/default/bindings"
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "box"}, "target": {"name": "n"}}
    assert (await instance.ask("POST", bindings, json={**binding, "metadata": {}})).status == 400
    answer = await instance.ask("POST", bindings, json=binding)
    assert (answer.status, answer.json["status"]) == (201, "Success")
    assert (await instance.get(f"{PODS}/box"))["spec"]["nodeName"] == "n"
    assert (await instance.ask("POST", bindings, json=binding)).status == 409
    assert (await instance.ask("GET", bindings)).status == 405


async def test_component_statuses_tell_the_truth(instance: Instance) -> None:
    answer = await instance.ask("GET", "/api/v1/componentstatuses")
    assert answer.headers["Warning"] == '299 - "v1 ComponentStatus is deprecated in v1.19+"'
    conditions = {one["metadata"]["name"]: one["conditions"][0] for one in answer.json["items"]}
    assert {name: one["status"] for name, one in conditions.items()} == {"scheduler": "False", "etcd-0": "True"}
    assert (await instance.ask("GET", "/api/v1/componentstatuses/etcd-0")).json["kind"] == "ComponentStatus"
    assert (await instance.ask("GET", "/api/v1/componentstatuses/none")).status == 404
    assert (await instance.ask("DELETE", "/api/v1/componentstatuses/etcd-0")).status == 405
    printed = await instance.kubectl("get", "cs")
    assert [line.split()[:3] for line in printed.splitlines()[1:]][-1] == ["etcd-0", "Healthy", "ok"]
