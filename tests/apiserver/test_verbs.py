"""create, get, list, update, patch and delete over HTTP, and what bad requests are told."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from typing import Any

import pytest
from apiserver_harness import POD, Instance

JSON = {"Content-Type": "application/json"}
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def configmap(name: str = "cm", **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}, **more}


async def test_an_object_lives_and_dies(instance: Instance) -> None:
    created = await instance.ask("POST", CONFIGMAPS, json=configmap())
    assert created.status == 201
    assert created.headers["Cache-Control"] == "no-cache, private" and created.headers["Audit-Id"]
    obj = await instance.get(f"{CONFIGMAPS}/cm")
    assert obj == created.json
    updated = await instance.ask("PUT", f"{CONFIGMAPS}/cm", json={**obj, "data": {"a": "c"}})
    assert (updated.status, updated.json["data"]) == (200, {"a": "c"})
    stale = await instance.ask("PUT", f"{CONFIGMAPS}/cm", json=obj)
    assert (stale.status, stale.json["reason"]) == (409, "Conflict")
    deleted = await instance.ask("DELETE", f"{CONFIGMAPS}/cm")
    assert (deleted.status, deleted.json["status"], deleted.json["details"]["name"]) == (200, "Success", "cm")
    gone = await instance.ask("GET", f"{CONFIGMAPS}/cm")
    assert (gone.status, gone.json["message"]) == (404, 'configmaps "cm" not found')


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/merge-patch+json", {"data": {"a": "p"}}),
        ("application/strategic-merge-patch+json", {"data": {"a": "p", "$retainKeys": ["a"]}}),
        ("application/json-patch+json; charset=utf-8", [{"op": "replace", "path": "/data/a", "value": "p"}]),
    ],
)
async def test_patches(instance: Instance, content_type: str, body: Any) -> None:
    await instance.ask("POST", CONFIGMAPS, json=configmap())
    headers = {"Content-Type": content_type}
    answer = await instance.ask("PATCH", f"{CONFIGMAPS}/cm", data=json.dumps(body), headers=headers)
    assert (answer.status, answer.json["data"]) == (200, {"a": "p"})


async def test_lists_page_and_select(instance: Instance) -> None:
    for name in "abc":
        await instance.ask("POST", CONFIGMAPS, json=configmap(name))
    first = await instance.get(f"{CONFIGMAPS}?limit=2")
    assert [item["metadata"]["name"] for item in first["items"]] == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 1
    rest = await instance.get(f"{CONFIGMAPS}?limit=2&continue={first['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c"]
    assert "continue" not in rest["metadata"]
    chosen = await instance.get(f"{CONFIGMAPS}?fieldSelector=metadata.name%3Db")
    assert [item["metadata"]["name"] for item in chosen["items"]] == ["b"]
    assert (chosen["kind"], chosen["apiVersion"]) == ("ConfigMapList", "v1")


async def test_a_collection_is_deleted(instance: Instance) -> None:
    for name in "abc":
        await instance.ask("POST", CONFIGMAPS, json=configmap(name, metadata={"name": name, "labels": {"l": name}}))
    answer = await instance.ask("DELETE", f"{CONFIGMAPS}?labelSelector=l+in+(a,b)")
    assert [item["metadata"]["name"] for item in answer.json["items"]] == ["a", "b"]
    assert len((await instance.get(CONFIGMAPS))["items"]) == 1


async def test_what_of_a_collection_is_deleted(instance: Instance) -> None:
    """Fields, pages and preconditions select too; a dry run and a failed precondition take nothing."""
    for name in "abcd":
        await instance.ask("POST", CONFIGMAPS, json=configmap(name))

    async def delete(query: str = "", **options: Any) -> Any:
        return await instance.ask("DELETE", CONFIGMAPS + query, **({"json": options} if options else {}))

    async def left() -> str:
        return "".join(item["metadata"]["name"] for item in (await instance.get(CONFIGMAPS))["items"])

    answer = await delete("?labelSelector=nosuch")
    assert (answer.status, answer.json["kind"], answer.json["items"]) == (200, "ConfigMapList", [])
    assert (await delete("?dryRun=All")).status == 200
    assert (await delete(preconditions={"uid": "another"})).json["reason"] == "Conflict"
    assert (await delete("?labelSelector=a%3D%3D%3Db")).status == 400
    assert (await delete("?fieldSelector=data.a%3Db")).status == 400
    assert await left() == "abcd"
    answer = await delete("?fieldSelector=metadata.name!%3Db&limit=2")
    assert [item["metadata"]["name"] for item in answer.json["items"]] == ["a", "c"]
    assert answer.json["metadata"]["continue"]
    assert await left() == "bd"
    assert (await delete("?gracePeriodSeconds=0&propagationPolicy=Background")).status == 200
    assert await left() == ""


async def test_the_pages_of_a_list_are_of_one_moment(instance: Instance) -> None:
    for name in "ab":
        await instance.ask("POST", CONFIGMAPS, json=configmap(name))
    first = await instance.get(f"{CONFIGMAPS}?limit=1")
    await instance.ask("DELETE", f"{CONFIGMAPS}/b")
    rest = await instance.get(f"{CONFIGMAPS}?limit=1&continue={first['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in rest["items"]] == ["b"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_write_may_say_what_it_has_seen(instance: Instance) -> None:
    created = (await instance.ask("POST", CONFIGMAPS, json=configmap())).json
    version, uid = created["metadata"]["resourceVersion"], created["metadata"]["uid"]
    headers = {"Content-Type": "application/strategic-merge-patch+json"}

    async def patch(**metadata: str) -> Any:
        body = json.dumps({"metadata": metadata, "data": {"n": version}})
        return await instance.ask("PATCH", f"{CONFIGMAPS}/cm", data=body, headers=headers)

    assert (await patch(uid="another")).json["reason"] == "Conflict"
    assert (await patch(resourceVersion=version, uid=uid)).status == 200
    assert (await patch(resourceVersion=version)).json["reason"] == "Conflict"
    stale = await instance.ask("DELETE", f"{CONFIGMAPS}/cm", json={"preconditions": {"resourceVersion": version}})
    assert (stale.status, stale.json["reason"]) == (409, "Conflict")
    assert (await instance.ask("DELETE", f"{CONFIGMAPS}/cm", json={"preconditions": {"uid": uid}})).status == 200


async def test_a_status_is_a_subresource(instance: Instance) -> None:
    await instance.create_pod()
    path = "/api/v1/namespaces/default/pods/box/status"
    headers = {"Content-Type": "application/merge-patch+json"}
    body = {"status": {"phase": "Running"}, "spec": {"nodeName": "elsewhere"}}
    answer = await instance.ask("PATCH", path, data=json.dumps(body), headers=headers)
    assert (answer.json["status"]["phase"], answer.json["spec"]["nodeName"]) == ("Running", "fake")
    assert (await instance.get(path))["status"]["phase"] == "Running"


async def test_binding_and_eviction(instance: Instance) -> None:
    await instance.create_pod(bound=False)
    pod = "/api/v1/namespaces/default/pods/box"
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "box"}, "target": {"name": "fake"}}
    answer = await instance.ask("POST", f"{pod}/binding", json=binding)
    assert (answer.status, answer.json["status"]) == (201, "Success")
    assert (await instance.get(pod))["spec"]["nodeName"] == "fake"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "box"}}
    assert (await instance.ask("POST", f"{pod}/eviction", json=eviction)).status == 201
    assert (await instance.get(pod))["metadata"]["deletionTimestamp"]


async def test_a_delete_takes_its_options_from_body_or_query(instance: Instance) -> None:
    await instance.create_pod()
    pod = "/api/v1/namespaces/default/pods/box"
    wrong = await instance.ask("DELETE", pod, json={"preconditions": {"uid": "another"}})
    assert (wrong.status, wrong.json["reason"]) == (409, "Conflict")
    tried = await instance.ask("DELETE", f"{pod}?dryRun=All&gracePeriodSeconds=0")
    assert tried.status == 200
    graceful = await instance.ask("DELETE", f"{pod}?gracePeriodSeconds=20")
    assert graceful.json["metadata"]["deletionGracePeriodSeconds"] == 20
    at_once = await instance.ask(
        "DELETE", pod, json={"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
    )
    assert at_once.status == 200
    assert (await instance.ask("GET", pod)).status == 404


async def test_dry_run_leaves_nothing(instance: Instance) -> None:
    assert (await instance.ask("POST", f"{CONFIGMAPS}?dryRun=All", json=configmap())).status == 201
    assert (await instance.ask("GET", f"{CONFIGMAPS}/cm")).status == 404


# -- validation of fields


async def test_unknown_and_duplicate_fields_are_warned_of(instance: Instance) -> None:
    body = json.dumps(configmap(foo=1, **{'q"\\': 2})).replace('"data"', '"data": {}, "data"')
    answer = await instance.ask("POST", CONFIGMAPS, data=body, headers=JSON)
    assert answer.status == 201
    warnings = answer.headers.getall("Warning")
    assert '299 - "unknown field \\"foo\\""' in warnings
    assert '299 - "duplicate field \\"data\\""' in warnings
    assert len(warnings) == 3 and not any("\n" in warning for warning in warnings)


async def test_strict_refuses_them_by_name(instance: Instance) -> None:
    answer = await instance.ask("POST", f"{CONFIGMAPS}?fieldValidation=Strict", json=configmap(foo=1))
    assert answer.status == 400
    assert answer.json["message"].endswith('strict decoding error: unknown field "foo"')


async def test_ignore_says_nothing(instance: Instance) -> None:
    answer = await instance.ask("POST", f"{CONFIGMAPS}?fieldValidation=Ignore", json=configmap(foo=1))
    assert answer.status == 201 and "Warning" not in answer.headers


# -- bad requests


@pytest.mark.parametrize(
    ("method", "path", "code", "words"),
    [
        ("GET", f"{CONFIGMAPS}?limit=many", 400, 'strconv.ParseInt: parsing "many": invalid syntax'),
        ("GET", f"{CONFIGMAPS}?labelSelector=a+in", 400, "unable to parse requirement"),
        ("GET", f"{CONFIGMAPS}?fieldSelector=spec.x%3D1", 400, "field label not supported: spec.x"),
        (
            "GET",
            f"{CONFIGMAPS}?resourceVersion=x",
            400,
            'invalid resource version: resourceVersion: Invalid value: "x": ',
        ),
        ("GET", f"{CONFIGMAPS}?resourceVersionMatch=Exact", 422, "forbidden unless resourceVersion is provided"),
        ("GET", f"{CONFIGMAPS}?watch=1&timeoutSeconds=x", 400, "strconv.ParseInt"),
        ("GET", f"{CONFIGMAPS}?timeout=soon", 400, 'invalid duration "soon"'),
        ("GET", "/api/v1/namespaces/default/pods/%FF", 400, "UTF-8"),
        ("GET", "/api/v1/namespaces/default/pods/a%2Fb", 404, "could not find the requested resource"),
        ("GET", "/api/v1/namespaces/a%25b/pods", 400, "Namespace parameter invalid: \"a%b\": may not contain '%'"),
        ("GET", "/api/v1/namespaces/default/nodes", 404, "could not find the requested resource"),
        ("GET", "/api/v1/namespaces/default/pods/x/nosuch", 404, "could not find the requested resource"),
        ("POST", "/api/v1/configmaps", 405, "does not allow this method"),
        ("POST", f"{CONFIGMAPS}/cm", 405, "does not allow this method"),
        ("PUT", CONFIGMAPS, 405, "does not allow this method"),
        ("DELETE", "/version", 405, "does not allow this method"),
        ("OPTIONS", f"{CONFIGMAPS}/cm", 405, "does not allow this method"),
        ("DELETE", f"{CONFIGMAPS}/cm?gracePeriodSeconds=x", 400, "strconv.ParseInt"),
        ("DELETE", f"{CONFIGMAPS}/cm?dryRun=Some", 422, 'Unsupported value: ["Some"]: supported values: "All"'),
        ("DELETE", f"{CONFIGMAPS}/cm?propagationPolicy=Maybe", 422, "propagationPolicy"),
    ],
)
async def test_a_bad_request_is_a_status(instance: Instance, method: str, path: str, code: int, words: str) -> None:
    answer = await instance.ask(method, path)
    assert answer.status == answer.json["code"] == code, answer.body
    assert answer.json["kind"] == "Status" and words in answer.json["message"]


@pytest.mark.parametrize(
    ("query", "data", "headers", "code", "words"),
    [
        ("", b"{", {}, 400, "unexpected end of JSON input"),
        ("", b"", {}, 400, ""),
        ("", b"[]", {}, 400, ""),
        ("", b'{"metadata": {"name": 7}}', {}, 400, "cannot unmarshal number into Go struct field ObjectMeta"),
        ("", b'{"kind": "Pod", "apiVersion": "v1"}', {}, 400, "cannot be handled as a ConfigMap"),
        ("", b'{"metadata": {"name": "x", "namespace": "other"}}', {}, 400, "does not match the namespace"),
        ("", b'{"metadata": {"name": "UPPER"}}', {}, 422, 'ConfigMap "UPPER" is invalid: metadata.name'),
        ("", b"a: b", {"Content-Type": "text/yaml"}, 415, "accepted media types include: application/json"),
        ("", b"k8s\0", {"Content-Type": "application/vnd.kubernetes.protobuf"}, 422, "metadata.name"),
        ("", b"\x1f\x8b", {"Content-Encoding": "gzip"}, 415, "compressed"),
        ("?dryRun=Some", b"{}", {}, 422, "dryRun"),
        (f"?fieldManager={'x' * 129}", b"{}", {}, 422, "may not be more than 128 bytes"),
        ("?fieldManager=a%0ab", b"{}", {}, 422, "invalid character U+000A (at position 1)"),
        ("?fieldValidation=Some", b"{}", {}, 422, 'supported values: "", "Ignore", "Warn", "Strict"'),
    ],
)
async def test_a_bad_body_is_a_status(
    instance: Instance, query: str, data: bytes, headers: dict[str, str], code: int, words: str
) -> None:
    headers = {"Content-Type": "application/json", **headers}
    answer = await instance.ask("POST", CONFIGMAPS + query, data=data, headers=headers)
    assert answer.status == code, answer.body
    assert answer.json["kind"] == "Status" and words in answer.json["message"]


async def test_other_patch_types_are_named(instance: Instance) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await instance.ask("PATCH", f"{CONFIGMAPS}/cm?fieldManager=me", data=b"{}", headers=headers)
    assert answer.status == 415
    assert answer.json["message"] == (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, "
        "application/apply-patch+yaml"
    )


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_has_a_limit(instance: Instance, chunked: bool) -> None:
    async def parts() -> Any:
        for _ in range(4):
            yield b"x" * 1024 * 1024

    data = parts() if chunked else io.BytesIO(b"x" * (4 << 20))
    answer = await instance.ask("POST", CONFIGMAPS, data=data, headers=JSON)
    assert answer.status == 413
    assert answer.json["message"] == "Request entity too large: limit is 3145728"


async def test_a_client_that_waits_to_be_asked_for_its_body(instance: Instance) -> None:
    answer = await instance.ask("POST", CONFIGMAPS, json=configmap(), expect100=True)
    assert answer.status == 201


async def test_an_unexpected_failure_says_nothing_of_the_inside(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(type(instance.registry.resources["configmaps"]), "get", fail)
    answer = await instance.ask("GET", f"{CONFIGMAPS}/cm")
    assert (answer.status, answer.json["reason"]) == (500, "InternalError")
    assert b"secret detail" not in answer.body and answer.headers["Audit-Id"] in answer.json["message"]
    assert "secret detail" in caplog.text


async def test_a_request_that_takes_too_long_is_ended(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(type(instance.registry.resources["configmaps"]), "get", hang)
    answer = await instance.ask("GET", f"{CONFIGMAPS}/cm?timeout=50ms")
    assert (answer.status, answer.json["reason"]) == (504, "Timeout")


async def test_what_is_not_http_is_refused_without_a_trace(
    instance: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    context: ssl.SSLContext = instance.context(None)
    reader, writer = await asyncio.open_connection("127.0.0.1", instance.server.port, ssl=context)
    writer.write(b"HELO there\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.0 400") or answer.startswith(b"HTTP/1.1 400")
    assert "Traceback" not in caplog.text


# -- encodings


async def test_long_answers_are_compressed_where_asked(instance: Instance) -> None:
    await instance.ask("POST", CONFIGMAPS, json=configmap(data={"a": "x" * 200_000}))
    plain = await instance.ask("GET", f"{CONFIGMAPS}/cm", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    squeezed = await instance.ask("GET", f"{CONFIGMAPS}/cm", headers={"Accept-Encoding": "gzip"})
    assert squeezed.headers["Content-Encoding"] == "gzip"
    assert squeezed.json == plain.json


async def test_curl_and_pretty_get_indented_json(instance: Instance) -> None:
    assert b'\n  "' in (await instance.ask("GET", "/api?pretty=true")).body
    assert b'\n  "' in (await instance.ask("GET", "/api", headers={"User-Agent": "curl/8.0"})).body
    assert b"\n" not in (await instance.ask("GET", "/api?pretty=false", headers={"User-Agent": "curl/8.0"})).body


async def test_head_has_no_body(instance: Instance) -> None:
    answer = await instance.ask("HEAD", "/api/v1/namespaces/default")
    assert (answer.status, answer.body) == (200, b"")


async def test_requests_share_a_connection(instance: Instance) -> None:
    for _ in range(3):
        assert (await instance.ask("GET", f"{CONFIGMAPS}/none")).status == 404
    assert instance.server._http is not None and len(instance.server._http.connections) == 1


# -- kubectl


async def test_kubectl_creates_gets_waits_and_deletes(instance: Instance) -> None:
    assert await instance.kubectl("create", "-f", "-", stdin=json.dumps(POD)) == "pod/box created\n"
    assert "already exists" in await instance.kubectl("create", "-f", "-", stdin=json.dumps(POD), check=False)
    assert "name: box" in await instance.kubectl("get", "pod", "box", "-o", "yaml")
    assert "Image:" in await instance.kubectl("describe", "pod", "box")
    waiting = asyncio.create_task(instance.kubectl("wait", "--for=delete", "pod/box", "--timeout=20s"))
    assert 'pod "box"' in await instance.kubectl("delete", "pod", "box")
    assert "NotFound" in await instance.kubectl("get", "pod", "box", check=False)
    await waiting


async def test_kubectl_names_the_unknown_field(instance: Instance) -> None:
    output = await instance.kubectl("create", "-f", "-", stdin=json.dumps(configmap(foo=1)), check=False)
    assert 'strict decoding error: unknown field "foo"' in output
    output = await instance.kubectl("create", "--validate=warn", "-f", "-", stdin=json.dumps(configmap(foo=1)))
    assert 'Warning: unknown field "foo"' in output and "configmap/cm created" in output
