"""What every `kubectl create` subcommand sends in protobuf is, decoded, the object that kubectl shows in a dry run.

The server here only keeps what it is sent: kinds that podstead does not serve yet are read all the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from apiserver_harness import KUBECTL

from podstead.apiserver.discovery import Discovery
from podstead.objects import kinds, protobuf, schema


@dataclass
class Recorder:
    """Keeps the bodies of all POST requests, and answers 404 to them; knows discovery."""

    home: Path
    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    discovery: Discovery = field(default_factory=lambda: Discovery(kinds.SERVED))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST":
            assert request.headers["Content-Type"] == protobuf.MEDIA_TYPE
            self.bodies.append(await request.read())
            return web.json_response({"kind": "Status", "apiVersion": "v1", "code": 404}, status=404)
        answer = self.discovery.answer(request.path, request.headers["Accept"], "localhost")
        headers = {"Content-Type": answer.content_type}
        return web.Response(body=answer.body, headers=headers)

    async def kubectl(self, *arguments: str) -> bytes:
        """Run kubectl; return what it prints."""
        environment = {**os.environ, "HOME": str(self.home), "KUBECONFIG": str(self.home / "none")}
        process = await asyncio.create_subprocess_exec(
            KUBECTL,
            f"--server={self.url}",
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(30):
            return (await process.communicate())[0]


@pytest.fixture
async def recorder(tmp_path: Path) -> AsyncIterator[Recorder]:
    made = Recorder(tmp_path)
    server = web.Server(made.handle)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        listener.close()
        await server.shutdown(1)


def checked(obj: Any) -> Any:
    """An object as the registry takes it: kind and types checked, nulls dropped."""
    group, _, version = obj["apiVersion"].rpartition("/")
    pruned, unknown = schema.prune(schema.definition_of(group, version, obj["kind"]), obj)
    assert unknown == []
    return pruned


@pytest.mark.parametrize(
    "command",
    [
        "configmap cm --from-literal=a=1 --from-literal=empty=",
        "configmap cm --from-file=binary={binary}",
        "secret generic s --from-literal=a=1 --from-file=binary={binary}",
        "secret docker-registry s --docker-server=r.example --docker-username=u --docker-password=p",
        "namespace n",
        "serviceaccount sa",
        "deployment d --image=busybox --replicas=3 --port=80 -- sleep 10",
        "job j --image=busybox -- date",
        "cronjob c --image=busybox --schedule='*/1 * * * *' --restart=OnFailure -- date",
        "quota q --hard=cpu=1,memory=1G,pods=2 --scopes=NotTerminating",
        "role r --verb=get,list --resource=pods,configmaps --resource-name=x",
        "clusterrole r --verb=get --non-resource-url=/logs/*",
        "clusterrole r --aggregation-rule=a=b",
        "rolebinding r --clusterrole=admin --user=u --group=g --serviceaccount=ns:sa",
        "clusterrolebinding r --clusterrole=admin --user=u",
        "ingress i --class=c --rule=example.com/path*=svc:8080,tls=cert --default-backend=d:http --annotation=a=b",
        "poddisruptionbudget p --selector=a=b --min-available=50%",
        "poddisruptionbudget p --selector=a=b --max-unavailable=1",
        "priorityclass p --value=-10 --global-default --description=low --preemption-policy=Never",
        "service clusterip s --tcp=80:8080 --tcp=443:https",
        "service clusterip s --clusterip=None",
        "service nodeport s --tcp=80:80 --node-port=30080",
        "service loadbalancer s --tcp=80:80",
        "service externalname s --external-name=example.com",
    ],
)
async def test_create(recorder: Recorder, tmp_path: Path, command: str) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(bytes(range(256)))
    words = ["create", *shlex.split(command.replace("{binary}", str(binary)))]
    at = words.index("--") if "--" in words else len(words)
    shown = await recorder.kubectl(*words[:at], "--dry-run=client", "-o", "json", *words[at:])
    await recorder.kubectl(*words)
    assert len(recorder.bodies) == 1
    sent = protobuf.decode(recorder.bodies[0], api_version="v1", kind="Nothing")
    expected = json.loads(shown)
    # With nothing said of a namespace, the path says it.
    sent["metadata"].pop("namespace", None)
    expected["metadata"].pop("namespace", None)
    assert checked(sent) == checked(expected)


async def test_create_token(recorder: Recorder) -> None:
    await recorder.kubectl(
        "create", "token", "sa", "--audience=a", "--duration=10m", "--bound-object-kind=Pod", "--bound-object-name=p"
    )
    sent = protobuf.decode(recorder.bodies[0], api_version="v1", kind="Nothing")
    assert (sent["apiVersion"], sent["kind"]) == ("authentication.k8s.io/v1", "TokenRequest")
    spec = checked(sent)["spec"]
    assert (spec["audiences"], spec["expirationSeconds"]) == (["a"], 600)
    assert spec["boundObjectRef"] == {"kind": "Pod", "apiVersion": "v1", "name": "p"}
