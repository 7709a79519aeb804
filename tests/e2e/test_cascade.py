"""What goes with what: kubectl delete --cascade, namespaces with all that is in them, dry runs; the node's lease."""

from __future__ import annotations

from typing import Any

import pytest

from support.instance import TestInstance, pod

Object = dict[str, Any]


def config(name: str, space: str, *owners: Object, finalizers: tuple[str, ...] = ()) -> Object:
    references = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": True,
        }
        for owner in owners
    ]
    metadata = {"name": name, "namespace": space, "ownerReferences": references, "finalizers": list(finalizers)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def family(instance: TestInstance, space: str) -> None:
    """A ConfigMap that owns a pod and another ConfigMap, which owns a third."""
    instance.kubectl("create", "namespace", space, check=True)
    instance.create(config("parent", space))
    parent = instance.get("cm", "parent", "-n", space)
    instance.create(config("child", space, parent))
    instance.create(config("grandchild", space, instance.get("cm", "child", "-n", space)))
    manifest = pod("owned", {})
    manifest["metadata"] |= {
        "namespace": space,
        "ownerReferences": config("", "", parent)["metadata"]["ownerReferences"],
    }
    instance.create(manifest)


def names(instance: TestInstance, space: str) -> list[str]:
    listed = instance.get("cm,pod", "-n", space)["items"]
    return [one["metadata"]["name"] for one in listed if one["metadata"]["name"] != "kube-root-ca.crt"]


@pytest.mark.parametrize("how", ["background", "foreground", "orphan"])
def test_a_delete_cascades_as_it_is_asked_to(instance: TestInstance, how: str) -> None:
    space = f"cascade-{how}"
    family(instance, space)
    said = instance.kubectl("delete", "cm", "parent", "-n", space, f"--cascade={how}", "--timeout=30s", check=True)
    assert said.stdout == f'configmap "parent" deleted from {space} namespace\n'
    if how == "orphan":
        assert sorted(names(instance, space)) == ["child", "grandchild", "owned"]
        assert "ownerReferences" not in instance.get("pod", "owned", "-n", space)["metadata"]
        # What its child owns is no business of the parent's.
        assert instance.get("cm", "grandchild", "-n", space)["metadata"]["ownerReferences"]
    elif how == "foreground":
        assert names(instance, space) == []
    else:
        instance.until(lambda: names(instance, space) == [])
    instance.kubectl("delete", "namespace", space, "--timeout=30s", check=True)
    assert instance.kubectl("get", "namespace", space).returncode == 1


def test_a_namespace_says_what_it_waits_for(instance: TestInstance) -> None:
    instance.kubectl("create", "namespace", "waiting", check=True)
    instance.create(config("held", "waiting", finalizers=("example.com/hold",)))
    instance.kubectl("delete", "namespace", "waiting", "--wait=false", check=True)
    instance.kubectl(
        "wait", "--for=condition=NamespaceFinalizersRemaining", "namespace/waiting", "--timeout=30s", check=True
    )
    said = instance.kubectl("describe", "namespace", "waiting", check=True).stdout
    assert "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances" in said
    assert "Some resources are remaining: configmaps. has 1 resource instances" in said
    refused = instance.kubectl("create", "configmap", "late", "-n", "waiting")
    assert "because it is being terminated" in refused.stderr
    patch = '{"metadata":{"finalizers":null}}'
    instance.kubectl("patch", "cm", "held", "-n", "waiting", "--type=merge", "-p", patch, check=True)
    instance.kubectl("wait", "--for=delete", "namespace/waiting", "--timeout=30s", check=True)


def test_the_node_has_a_lease_that_goes_with_it(instance: TestInstance) -> None:
    (node,) = instance.get("nodes")["items"]
    lease = instance.get("lease", node["metadata"]["name"], "-n", "kube-node-lease")
    assert lease["spec"]["holderIdentity"] == node["metadata"]["name"] and lease["spec"]["renewTime"]
    assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]


def test_a_dry_run_deletes_nothing(instance: TestInstance) -> None:
    family(instance, "dry")
    for how in ("background", "foreground", "orphan"):
        options = ("-n", "dry", f"--cascade={how}", "--dry-run=server")
        said = instance.kubectl("delete", "cm", "parent", *options, check=True).stdout
        assert said == 'configmap "parent" deleted from dry namespace (server dry run)\n'
        instance.kubectl("delete", "cm,pod", "--all", *options, check=True)
    instance.kubectl("delete", "namespace", "dry", "--dry-run=server", check=True)
    assert sorted(names(instance, "dry")) == ["child", "grandchild", "owned", "parent"]
    assert "deletionTimestamp" not in instance.get("cm", "parent", "-n", "dry")["metadata"]
    instance.kubectl("delete", "namespace", "dry", "--timeout=30s", check=True)
