"""/openapi/v3 over HTTP: each form, compression, tags; and a client that is generated from it works."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import ssl
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from apiserver_harness import Instance

from podstead.objects.wire import fields

APPS = "/openapi/v3/apis/apps/v1"
PROTOBUF = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"


async def test_the_index_names_every_path_of_discovery(instance: Instance) -> None:
    index = (await instance.get("/openapi/v3"))["paths"]
    assert {"api", "api/v1", "apis", "apis/apps", "apis/apps/v1", "apis/autoscaling/v2", "version"} <= set(index)
    for path in ("api", "apis", "apis/apps", "version"):
        document = await instance.get(index[path]["serverRelativeURL"])
        assert list(document["paths"]) == [f"/{path}/"]
        assert await instance.get(f"/{path}")


async def test_a_document_is_kept_by_its_tag(instance: Instance) -> None:
    index = await instance.get("/openapi/v3")
    first = await instance.ask("GET", index["paths"]["apis/apps/v1"]["serverRelativeURL"])
    assert first.headers["Cache-Control"] == "public, immutable"
    again = await instance.ask("GET", APPS, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert (await instance.ask("GET", APPS)).headers["ETag"] == first.headers["ETag"]


@pytest.mark.parametrize("query", ["", "?pretty=true"])
async def test_a_document_is_compressed_for_who_takes_it(instance: Instance, query: str) -> None:
    plain = await instance.ask("GET", APPS + query, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    packed = await instance.ask("GET", APPS + query, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.body == plain.body  # aiohttp has decompressed it
    assert plain.body.startswith(b"{\n" if query else b'{"openapi":"3.0.0"')


@pytest.mark.parametrize("asked", [PROTOBUF, PROTOBUF.replace("v3.v1.0", "v3@v1.0")])
async def test_a_document_as_protobuf(instance: Instance, asked: str) -> None:
    answer = await instance.ask("GET", APPS, headers={"Accept": f"{asked},application/json;q=0.5"})
    assert answer.headers["Content-Type"] == PROTOBUF
    assert next(fields(answer.body)) == (1, 2, b"3.0.0")
    assert answer.headers["ETag"] != (await instance.ask("GET", APPS)).headers["ETag"]


async def test_what_there_is_not(instance: Instance) -> None:
    assert (await instance.ask("GET", APPS, headers={"Accept": "text/html"})).status == 406
    assert (await instance.ask("GET", "/openapi/v3/apis/nowhere/v1")).status == 404


# -- a generated client


async def generate(document: Any, folder: Path) -> ModuleType:
    """Generate a client package from a document and import it."""
    described = folder / "openapi.json"
    described.write_text(json.dumps(document))
    program = Path(sys.executable).with_name("openapi-python-client")
    process = await asyncio.create_subprocess_exec(
        program, "generate", "--path", described, "--output-path", folder / "generated", "--meta", "none",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, said.decode()
    spec = importlib.util.spec_from_file_location("generated", folder / "generated" / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generated"] = module
    spec.loader.exec_module(module)
    return module


async def test_a_generated_client_creates_reads_lists_and_deletes(instance: Instance, tmp_path: Path) -> None:
    document = await instance.get("/openapi/v3/apis/coordination.k8s.io/v1")
    generated = await generate(document, tmp_path)
    try:
        api = "generated.api.coordination_v1"
        create, read, list_, delete = (
            importlib.import_module(f"{api}.{name}_coordination_v1_namespaced_lease")
            for name in ("create", "read", "list", "delete")
        )
        models = importlib.import_module("generated.models")
        context: ssl.SSLContext = instance.context(instance.pki.client("kubernetes-admin", ("system:masters",)))
        async with generated.Client(base_url=instance.url, verify_ssl=context) as client:
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "made"}}
            lease = models.IoK8SApiCoordinationV1Lease.from_dict(body | {"spec": {"holderIdentity": "me"}})
            made = await create.asyncio("default", client=client, body=lease)
            assert made.metadata.uid
            assert (await read.asyncio("default", "made", client=client)).spec.holder_identity == "me"
            listed = await list_.asyncio("default", client=client)
            assert [each.metadata.name for each in listed.items] == ["made"]
            gone = await delete.asyncio("default", "made", client=client)
            assert (type(gone).__name__, gone.status) == ("IoK8SApimachineryPkgApisMetaV1Status", "Success")
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "generated"]:
            del sys.modules[name]
