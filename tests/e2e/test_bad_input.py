"""Bad input: a clear answer that names what is wrong, nothing lost, nothing left behind."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.instance import TestInstance, pod
from support.wire import Wire, stranger

PODS = "/api/v1/namespaces/default/pods"
ISCSI = {"targetPortal": "10.0.0.1:3260", "iqn": "iqn.2001-04.example:storage", "lun": 0}
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def wire(instance: TestInstance, tmp_path_factory: pytest.TempPathFactory) -> Wire:
    return Wire(instance, tmp_path_factory.mktemp("wire"))


@pytest.fixture(autouse=True)
def the_server_goes_on(instance: TestInstance) -> Iterator[None]:
    """After whatever was sent: the same process, no pod, and nothing in its log but what a user should read."""
    before = instance.server()
    yield
    assert instance.server() == before
    assert instance.get("pods")["items"] == []


@pytest.fixture
def refused(instance: TestInstance) -> Any:
    """Return a function that creates a manifest and returns the error that kubectl prints, without its prefix."""

    def create(manifest: dict[str, Any] | str, *options: str) -> str:
        done = instance.create(manifest, *options)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    return create


def mounted(*mounts: dict[str, Any], volumes: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    return pod("bad", {"volumeMounts": list(mounts)}, volumes=volumes or [], **spec)


# -- manifests, through kubectl


@pytest.mark.parametrize("text", ["{", "a: b: c", "- just\n- a list", "\x00\x01\x02", "just words"])
def test_what_is_no_manifest(refused: Any, text: str) -> None:
    assert refused(text).startswith("error: ")


def test_a_kind_that_is_not_there(refused: Any) -> None:
    error = refused({"apiVersion": "v1", "kind": "Pood", "metadata": {"name": "x"}})
    assert 'no matches for kind "Pood" in version "v1"' in error


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (pod("bad", {"image": 7}), ["cannot unmarshal number", "Container.spec.containers.image of type string"]),
        (pod("bad", {"command": "ls"}), ["cannot unmarshal string", "command of type []string"]),
        (pod("Bad_Name"), ['metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain']),
        (pod("bad", {"name": "UP"}), ['spec.containers[0].name: Invalid value: "UP"']),
        (pod("bad", {"name": "c"}, {"name": "c"}), ['spec.containers[1].name: Duplicate value: "c"']),
        (pod("bad", {"image": ""}), ["spec.containers[0].image: Required value"]),
        ({**pod("bad"), "spec": {}}, ["spec.containers: Required value"]),
        (pod("bad", restartPolicy="Maybe"), ['spec.restartPolicy: Unsupported value: "Maybe"']),
        (mounted({"name": "none", "mountPath": "/m"}), ['spec.containers[0].volumeMounts[0].name: Not found: "none"']),
        (
            mounted(
                {"name": "v", "mountPath": "/m"},
                {"name": "v", "mountPath": "/m"},
                volumes=[{"name": "v", "emptyDir": {}}],
            ),
            ['spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/m": must be unique'],
        ),
        (
            mounted(volumes=[{"name": "v", "emptyDir": {}, "configMap": {"name": "c"}}]),
            ["spec.volumes[0].configMap: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            mounted(volumes=[{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]),
            ['spec.volumes[1].name: Duplicate value: "v"'],
        ),
        (
            mounted(volumes=[{"name": "v", "emptyDir": {"medium": "Paper"}}]),
            ["spec.volumes[0].emptyDir.medium: "],
        ),
        (pod("bad", {"resources": {"limits": {"memory": "lots"}}}), ["quantities must match the regular expression"]),
        (
            pod("bad", {"resources": {"limits": {"memory": "1Mi"}, "requests": {"memory": "2Mi"}}}),
            ['resources.requests: Invalid value: "2Mi": must be less than or equal to memory limit'],
        ),
        (pod("bad", {"env": [{"name": "A=B", "value": ""}]}), ["spec.containers[0].env[0].name: Invalid value"]),
        (pod("bad", {"workingDir": "x", "ports": [{"containerPort": 99999}]}), ["containerPort: Invalid value: 99999"]),
    ],
)  # fmt: skip
def test_a_pod_with_a_fault_is_refused_by_field(refused: Any, manifest: dict[str, Any], words: list[str]) -> None:
    error = refused(manifest)
    assert [word for word in words if word not in error] == [], error


@pytest.mark.parametrize(
    ("container", "spec", "field"),
    [
        ({}, {"volumes": [{"name": "c", "iscsi": ISCSI}]}, "spec.volumes[0].iscsi"),
        ({}, {"volumes": [{"name": "e", "emptyDir": {"sizeLimit": "1Mi"}}]}, "spec.volumes[0].emptyDir.sizeLimit"),
        (
            {"resources": {"limits": {"ephemeral-storage": "1Gi"}}},
            {},
            "spec.containers[0].resources.limits[ephemeral-storage]",
        ),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(
    refused: Any, container: dict[str, Any], spec: dict[str, Any], field: str
) -> None:
    error = refused(pod("bad", container, **spec))
    assert f"{field}: Forbidden: not implemented by podstead yet" in error


def test_several_faults_are_all_told(refused: Any) -> None:
    error = refused(pod("bad", {"image": "", "imagePullPolicy": "Rarely"}, restartPolicy="Maybe"))
    assert error.startswith('The Pod "bad" is invalid: \n* spec.')
    assert error.count("\n* ") == 3


def test_a_name_that_is_taken(instance: TestInstance) -> None:
    instance.create(pod("taken"))
    again = instance.create(pod("taken"))
    assert (
        again.stderr == 'Error from server (AlreadyExists): error when creating "STDIN": pods "taken" already exists\n'
    )
    instance.kubectl("delete", "pod", "taken", check=True)


# -- exec where it cannot be


def test_exec_and_logs_where_nothing_runs(instance: TestInstance) -> None:
    instance.create(pod("ended", {"command": ["true"]}, restartPolicy="Never"))
    instance.wait("ended", "jsonpath={.status.phase}=Succeeded")
    done = instance.kubectl("exec", "ended", "--", "true")
    assert done.returncode == 1
    assert done.stderr == "error: cannot exec into a container in a completed pod; current phase is Succeeded\n"
    done = instance.kubectl("exec", "ended", "-c", "c9", "--", "true")
    assert done.returncode == 1
    instance.kubectl("delete", "pod", "ended", check=True)
    done = instance.kubectl("exec", "ended", "--", "true")
    assert done.stderr == 'Error from server (NotFound): pods "ended" not found\n'
    done = instance.kubectl("logs", "ended")
    assert 'pods "ended" not found' in done.stderr


def test_exec_into_one_container_that_has_ended(instance: TestInstance) -> None:
    instance.create(pod("half", {}, {"command": ["true"]}, restartPolicy="Never"))
    instance.wait("half", "jsonpath={.status.containerStatuses[1].state.terminated.reason}=Completed")
    done = instance.kubectl("exec", "half", "-c", "c2", "--", "true")
    assert done.returncode == 1
    assert 'container not found ("c2")' in done.stderr
    done = instance.kubectl("exec", "half", "-c", "c9", "--", "true")
    assert done.returncode == 1
    assert "container c9 is not valid for pod half" in done.stderr
    assert "container c9 is not valid for pod half" in instance.kubectl("logs", "half", "-c", "c9").stderr
    instance.kubectl("delete", "pod", "half", check=True)


# -- who asks


def test_without_credentials_only_health_and_version_answer(wire: Wire) -> None:
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert wire.request("GET", path, anonymous=True).code == 200
    for path in ("/", "/api", "/apis", "/api/v1", PODS, "/openapi/v3", "/metrics", "/nosuch", f"{PODS}/x/log"):
        answer = wire.request("GET", path, anonymous=True)
        assert (answer.code, answer.message) == (401, "Unauthorized"), path
    for method in ("POST", "PUT", "DELETE"):
        assert wire.request(method, "/version", anonymous=True).code == 401


def test_a_token_that_nobody_gave_out(wire: Wire) -> None:
    answer = wire.request("GET", PODS, anonymous=True, Authorization="Bearer nonsense")
    assert (answer.code, answer.message) == (401, "Unauthorized")


def test_a_certificate_of_another_authority_is_turned_away(wire: Wire, tmp_path: Path) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)), wire.connect(pair=stranger(tmp_path)) as connection:
        connection.sendall(b"GET /api HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(100) == b""
        raise ConnectionError("closed without an answer")


def test_a_user_who_is_somebody_else_by_header_is_nobody(wire: Wire) -> None:
    headers = {"X_Remote_User": "admin", "X_Remote_Group": "system:masters"}
    assert wire.request("GET", PODS, anonymous=True, **headers).code == 401


# -- requests that are none


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "unexpected end of JSON input"),
        (b"{", "unexpected"),
        (b"[1]", "cannot unmarshal array"),
        (b"null", ""),
        (b'"text"', "cannot unmarshal string"),
        (b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"\xff\xfe"}}', ""),
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, ""),
        (b"[" * 100_000, ""),
        (b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a\\u0000b"}}', "metadata.name"),
        (b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"}}', "ConfigMap"),
        (b'{"kind":"ConfigMap","apiVersion":"v2","metadata":{"name":"x"}}', "v2"),
        (b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x","namespace":"other"}}', "namespace"),
        (b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{}}', "name or generateName is required"),
        (b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"},"data":{"a/b":""}}', "data[a/b]"),
        (b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"},"data":{"a":1e999}}', ""),
    ],
)
def test_bodies_that_are_no_object(wire: Wire, body: bytes, words: str) -> None:
    answer = wire.post(CONFIGMAPS, body)
    assert answer.code in (400, 422), answer
    assert words in answer.message


def test_a_giant_body(wire: Wire) -> None:
    body = json.dumps({"metadata": {"name": "giant"}, "data": {"a": "x" * (4 << 20)}})
    answer = wire.post(CONFIGMAPS, body)
    assert (answer.code, answer.json["reason"]) == (413, "RequestEntityTooLarge")
    body = json.dumps({"metadata": {"name": "big"}, "data": {"a": "x" * (2 << 20)}})
    answer = wire.post(CONFIGMAPS, body)
    assert (answer.code, answer.json["details"]["causes"][0]["reason"]) == (422, "FieldValueTooLong")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-nonsense", ";;;"])
def test_a_content_type_that_is_not_read(wire: Wire, kind: str) -> None:
    assert wire.post(CONFIGMAPS, b"{}", kind).code == 415
    answer = wire.request("PATCH", f"{CONFIGMAPS}/x", b"{}", Content_Type=kind)
    assert (answer.code, answer.json["reason"]) == (415, "UnsupportedMediaType")


def test_an_answer_that_cannot_be_given(wire: Wire) -> None:
    answer = wire.request("GET", PODS, Accept="text/html")
    assert answer.code == 406
    assert "only the following media types are accepted" in answer.body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{PODS}/x"),
        ("PUT", PODS),
        ("PATCH", PODS),
        ("DELETE", "/api/v1"),
        ("POST", "/version"),
        ("OPTIONS", PODS),
    ],
)
def test_a_method_that_is_not_there(wire: Wire, method: str, path: str) -> None:
    answer = wire.request(method, path, b"{}", Content_Type="application/json")
    assert answer.code in (404, 405), answer
    assert answer.message


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("labelSelector=a%20b%20c", 400),
        ("labelSelector=a%20in%20(", 400),
        ("labelSelector=%00", 400),
        ("fieldSelector=spec.nosuch=1", 400),
        ("fieldSelector=nonsense", 400),
        ("resourceVersion=abc", 400),
        ("resourceVersion=-1", 400),
        ("limit=many", 400),
        ("continue=nonsense", 400),
        ("resourceVersion=99999999&resourceVersionMatch=Exact", 504),
        ("resourceVersionMatch=Sometimes", 422),
        ("watch=true&resourceVersion=abc", 400),
        ("watch=true&sendInitialEvents=true", 422),
        ("watch=true&timeoutSeconds=x", 400),
    ],
)
def test_queries_that_mean_nothing(wire: Wire, query: str, code: int) -> None:
    answer = wire.request("GET", f"{PODS}?{query}")
    assert (answer.code, bool(answer.message)) == (code, True), answer


def test_a_negative_grace(wire: Wire, instance: TestInstance) -> None:
    instance.create(pod("graced"))
    answer = wire.request("DELETE", f"{PODS}/graced?gracePeriodSeconds=x")
    assert answer.code == 400
    # Kubernetes takes a negative grace for 1 s; the pod's own end is what counts here.
    answer = wire.request("DELETE", f"{PODS}/graced?gracePeriodSeconds=-1")
    assert answer.code == 200
    instance.kubectl("wait", "--for=delete", "pod/graced", "--timeout=20s", check=True)


@pytest.mark.parametrize(
    ("kind", "patch", "code"),
    [
        ("json", b"{}", 400),
        ("json", b'[{"op":"nonsense","path":"/a"}]', 422),
        ("json", b'[{"op":"remove","path":"/data/nosuch"}]', 422),
        ("json", b'[{"op":"add","path":"no/slash","value":1}]', 422),
        ("json", b'[{"op":"replace","path":"/metadata/name","value":"other"}]', 400),
        ("merge", b"[]", 400),
        ("merge", b"{", 400),
        ("merge", b'{"data":{"a":1}}', 422),
        ("merge", b'{"metadata":{"uid":"00000000-0000-0000-0000-000000000000"}}', 409),
        ("merge", b'{"metadata":{"resourceVersion":"1"}}', 409),
    ],
)
def test_patches_that_do_not_fit(wire: Wire, kind: str, patch: bytes, code: int) -> None:
    wire.post(CONFIGMAPS, b'{"metadata":{"name":"patched"},"data":{"a":"1"}}')
    answer = wire.request("PATCH", f"{CONFIGMAPS}/patched", patch, Content_Type=f"application/{kind}-patch+json")
    assert (answer.code, bool(answer.message)) == (code, True), answer
    assert wire.request("DELETE", f"{CONFIGMAPS}/patched").json["status"] == "Success"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/nosuch", 404),
        ("/api/v1/widgets", 404),
        ("/apis/nosuch/v1", 404),
        (f"{PODS}/x/nosuch", 404),
        ("/api/v1/namespaces/default/pods/..%2f..%2fnodes", 404),
        ("/api/v1//pods", 404),
        ("//api/v1/pods", 404),
        ("/api/v1/namespaces/default/pods/%00", 404),
        (f"{PODS}/nobody/exec?command=true&stdout=true", 404),
        (f"{PODS}/nobody/log", 404),
    ],
)
def test_paths_that_lead_nowhere(wire: Wire, path: str, code: int) -> None:
    answer = wire.request("GET", path)
    assert (answer.code, bool(answer.message)) == (code, True), answer


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /api HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /api HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 2_000_000 + b"\r\n\r\n",
        b"GET /" + b"z" * 2_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_bytes_that_are_no_request(wire: Wire, data: bytes) -> None:
    answer = wire.raw(data)
    assert answer.startswith(b"HTTP/1.1 4") or answer.startswith(b"HTTP/1.0 4"), answer[:300]
    assert b"Traceback" not in answer


def test_no_traceback_in_the_servers_log(instance: TestInstance) -> None:
    log = (instance.data / "server.log").read_text(errors="replace")
    assert "Traceback" not in log, log[-3000:]
