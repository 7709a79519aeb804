"""What a user does with kubectl, day in, day out: show, watch, change, wait, delete."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from support.instance import TestInstance, pod


@pytest.fixture(scope="module", autouse=True)
def twins(instance: TestInstance) -> Iterator[None]:
    """Two running pods, `left` and `right`, in the default namespace."""
    for side in ("left", "right"):
        manifest = pod(side)
        manifest["metadata"]["labels"] = {"app": "twin", "side": side}
        instance.create(manifest)
    instance.kubectl("wait", "--for=condition=Ready", "pod/left", "pod/right", "--timeout=30s", check=True)
    yield
    instance.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")


@pytest.fixture
def space(instance: TestInstance) -> Iterator[str]:
    """A namespace for one test."""
    instance.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "space"}})
    yield "space"
    instance.kubectl("delete", "namespace", "space", "--ignore-not-found", check=True)


def config(name: str = "settings", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


# -- show


def test_get_shows_a_table_with_kubernetes_columns(instance: TestInstance) -> None:
    head, *rows = instance.kubectl("get", "pods", "-o", "wide", check=True).stdout.splitlines()
    assert " ".join(head.split()) == "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES"
    assert [row.split()[:4] for row in rows] == [[side, "1/1", "Running", "0"] for side in ("left", "right")]
    node = instance.get("pod", "left")["spec"]["nodeName"]
    assert rows[0].split()[5:] == [instance.get("pod", "left")["status"]["podIP"], node, "<none>", "<none>"]


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ("name", "pod/left\n"),
        ("jsonpath={.metadata.labels.side} {.status.phase}", "left Running"),
        ("custom-columns=WHO:.metadata.name,NONE:.spec.nosuch", "WHO    NONE\nleft   <none>\n"),
        ("go-template={{.metadata.name}}", "left"),
    ],
)
def test_get_in_other_forms(instance: TestInstance, output: str, shown: str) -> None:
    assert instance.kubectl("get", "pod", "left", "-o", output, check=True).stdout == shown


def test_get_as_yaml_can_be_created_again(instance: TestInstance, space: str) -> None:
    text = instance.kubectl("get", "pod", "left", "-o", "yaml", check=True).stdout
    assert "\n  phase: Running\n" in text
    refused = instance.kubectl("create", "-f", "-", stdin=text)
    assert 'pods "left" already exists' in refused.stderr
    settings = instance.create(config(a="1"), "-n", space, "-o", "yaml").stdout
    copied = settings.replace("name: settings", "name: copied")
    copied = "".join(line for line in copied.splitlines(keepends=True) if "resourceVersion:" not in line)
    assert instance.kubectl("create", "-f", "-", stdin=copied, check=True).stdout == "configmap/copied created\n"


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--selector", "side=left"], ["left"]),
        (["-l", "app=twin,side!=left"], ["right"]),
        (["-l", "side in (left,right),!nosuch"], ["left", "right"]),
        (["--field-selector", "metadata.name=right"], ["right"]),
        (["--field-selector", "status.phase=Running,spec.restartPolicy!=Never"], ["left", "right"]),
        (["--field-selector", "status.phase=Failed"], []),
        (["-A", "-l", "app=twin"], ["left", "right"]),
        (["--chunk-size=1"], ["left", "right"]),
        (["--sort-by=.metadata.creationTimestamp"], ["left", "right"]),
    ],
)
def test_selection(instance: TestInstance, options: list[str], names: list[str]) -> None:
    shown = instance.kubectl("get", "pods", *options, "-o", "name", check=True).stdout
    assert shown.split() == [f"pod/{name}" for name in names]


def test_several_resources_at_once(instance: TestInstance) -> None:
    shown = instance.kubectl("get", "pods,nodes,cm,sa", "-o", "name", check=True).stdout.split()
    assert {"pod/left", "configmap/kube-root-ca.crt", "serviceaccount/default"} <= set(shown)
    assert any(name.startswith("node/") for name in shown)


def test_what_is_not_there(instance: TestInstance) -> None:
    missing = instance.kubectl("get", "pod", "nobody")
    assert (missing.returncode, missing.stderr) == (1, 'Error from server (NotFound): pods "nobody" not found\n')
    assert instance.kubectl("get", "pods", "-n", "nowhere").stderr == "No resources found in nowhere namespace.\n"
    unknown = instance.kubectl("get", "widgets")
    assert unknown.stderr == 'error: the server doesn\'t have a resource type "widgets"\n'


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (["pod", "left"], ["Name:             left", "Status:           Running", "\n    Container ID:  podstead://"]),
        (["node"], ["Container Runtime Version:  ", "KubeletReady", "Non-terminated Pods:", "left"]),
        (["namespace", "default"], ["Name:         default", "Status:       Active"]),
        (["configmap", "kube-root-ca.crt"], ["ca.crt:\n----\n-----BEGIN CERTIFICATE-----"]),
        (["serviceaccount", "default"], ["Name:                default", "Image pull secrets:  <none>"]),
    ],
)
def test_describe(instance: TestInstance, what: list[str], words: list[str]) -> None:
    text = instance.kubectl("describe", *what, check=True).stdout
    assert [word for word in words if word not in text] == []


def test_describe_of_a_secret_keeps_it_secret(instance: TestInstance, space: str) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "hunter2"}}
    instance.create(secret, "-n", space)
    text = instance.kubectl("describe", "secret", "s", "-n", space, check=True).stdout
    assert "password:  7 bytes" in text
    assert "hunter2" not in text
    stored = instance.get("secret", "s", "-n", space)
    assert (stored["data"], stored["type"]) == ({"password": "aHVudGVyMg=="}, "Opaque")


def test_events_of_a_pod(instance: TestInstance) -> None:
    instance.until(lambda: "Started" in instance.kubectl("get", "events").stdout)
    shown = instance.kubectl("get", "events", "--field-selector", "involvedObject.name=left", check=True).stdout
    reasons = [line.split()[2] for line in shown.splitlines()[1:]]
    assert set(reasons) == {"Scheduled", "Pulled", "Created", "Started"}
    assert "pod/right" not in shown
    assert "Started container c1" in instance.kubectl("events", "--for", "pod/left", check=True).stdout


def test_what_the_server_has(instance: TestInstance) -> None:
    rows = instance.kubectl("api-resources", "--no-headers", check=True).stdout.splitlines()
    assert {row.split()[-1] for row in rows} >= {
        *("ConfigMap", "Event", "Namespace", "Node", "Pod", "Secret", "ServiceAccount"),
    }
    assert "v1" in instance.kubectl("api-versions", check=True).stdout.split()
    assert "Server Version: v1.37" in instance.kubectl("version", check=True).stdout
    explained = instance.kubectl("explain", "pod.spec.containers", check=True).stdout
    assert "FIELD: containers <[]Container>" in explained
    assert "volumeMounts\t<[]VolumeMount>" in explained


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/healthz", "ok"),
        ("/livez", "ok"),
        ("/readyz", "ok"),
        ("/readyz?verbose", "[+]ping ok\n[+]node ok\nreadyz check passed\n"),
        ("/livez/ping", "ok"),
    ],
)
def test_health(instance: TestInstance, path: str, shown: str) -> None:
    assert shown in instance.kubectl("get", "--raw", path, check=True).stdout


def test_version_is_told_raw(instance: TestInstance) -> None:
    version = json.loads(instance.kubectl("get", "--raw", "/version", check=True).stdout)
    assert (version["major"], version["minor"]) == ("1", "37")


# -- watch and wait


class Watching:
    """A `kubectl get --watch` in the background, read line by line."""

    def __init__(self, instance: TestInstance, *argv: str) -> None:
        self._process = subprocess.Popen(
            ["kubectl", "get", *argv, "--watch"], env=instance.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=10)

    def until(self, *words: str, timeout: float = 20) -> list[list[str]]:
        """Return the lines up to the first that holds all `words`, each as its words."""
        import select

        lines: list[list[str]] = []
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout
        while not lines or not set(words) <= set(lines[-1]):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{words} did not come, only {lines}"
            # Unbuffered, so that select tells the truth.
            line = b""
            while not line.endswith(b"\n"):
                byte = self._process.stdout.raw.read(1)  # type: ignore[attr-defined]
                assert byte, f"the watch ended after {lines}"
                line += byte
            lines.append(line.decode().split())
        return lines


def test_watch_prints_a_line_a_change(instance: TestInstance, space: str) -> None:
    with Watching(instance, "pods", "-n", space) as watching:
        instance.create(pod("comes"), "-n", space)
        lines = watching.until("1/1", "Running")
        assert lines[0] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
        assert lines[1][2] == "Pending"
        # A pod that runs within a tenth of a second skips the line that says ContainerCreating.
        assert {line[2] for line in lines[2:]} <= {"Pending", "ContainerCreating", "Running"}
        instance.kubectl("delete", "pod", "comes", "-n", space, check=True)
        # grace 0: gone at once; the last line still has its row
        assert watching.until("comes")[-1][0] == "comes"


def test_watch_tells_what_happened(instance: TestInstance, space: str) -> None:
    instance.create(config(a="1"), "-n", space)
    with Watching(instance, "cm", "settings", "-n", space, "--output-watch-events") as watching:
        watching.until("ADDED", "settings")
        instance.kubectl("patch", "cm", "settings", "-n", space, "--type=merge", "-p", '{"data":{"b":"2"}}', check=True)
        assert watching.until("MODIFIED", "settings")[-1][2] == "2"
        instance.kubectl("delete", "cm", "settings", "-n", space, check=True)
        watching.until("DELETED", "settings")


def test_watch_only_what_is_selected(instance: TestInstance, space: str) -> None:
    with Watching(instance, "cm", "-n", space, "-l", "mine=yes", "-o", "name") as watching:
        instance.create(config("other"), "-n", space)
        own = config("own")
        own["metadata"]["labels"] = {"mine": "yes"}
        instance.create(own, "-n", space)
        assert watching.until("configmap/own") == [["configmap/own"]]


def test_wait_gives_up_and_says_so(instance: TestInstance) -> None:
    done = instance.kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/left", "--timeout=300ms")
    assert done.returncode == 1
    assert "timed out waiting for the condition on pods/left" in done.stderr


def test_wait_for_the_end(instance: TestInstance) -> None:
    instance.create(pod("brief", {"command": ["true"]}, restartPolicy="Never"))
    instance.wait("brief", "jsonpath={.status.phase}=Succeeded")
    instance.kubectl("delete", "pod", "brief", "--wait=false", check=True)
    instance.kubectl("wait", "--for=delete", "pod/brief", "--timeout=20s", check=True)
    assert "brief" not in instance.kubectl("get", "pods", check=True).stdout


# -- change


def test_patches(instance: TestInstance, space: str) -> None:
    instance.create(config(a="1", b="2"), "-n", space)

    def patch(kind: str, text: str) -> subprocess.CompletedProcess[str]:
        return instance.kubectl("patch", "cm", "settings", "-n", space, f"--type={kind}", "-p", text)

    def data() -> Any:
        return instance.get("cm", "settings", "-n", space)["data"]

    assert patch("merge", '{"data":{"a":null,"c":"3"}}').stdout == "configmap/settings patched\n"
    assert data() == {"b": "2", "c": "3"}
    patch("json", '[{"op":"replace","path":"/data/b","value":"9"},{"op":"remove","path":"/data/c"}]')
    assert data() == {"b": "9"}
    assert "(no change)" in patch("merge", '{"data":{"b":"9"}}').stdout
    refused = patch("json", '[{"op":"test","path":"/data/b","value":"8"},{"op":"remove","path":"/data/b"}]')
    assert refused.returncode == 1
    assert "invalid" in refused.stderr
    assert data() == {"b": "9"}


def test_replace_needs_the_version_that_it_has_seen(instance: TestInstance, space: str) -> None:
    first = json.loads(instance.create(config(a="1"), "-n", space, "-o", "json").stdout)
    text = json.dumps({**first, "data": {"a": "2"}})
    assert instance.kubectl("replace", "-f", "-", stdin=text, check=True).stdout == "configmap/settings replaced\n"
    conflict = instance.kubectl("replace", "-f", "-", stdin=text)
    assert conflict.returncode == 1
    assert conflict.stderr.splitlines()[0] == (
        'Error from server (Conflict): error when replacing "STDIN": Operation cannot be fulfilled on configmaps '
        '"settings": the object has been modified; please apply your changes to the latest version and try again'
    )


def test_a_pods_spec_stays_as_it_is_except_its_image(instance: TestInstance) -> None:
    refused = instance.kubectl("patch", "pod", "left", "--type=merge", "-p", '{"spec":{"hostname":"new"}}')
    assert refused.returncode == 1
    assert "pod updates may not change fields other than" in refused.stderr
    label = '{"metadata":{"labels":{"new":"yes"}}}'
    assert instance.kubectl("patch", "pod", "left", "--type=merge", "-p", label, check=True).stdout
    assert instance.get("pod", "left")["metadata"]["labels"]["new"] == "yes"


def test_dry_run_changes_nothing(instance: TestInstance, space: str) -> None:
    said = instance.create(config(a="1"), "-n", space, "--dry-run=server").stdout
    assert said == "configmap/settings created (server dry run)\n"
    assert instance.kubectl("get", "cm", "settings", "-n", space).returncode == 1
    said = instance.kubectl("delete", "pod", "left", "--dry-run=server", check=True).stdout
    assert said == 'pod "left" deleted from default namespace (server dry run)\n'
    assert "deletionTimestamp" not in instance.get("pod", "left")["metadata"]


def test_fields_that_are_not_there(instance: TestInstance, space: str) -> None:
    """Strict by default, a warning or silence where asked for."""
    manifest = pod("odd", {"volumeMount": []}, conatiners=[])
    refused = instance.create(manifest, "-n", space)
    assert refused.returncode == 1
    assert 'unknown field "spec.conatiners"' in refused.stderr
    assert 'unknown field "spec.containers[0].volumeMount"' in refused.stderr
    warned = instance.create(manifest, "-n", space, "--validate=warn")
    assert warned.stdout == "pod/odd created\n"
    assert 'Warning: unknown field "spec.conatiners"' in warned.stderr
    manifest["metadata"]["name"] = "even"
    silent = instance.create(manifest, "-n", space, "--validate=ignore")
    assert (silent.stdout, silent.stderr) == ("pod/even created\n", "")
    assert "conatiners" not in instance.get("pod", "even", "-n", space)["spec"]


def test_generate_name(instance: TestInstance, space: str) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}
    names = {instance.create(manifest, "-n", space, "-o", "name").stdout.strip() for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith("configmap/made-") for name in names)


# -- delete


def test_delete_by_label_file_and_all(instance: TestInstance, space: str) -> None:
    for name in ("a", "b", "c", "d"):
        manifest = config(name)
        manifest["metadata"]["labels"] = {"half": "first" if name in "ab" else "second"}
        instance.create(manifest, "-n", space)

    def left() -> set[str]:
        return set(instance.kubectl("get", "cm", "-n", space, "-o", "name", check=True).stdout.split()) - {
            "configmap/kube-root-ca.crt"
        }

    said = instance.kubectl("delete", "cm", "-l", "half=first", "-n", space, check=True).stdout
    assert said.splitlines() == [f'configmap "{name}" deleted from space namespace' for name in "ab"]
    assert left() == {"configmap/c", "configmap/d"}
    instance.kubectl("delete", "-f", "-", "-n", space, stdin=json.dumps(config("c")), check=True)
    assert left() == {"configmap/d"}
    instance.kubectl("delete", "cm", "--all", "-n", space, check=True)
    assert left() == set()
    gone = instance.kubectl("delete", "cm", "d", "-n", space)
    assert gone.stderr == 'Error from server (NotFound): configmaps "d" not found\n'
    instance.kubectl("delete", "cm", "d", "-n", space, "--ignore-not-found", check=True)


def test_a_namespace_ends_with_all_that_is_in_it(instance: TestInstance, space: str) -> None:
    manifest = pod(
        "inside",
        {
            "command": [
                "sh",
                "-c",
                "trap 'until [ -e /go ]; do sleep 0.05; done; exit 0' TERM; while :; do sleep 0.05; done",
            ]
        },
    )
    manifest["spec"]["terminationGracePeriodSeconds"] = 20
    instance.create(manifest, "-n", space)
    instance.create(config("inside"), "-n", space)
    instance.kubectl("wait", "-n", space, "--for=condition=Ready", "pod/inside", "--timeout=20s", check=True)
    with Watching(instance, "ns", space) as watching:
        instance.kubectl("delete", "ns", space, "--wait=false", check=True)
        watching.until(space, "Terminating")
        refused = instance.create(config("late"), "-n", space)
        assert "because it is being terminated" in refused.stderr
        instance.kubectl("exec", "-n", space, "inside", "--", "touch", "/go", check=True)
    instance.kubectl("wait", "--for=delete", f"ns/{space}", "--timeout=30s", check=True)
    assert instance.kubectl("get", "pods,cm,sa,events", "-n", space, check=True).stdout == ""


@pytest.mark.parametrize("name", ["default", "kube-system"])
def test_the_namespaces_that_must_stay(instance: TestInstance, name: str) -> None:
    refused = instance.kubectl("delete", "ns", name)
    assert refused.returncode == 1
    assert "this namespace may not be deleted" in refused.stderr


def test_a_new_namespace_has_its_service_account(instance: TestInstance, space: str) -> None:
    instance.kubectl("wait", "--for=create", "sa/default", "cm/kube-root-ca.crt", "-n", space, check=True)
