"""What there is: discovery both ways, OpenAPI, version, health."""

from __future__ import annotations

import asyncio

import pytest
from apiserver_harness import Instance

from podstead.apiserver.dispatch import Dispatcher
from podstead.apiserver.health import Health
from podstead.apiserver.usage import RESOURCES
from podstead.objects.kinds import DISCOVERED, by_resource

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def test_the_resource_list_has_what_drain_looks_for(instance: Instance) -> None:
    document = await instance.get("/api/v1")
    resources = {resource["name"]: resource for resource in document["resources"]}
    eviction = resources["pods/eviction"]
    assert (eviction["kind"], eviction["group"], eviction["version"]) == ("Eviction", "policy", "v1")
    assert resources["pods"]["shortNames"] == ["po"]
    assert resources["pods"]["categories"] == ["all"]
    assert not resources["nodes"]["namespaced"]
    assert resources["pods/attach"]["verbs"] == resources["pods/portforward"]["verbs"] == ["create", "get"]


async def test_aggregated_discovery_says_the_same(instance: Instance) -> None:
    answer = await instance.ask("GET", "/api", headers={"Accept": f"{AGGREGATED},application/json"})
    assert answer.headers["Content-Type"] == AGGREGATED
    (core,) = answer.json["items"]
    (version,) = core["versions"]
    pods = next(resource for resource in version["resources"] if resource["resource"] == "pods")
    assert pods["responseKind"] == {"group": "", "version": "v1", "kind": "Pod"}
    served = {subresource.name for subresource in by_resource("pods").subresources}
    assert {subresource["subresource"] for subresource in pods["subresources"]} == served
    plain = {resource["name"] for resource in (await instance.get("/api/v1"))["resources"]}
    listed = {resource["resource"] for resource in version["resources"]}
    assert {name for name in plain if "/" not in name} == listed


async def test_aggregated_discovery_is_sent_once(instance: Instance) -> None:
    first = await instance.ask("GET", "/api", headers={"Accept": AGGREGATED})
    headers = {"Accept": AGGREGATED, "If-None-Match": first.headers["ETag"]}
    second = await instance.ask("GET", "/api", headers=headers)
    assert (second.status, second.body) == (304, b"")


async def test_the_older_aggregated_version_is_served(instance: Instance) -> None:
    document = await instance.get("/apis", AGGREGATED.replace("v2", "v2beta1"))
    assert document["apiVersion"] == "apidiscovery.k8s.io/v2beta1"


async def test_plain_discovery(instance: Instance) -> None:
    assert (await instance.get("/api"))["versions"] == ["v1"]
    assert (await instance.get("/apis"))["kind"] == "APIGroupList"
    assert "/api/v1" in (await instance.get("/"))["paths"]


async def test_openapi_names_each_document_by_its_hash(instance: Instance) -> None:
    index = await instance.get("/openapi/v3")
    url = index["paths"]["api/v1"]["serverRelativeURL"]
    answer = await instance.ask("GET", url)
    assert "immutable" in answer.headers["Cache-Control"]
    assert "/api/v1/namespaces/{namespace}/pods/{name}" in answer.json["paths"]
    again = await instance.ask("GET", url, headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status == 304
    moved = await instance.ask("GET", "/openapi/v3/api/v1?hash=OLD", allow_redirects=False)
    assert (moved.status, moved.headers["Location"]) == (301, url)


async def test_explain_shows_a_field(instance: Instance) -> None:
    assert "image <string>" in await instance.kubectl("explain", "pod.spec.containers.image")


async def test_version_is_what_clients_look_for(instance: Instance) -> None:
    version = await instance.get("/version")
    assert (version["major"], version["minor"], version["gitVersion"]) == ("1", "37", "v1.37.0")
    assert "Server Version: v1.37.0" in await instance.kubectl("version")


async def test_readyz_names_the_check_that_fails(instance: Instance) -> None:
    dispatcher: Dispatcher = instance.server._dispatcher
    dispatcher._health = Health({"node": lambda: False})
    answer = await instance.ask("GET", "/readyz?verbose")
    assert answer.status == 500
    assert answer.body == b"[+]ping ok\n[-]node failed: reason withheld\nreadyz check failed\n"
    assert (await instance.ask("GET", "/readyz?exclude=node")).body == b"ok"
    assert (await instance.ask("GET", "/livez")).body == b"ok"
    assert (await instance.ask("GET", "/readyz/nothing")).status == 404


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/v2", "/apis/none", "/api/v1/gadgets", "/openapi/v4", "/api/v1/a/b/c/d/e"]
)
async def test_an_unknown_path_is_a_status(instance: Instance, path: str) -> None:
    answer = await instance.ask("GET", path)
    assert answer.status == 404
    assert answer.json["message"] == "the server could not find the requested resource"


async def test_kubectl_lists_the_resources(instance: Instance) -> None:
    resources, all_of_them = await asyncio.gather(
        instance.kubectl("api-resources", "-o", "name"), instance.kubectl("get", "all")
    )
    assert set(resources.split()) == {info.resource for info in (*DISCOVERED, *RESOURCES)}
    assert "No resources found" in all_of_them
