"""`kubectl apply --server-side` and its relatives, with the real kubectl: ownership, conflicts, migration, pruning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.instance import TestInstance
from support.old_kubectl import old_kubectl

SPACE = "apply"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@pytest.fixture(scope="module", autouse=True)
def space(instance: TestInstance) -> Iterator[None]:
    """The namespace of all tests here."""
    instance.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    yield
    instance.kubectl("delete", "namespace", SPACE, check=True)


class Kubectl:
    """kubectl in the namespace of these tests."""

    def __init__(self, instance: TestInstance) -> None:
        self.instance = instance

    def __call__(self, *argv: str, stdin: str | None = None) -> str:
        """Return what a command says that must succeed."""
        return str(self.instance.kubectl(*argv, "-n", SPACE, stdin=stdin, check=True).stdout)

    def apply(self, manifest: dict[str, Any] | str, *options: str) -> str:
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        return self("apply", "-f", "-", *options, stdin=text)

    def fails(self, manifest: dict[str, Any], *options: str) -> str:
        """Return what an apply that must fail says."""
        argv = ("apply", "-f", "-", *options, "-n", SPACE)
        done = self.instance.kubectl(*argv, stdin=json.dumps(manifest))
        assert done.returncode == 1, done
        return done.stderr

    def get(self, *argv: str) -> Any:
        return self.instance.get(*argv, "-n", SPACE, "--show-managed-fields")

    def owners(self, name: str) -> list[tuple[str, str]]:
        return [(entry["manager"], entry["operation"]) for entry in self.get("cm", name)["metadata"]["managedFields"]]


@pytest.fixture
def kubectl(instance: TestInstance) -> Kubectl:
    return Kubectl(instance)


def config(name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    metadata = {"name": name} | ({"labels": labels} if labels else {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_appliers_share_an_object_and_are_told_of_conflicts(kubectl: Kubectl) -> None:
    assert "serverside-applied" in kubectl.apply(config("shared", a="1"), "--server-side")
    kubectl.apply(config("shared", b="1"), "--server-side", "--field-manager=two")
    said = kubectl.fails(config("shared", a="2", b="1"), "--server-side", "--field-manager=two")
    assert 'Apply failed with 1 conflict: conflict with "kubectl": .data.a' in said
    kubectl.apply(config("shared", a="2", b="1"), "--server-side", "--field-manager=two", "--force-conflicts")
    assert kubectl.get("cm", "shared")["data"] == {"a": "2", "b": "1"}
    kubectl.apply(config("shared", b="1"), "--server-side", "--field-manager=two")
    # The first manager lost the field to the second, who has left it out: it is gone.
    assert kubectl.get("cm", "shared")["data"] == {"b": "1"}
    assert "field not declared in schema" in kubectl.fails(
        {**config("shared"), "dat": {}}, "--server-side", "--validate=false"
    )


def test_an_apply_that_changes_nothing_writes_nothing(kubectl: Kubectl) -> None:
    manifest = config("same", {"app": "x"}, a="1")
    kubectl.apply(manifest, "--server-side")
    before = kubectl.get("cm", "same")
    kubectl.apply(manifest, "--server-side")
    assert kubectl.get("cm", "same") == before


def test_from_client_side_apply_and_back(kubectl: Kubectl) -> None:
    """kubectl moves what it owned as kubectl-client-side-apply to its server-side manager (csaupgrade)."""
    kubectl.apply(config("moved", a="1", b="1"))
    assert kubectl.owners("moved") == [("kubectl-client-side-apply", "Update")]
    kubectl.apply(config("moved", a="2"), "--server-side")
    moved = kubectl.get("cm", "moved")
    assert moved["data"] == {"a": "2"}
    assert sorted(kubectl.owners("moved")) == [("kubectl", "Apply"), ("kubectl-last-applied", "Apply")]
    assert json.loads(moved["metadata"]["annotations"][LAST_APPLIED])["data"] == {"a": "2"}
    kubectl.apply(config("moved", c="1"))
    assert kubectl.get("cm", "moved")["data"] == {"c": "1"}


def test_the_old_kubectl_applies_on_the_server_too(kubectl: Kubectl, instance: TestInstance) -> None:
    """1.20 does not move the owner itself: the server lets it take what it applied before on the client's side."""
    old = old_kubectl()
    for manifest, option in ((config("old", a="1"), ()), (config("old", a="2"), ("--server-side",))):
        instance.run(old, "apply", "-f", "-", "-n", SPACE, *option, stdin=json.dumps(manifest), check=True)
    assert kubectl.get("cm", "old")["data"] == {"a": "2"}
    assert ("kubectl", "Apply") in kubectl.owners("old")


def test_a_pod_is_applied_and_its_node_owns_the_status(kubectl: Kubectl) -> None:
    container = {"name": "c", "image": "centos:7", "command": ["sleep", "1000"], "ports": [{"containerPort": 80}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    kubectl.apply(pod, "--server-side")
    kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod/p", "--timeout=30s")
    kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].ready}=true", "pod/p", "--timeout=30s")
    assert "serverside-applied" in kubectl.apply(pod, "--server-side")
    entries = {entry["manager"]: entry for entry in kubectl.get("pod", "p")["metadata"]["managedFields"]}
    assert entries["kubelet"]["subresource"] == "status" and list(entries["kubelet"]["fieldsV1"]) == ["f:status"]
    assert entries["kubectl"]["fieldsV1"]["f:spec"]["f:containers"]['k:{"name":"c"}']["f:ports"] == {
        'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}
    }
    kubectl("delete", "pod", "p", "--grace-period=0", "--force")


def test_diff_shows_what_the_server_would_make(kubectl: Kubectl, instance: TestInstance) -> None:
    kubectl.apply(config("seen", a="1"), "--server-side")
    words = ("diff", "--server-side", "-n", SPACE, "-f", "-")
    assert instance.kubectl(*words, stdin=json.dumps(config("seen", a="1"))).returncode == 0
    changed = instance.kubectl(*words, stdin=json.dumps(config("seen", a="2")))
    assert changed.returncode == 1 and '-  a: "1"\n+  a: "2"' in changed.stdout


def test_prune_removes_what_left_the_manifests(kubectl: Kubectl) -> None:
    label = {"set": "one"}
    options = ("--prune", "-l", "set=one", "--prune-allowlist=core/v1/ConfigMap")
    kubectl.apply(json.dumps(config("keep", label, a="1")) + json.dumps(config("drop", label, a="1")), *options)
    assert "configmap/drop pruned" in kubectl.apply(config("keep", label, a="1"), *options)


def test_an_applyset_prunes(kubectl: Kubectl, instance: TestInstance) -> None:
    instance.env["KUBECTL_APPLYSET"] = "true"
    try:
        options = ("--server-side", "--prune", "--applyset=configmaps/set")
        kubectl.apply(json.dumps(config("in-set", a="1")) + json.dumps(config("out", a="1")), *options)
        assert "configmap/out pruned" in kubectl.apply(config("in-set", a="1"), *options)
    finally:
        del instance.env["KUBECTL_APPLYSET"]


def test_a_kustomization(kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text(
        "namePrefix: k-\nconfigMapGenerator:\n- name: made\n  literals: [a=1]\n"
        "generatorOptions: {disableNameSuffixHash: true, labels: {by: kustomize}}\n"
    )
    kubectl("apply", "-k", str(tmp_path), "--server-side")
    made = kubectl.get("cm", "k-made")
    assert made["data"] == {"a": "1"} and made["metadata"]["labels"] == {"by": "kustomize"}
