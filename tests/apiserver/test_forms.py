"""What requests and answers are written in: protobuf, YAML, gzip, and what no answer can be written in."""

from __future__ import annotations

import gzip
import json
from typing import Any

import aiohttp
import pytest
import yaml
from apiserver_harness import Instance

from podstead.objects.wire import encode_field, fields
from podstead.objects.yaml_text import decode_yaml

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PROTOBUF = "application/vnd.kubernetes.protobuf"
YAML = {"Content-Type": "application/yaml"}
TO_TRY = """
y n Yes ON off tRUE ~ Null nULL 0777 0o17 08 0x1F -0b11 1_000 1__0.5 1:30 1e3 1.e3 1E-2 .5 +.5 5. -0 -0.0 +12 12e
2001-12-14 2001-12-14t21:59:43.10-05:00 9223372036854775807 1e400 0.1 1e21 0b 0x + . .. = .1_0 .e1 -0777 1,000
'yes' "0x1" !!str=1 !!int='5' !!binary=aGk= !!float=1
""".split()  # noqa: SIM905


def envelope(raw: bytes, kind: str, api_version: str = "v1") -> bytes:
    type_meta = encode_field(1, api_version) + encode_field(2, kind)
    return b"k8s\0" + encode_field(1, type_meta) + encode_field(2, raw)


def a_configmap(name: str, **data: str) -> bytes:
    pairs = [encode_field(2, encode_field(1, key) + encode_field(2, value)) for key, value in data.items()]
    return envelope(encode_field(1, encode_field(1, name)) + b"".join(pairs), "ConfigMap")


# -- protobuf


async def test_protobuf_is_taken_and_answered_in_json(instance: Instance) -> None:
    headers = {"Content-Type": PROTOBUF, "Accept": f"{PROTOBUF},application/json"}
    made = await instance.ask("POST", CONFIGMAPS, data=a_configmap("cm", a="1"), headers=headers)
    assert (made.status, made.headers["Content-Type"], made.json["data"]) == (201, "application/json", {"a": "1"})
    changed = await instance.ask("PUT", f"{CONFIGMAPS}/cm", data=a_configmap("cm", b="2"), headers=headers)
    assert (changed.status, changed.json["data"]) == (200, {"b": "2"})
    options = envelope(encode_field(2, encode_field(1, "not-its-uid")), "DeleteOptions")
    assert (await instance.ask("DELETE", f"{CONFIGMAPS}/cm", data=options, headers=headers)).status == 409
    assert (
        await instance.ask("DELETE", f"{CONFIGMAPS}/cm", data=envelope(b"", "DeleteOptions"), headers=headers)
    ).status == 200


async def test_a_number_that_is_not_known_is_refused(instance: Instance) -> None:
    data = envelope(encode_field(1, encode_field(99, 1)), "ConfigMap")
    answer = await instance.ask("POST", CONFIGMAPS, data=data, headers={"Content-Type": PROTOBUF})
    assert answer.status == 400
    assert 'unknown field number 99 of ObjectMeta at "metadata"' in answer.json["message"]


async def test_another_kind_than_the_path_says(instance: Instance) -> None:
    answer = await instance.ask("POST", CONFIGMAPS, data=envelope(b"", "Secret"), headers={"Content-Type": PROTOBUF})
    assert answer.status == 400 and "cannot be handled as a ConfigMap" in answer.json["message"]


async def test_a_long_body_is_read_beside_other_requests(instance: Instance) -> None:
    data = a_configmap("long", **{f"key{number}": "x" * 100 for number in range(5000)})
    answer = await instance.ask("POST", CONFIGMAPS, data=data, headers={"Content-Type": PROTOBUF})
    assert answer.status == 201 and len(answer.json["data"]) == 5000


@pytest.mark.parametrize("path", [CONFIGMAPS, f"{CONFIGMAPS}?watch=1", "/api/v1", "/apis", "/openapi/v2"])
async def test_answers_are_not_protobuf(instance: Instance, path: str) -> None:
    answer = await instance.ask("GET", path, headers={"Accept": PROTOBUF})
    assert (answer.status, answer.json["reason"]) == (406, "NotAcceptable")
    assert "application/json" in answer.json["message"]


async def test_an_action_is_not_done_if_its_answer_cannot_be_given(instance: Instance) -> None:
    await instance.create_pod(bound=False)
    binding = {"target": {"kind": "Node", "name": "fake"}, "metadata": {"name": "box"}}
    path = "/api/v1/namespaces/default/pods/box"
    assert (await instance.ask("POST", f"{path}/binding", json=binding, headers={"Accept": PROTOBUF})).status == 406
    assert "nodeName" not in (await instance.get(path))["spec"]


async def test_kubectl_sends_protobuf(instance: Instance) -> None:
    await instance.kubectl("create", "namespace", "space")
    await instance.kubectl("create", "configmap", "cm", "-n", "space", "--from-literal=a=1", "--from-literal=empty=")
    await instance.kubectl("create", "secret", "generic", "s", "-n", "space", "--from-literal=password=hunter2")
    await instance.kubectl("create", "serviceaccount", "sa", "-n", "space")
    assert (await instance.get("/api/v1/namespaces/space/configmaps/cm"))["data"] == {"a": "1", "empty": ""}
    secret = await instance.get("/api/v1/namespaces/space/secrets/s")
    assert (secret["data"], secret["type"]) == ({"password": "aHVudGVyMg=="}, "Opaque")
    assert (await instance.get("/api/v1/namespaces/space/serviceaccounts/sa"))["metadata"]["uid"]
    wrong = await instance.kubectl("create", "configmap", "Wrong", check=False)
    assert 'ConfigMap "Wrong" is invalid: metadata.name: Invalid value: "Wrong"' in wrong


# -- YAML


async def test_yaml_is_taken(instance: Instance) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cm\ndata: {on: 'yes', date: 2001-12-14}\n"
    answer = await instance.ask("POST", CONFIGMAPS, data=text, headers=YAML)
    assert (answer.status, answer.json["data"]) == (201, {"true": "yes", "date": "2001-12-14"})
    answer = await instance.ask("PUT", f"{CONFIGMAPS}/cm", data=text.replace("on:", "off:"), headers=YAML)
    assert (answer.status, answer.json["data"]) == (200, {"false": "yes", "date": "2001-12-14"})
    answer = await instance.ask("DELETE", f"{CONFIGMAPS}/cm", data="preconditions: {uid: other}", headers=YAML)
    assert answer.status == 409


async def test_a_field_said_twice_in_yaml(instance: Instance) -> None:
    text = "metadata: {name: cm}\nextra: 1\ndata:\n  a: x\n  a: z\n"
    answer = await instance.ask("POST", f"{CONFIGMAPS}?dryRun=All", data=text, headers=YAML)
    assert (answer.status, answer.json["data"]) == (201, {"a": "z"})
    assert answer.headers.getall("Warning") == [
        '299 - "unknown field \\"extra\\""',
        '299 - "duplicate field \\"data.a\\""',
    ]
    strict = await instance.ask("POST", f"{CONFIGMAPS}?fieldValidation=Strict", data=text, headers=YAML)
    assert strict.status == 400
    assert 'strict decoding error: unknown field "extra", duplicate field "data.a"' in strict.json["message"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data: {a: 1}", "cannot unmarshal number into Go struct field ConfigMap.data of type string"),
        ("- a", "cannot unmarshal array into Go value"),
        ("a: [", "yaml: line 2"),
        ("a: 1\n---\nb: 1", "only one document"),
    ],
)
async def test_bad_yaml_is_a_400(instance: Instance, text: str, words: str) -> None:
    answer = await instance.ask("POST", CONFIGMAPS, data=text, headers=YAML)
    assert answer.status == 400 and words in answer.json["message"]


async def test_yaml_is_answered_where_it_is_asked_for(instance: Instance) -> None:
    accept = {"Accept": "application/yaml"}
    manifest = {"metadata": {"name": "cm"}, "data": {"a": "0777", "b": "x\ny\n"}}
    answer = await instance.ask("POST", CONFIGMAPS, json=manifest, headers=accept)
    assert (answer.status, answer.headers["Content-Type"]) == (201, "application/yaml")
    assert b'  a: "0777"\n  b: |\n    x\n    y\n' in answer.body
    for path in (CONFIGMAPS, f"{CONFIGMAPS}/cm", f"{CONFIGMAPS}/nosuch", "/api", "/apis", "/api/v1"):
        answer = await instance.ask("GET", path, headers=accept)
        assert answer.headers["Content-Type"] == "application/yaml"
        assert yaml.safe_load(answer.body) == (await instance.ask("GET", path)).json
    table = await instance.ask("GET", CONFIGMAPS, headers={"Accept": "application/yaml;as=Table;g=meta.k8s.io;v=v1"})
    assert yaml.safe_load(table.body)["kind"] == "Table"


async def test_json_comes_first_unless_yaml_does(instance: Instance) -> None:
    for accept in ("", "*/*", "application/json, application/yaml", "application/yaml;q=0.5, application/json"):
        assert (await instance.ask("GET", CONFIGMAPS, headers={"Accept": accept})).headers[
            "Content-Type"
        ] == "application/json"
    for accept in ("application/yaml, */*", f"{PROTOBUF}, application/yaml, application/json"):
        assert (await instance.ask("GET", CONFIGMAPS, headers={"Accept": accept})).headers[
            "Content-Type"
        ] == "application/yaml"


async def test_a_watch_is_not_yaml(instance: Instance) -> None:
    answer = await instance.ask("GET", f"{CONFIGMAPS}?watch=1", headers={"Accept": "application/yaml"})
    assert answer.status == 406


async def test_words_mean_what_they_mean_to_kubectl(instance: Instance) -> None:
    lines = [f"  k{number}: {word.replace('=', ' ', 1) if '!' in word else word}" for number, word in enumerate(TO_TRY)]
    lines += [f"  {word}: key" for word in TO_TRY if word[0] not in "~!NnyYoOt'+=.-" and ":" not in word]
    text = "\n".join(["apiVersion: v1", "kind: ConfigMap", "metadata: {name: x}", "extra:", *lines])
    shown = await instance.kubectl(
        "create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-", stdin=text, check=False
    )
    ours: Any = decode_yaml(text.encode())[0]["extra"]
    assert ours == json.loads(shown)["extra"]


# -- gzip


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("br", False),
    ],
)
async def test_long_answers_are_compressed_for_who_takes_it(instance: Instance, accepted: str, zipped: bool) -> None:
    manifest = {"metadata": {"name": "long"}, "data": {"a": "x" * 200_000}}
    await instance.ask("POST", CONFIGMAPS, json=manifest)
    connector = aiohttp.TCPConnector(ssl=instance.context(instance.pki.client("admin", ("system:masters",))))
    async with (
        aiohttp.ClientSession(instance.url, connector=connector, auto_decompress=False) as plain,
        plain.get(f"{CONFIGMAPS}/long", headers={"Accept-Encoding": accepted}) as response,
    ):
        body = await response.read()
        assert (response.headers.get("Content-Encoding") == "gzip") == zipped
    assert json.loads(gzip.decompress(body) if zipped else body)["data"] == manifest["data"]


async def test_a_compressed_request_is_refused(instance: Instance) -> None:
    data = gzip.compress(json.dumps({"metadata": {"name": "cm"}}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await instance.ask("POST", CONFIGMAPS, data=data, headers=headers)
    assert (answer.status, answer.json["reason"]) == (415, "UnsupportedMediaType")


# -- /openapi/v2


async def test_openapi_v2_in_both_forms(instance: Instance) -> None:
    document = await instance.get("/openapi/v2")
    assert (document["swagger"], document["info"]["title"]) == ("2.0", "Kubernetes")
    pod = document["definitions"]["io.k8s.api.core.v1.Pod"]
    assert pod["properties"]["spec"]["$ref"] == "#/definitions/io.k8s.api.core.v1.PodSpec"
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "kind": "Pod", "version": "v1"}]
    for asked in (
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    ):
        answer = await instance.ask("GET", "/openapi/v2", headers={"Accept": asked})
        assert answer.headers["Content-Type"] == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
        top = {number: value for number, _, value in fields(answer.body)}
        assert top[1] == b"2.0"
        names = [{n: v for n, _, v in fields(named)}[1] for _, _, named in fields(top[9])]  # type: ignore[arg-type]
        assert sorted(document["definitions"]) == [name.decode() for name in names]  # type: ignore[union-attr]
    again = await instance.ask("GET", "/openapi/v2", headers={"Accept": asked, "If-None-Match": answer.headers["ETag"]})
    assert again.status == 304


async def test_openapi_v2_has_no_word_of_v3(instance: Instance) -> None:
    document = await instance.get("/openapi/v2")
    # A schema of schemas has such fields.
    del document["definitions"]["io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"]
    text = json.dumps(document)
    for word in ("oneOf", "allOf", "requestBody", "#/components", '"content"'):
        assert word not in text
