"""What changes objects with the real kubectl: apply, edit, replace, set, label, diff, cordon, drain, taint, delete."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.instance import REPOSITORY, TestInstance, pod

SPACE = "write"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@pytest.fixture(scope="module", autouse=True)
def space(instance: TestInstance) -> Iterator[None]:
    """The namespace of all tests here."""
    instance.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    yield
    instance.kubectl("delete", "namespace", SPACE, check=True)


@pytest.fixture(scope="module")
def server(instance: TestInstance, space: None) -> str:
    """A running pod with the containers c1 and c2; its name."""
    manifest = pod("server", {"env": [{"name": "A", "value": "a"}]}, {})
    instance.create(manifest, "-n", SPACE)
    instance.kubectl("wait", "--for=condition=Ready", "pod/server", "-n", SPACE, "--timeout=30s", check=True)
    return "server"


class Kubectl:
    """kubectl in the namespace of these tests."""

    def __init__(self, instance: TestInstance) -> None:
        self.instance = instance

    def fails(self, *argv: str, stdin: str | None = None) -> str:
        """Return what a command that must fail says."""
        done = self.instance.kubectl(*argv, "-n", SPACE, stdin=stdin)
        assert done.returncode == 1, done
        return done.stderr

    def __call__(self, *argv: str, stdin: str | None = None) -> str:
        """Return what a command says that must succeed."""
        return str(self.instance.kubectl(*argv, "-n", SPACE, stdin=stdin, check=True).stdout)

    def get(self, *argv: str) -> Any:
        return self.instance.get(*argv, "-n", SPACE)

    def data(self, name: str) -> Any:
        return self.get("cm", name).get("data")

    def apply(self, manifest: dict[str, Any], *options: str, also: dict[str, Any] | None = None) -> str:
        text = json.dumps(manifest) + (json.dumps(also) if also else "")
        return self("apply", "-f", "-", *options, stdin=text)

    def edit(self, script: str, directory: Path, *argv: str) -> Any:
        """`kubectl edit` with a shell script ($1 is the file) as the editor; what it leaves stays in `directory`."""
        editor = directory / "editor"
        editor.write_text(f"#!/bin/sh\n{script}\n")
        editor.chmod(0o755)
        words = ("env", f"EDITOR={editor}", f"TMPDIR={directory}", "kubectl", "edit", *argv, "-n", SPACE)
        return self.instance.run(*words)


@pytest.fixture
def kubectl(instance: TestInstance) -> Kubectl:
    return Kubectl(instance)


def config(name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    metadata = {"name": name} | ({"labels": labels} if labels else {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


# -- apply


def test_apply_creates_changes_and_takes_away(kubectl: Kubectl) -> None:
    assert kubectl.apply(config("applied", a="1", b="2")) == "configmap/applied created\n"
    assert kubectl.apply(config("applied", a="1", b="2")) == "configmap/applied unchanged\n"
    # b is left out, live was set by somebody else.
    kubectl("patch", "cm", "applied", "-p", '{"data":{"live":"x","a":"changed"}}')
    assert kubectl.apply(config("applied", a="1", c="3")) == "configmap/applied configured\n"
    found = kubectl.get("cm", "applied")
    assert found["data"] == {"a": "1", "c": "3", "live": "x"}
    assert json.loads(found["metadata"]["annotations"][LAST_APPLIED])["data"] == {"a": "1", "c": "3"}


def test_apply_of_what_was_created_otherwise(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=json.dumps(config("adopted", a="1")))
    done = kubectl.instance.kubectl(
        "apply", "-f", "-", "-n", SPACE, stdin=json.dumps(config("adopted", a="2")), check=True
    )
    assert done.stdout == "configmap/adopted configured\n"
    assert f"Warning: resource configmaps/adopted is missing the {LAST_APPLIED} annotation" in done.stderr
    kubectl("create", "-f", "-", "--save-config", stdin=json.dumps(config("saved", a="1", b="2")))
    assert kubectl.apply(config("saved", a="1")) == "configmap/saved configured\n"
    assert (kubectl.data("adopted"), kubectl.data("saved")) == ({"a": "2"}, {"a": "1"})


def test_what_was_applied_last_is_shown_and_set(kubectl: Kubectl) -> None:
    kubectl.apply(config("last", a="1"))
    assert 'data:\n  a: "1"\n' in kubectl("apply", "view-last-applied", "cm", "last")
    said = kubectl("apply", "set-last-applied", "-f", "-", stdin=json.dumps(config("last", a="1", b="2")))
    assert said == "configmap/last configured\n"
    assert json.loads(kubectl("apply", "view-last-applied", "cm", "last", "-o", "json"))["data"] == {"a": "1", "b": "2"}
    assert kubectl.data("last") == {"a": "1"}


def test_apply_merges_a_pods_containers_by_name(kubectl: Kubectl) -> None:
    manifest = pod("listed", {"env": [{"name": "A", "value": "a"}]}, {})
    kubectl.apply(manifest)
    assert kubectl.apply(manifest) == "pod/listed unchanged\n"
    manifest["spec"]["containers"].reverse()
    manifest["spec"]["containers"][1]["image"] = "docker.io/library/centos:7"
    refused = kubectl.fails("apply", "-f", "-", stdin=json.dumps(manifest))
    assert "pod updates may not change fields other than" in refused  # their order, too
    manifest["spec"]["containers"].reverse()
    assert kubectl.apply(manifest) == "pod/listed configured\n"
    images = [container["image"] for container in kubectl.get("pod", "listed")["spec"]["containers"]]
    assert images == ["docker.io/library/centos:7", "centos:7"]
    kubectl("delete", "pod", "listed")


def test_apply_again_where_the_server_has_added_to_a_list(kubectl: Kubectl) -> None:
    """Every pod gets two tolerations; apply replaces the list by the one of the file."""
    manifest = pod("tolerant", tolerations=[{"key": "dedicated", "operator": "Exists"}])
    kubectl.apply(manifest)
    before = kubectl.get("pod", "tolerant")["spec"]["tolerations"]
    assert len(before) == 3
    kubectl.apply(manifest)
    assert kubectl.get("pod", "tolerant")["spec"]["tolerations"] == before
    kubectl("delete", "pod", "tolerant")


def test_apply_that_only_tries(kubectl: Kubectl) -> None:
    assert kubectl.apply(config("tried", a="1"), "--dry-run=client") == "configmap/tried created (dry run)\n"
    assert kubectl.apply(config("tried", a="1"), "--dry-run=server") == "configmap/tried created (server dry run)\n"
    assert "not found" in kubectl.fails("get", "cm", "tried")
    kubectl.apply(config("tried", a="1"))
    assert kubectl.apply(config("tried", b="2"), "--dry-run=server", "-o", "jsonpath={.data}") == '{"b":"2"}'
    assert kubectl.data("tried") == {"a": "1"}


def test_apply_prunes_what_is_no_longer_listed(kubectl: Kubectl) -> None:
    mine = {"set": "mine"}
    prune = ("--prune", "-l", "set=mine", "--prune-allowlist=core/v1/ConfigMap")
    kubectl.apply(config("one", mine), *prune, also=config("two", mine))
    kubectl("create", "-f", "-", stdin=json.dumps(config("not-applied", mine)))
    assert "configmap/two pruned" in kubectl.apply(config("one", mine), *prune)
    left = kubectl("get", "cm", "-l", "set=mine", "-o", "name").split()
    assert left == ["configmap/not-applied", "configmap/one"]


def test_diff_shows_what_apply_would_change(kubectl: Kubectl) -> None:
    kubectl.apply(config("differs", a="1", b="2"))
    done = kubectl.instance.kubectl("diff", "-f", "-", "-n", SPACE, stdin=json.dumps(config("differs", a="1", c="3")))
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert lines == ['-  b: "2"', '+  c: "3"']
    assert kubectl.data("differs") == {"a": "1", "b": "2"}
    kubectl("diff", "-f", "-", stdin=json.dumps(config("differs", a="1", b="2")))


# -- edit, replace, patch


def test_edit(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("create", "-f", "-", stdin=json.dumps(config("edited", a="1", b="2")))
    done = kubectl.edit("""sed -i 's/a: "1"/a: edited/; /b: "2"/d' "$1" """, tmp_path, "cm", "edited")
    assert (done.returncode, done.stdout) == (0, "configmap/edited edited\n")
    assert kubectl.data("edited") == {"a": "edited"}
    assert "Edit cancelled, no changes made." in kubectl.edit("true", tmp_path, "cm", "edited").stderr


def test_an_edit_that_is_refused_says_why_in_the_file(kubectl: Kubectl, server: str, tmp_path: Path) -> None:
    # kubectl opens the editor again with the reason on top; nothing more is changed then.
    script = f"""cat "$1" >> {tmp_path}/seen; sed -i 's/^  dnsPolicy: .*/  dnsPolicy: None/' "$1" """
    done = kubectl.edit(script, tmp_path, "pod", server)
    assert done.returncode == 1
    assert f'# pods "{server}" was not valid:' in (tmp_path / "seen").read_text()
    assert kubectl.get("pod", server)["spec"]["dnsPolicy"] == "ClusterFirst"


def test_replace(kubectl: Kubectl, server: str) -> None:
    kubectl("create", "-f", "-", stdin=json.dumps(config("replaced", a="1", b="2")))
    before = kubectl.get("cm", "replaced")["metadata"]["uid"]
    kubectl("replace", "-f", "-", stdin=json.dumps(config("replaced", c="3")))
    assert kubectl.data("replaced") == {"c": "3"}
    assert kubectl.get("cm", "replaced")["metadata"]["uid"] == before
    said = kubectl("replace", "--force", "-f", "-", stdin=json.dumps(config("replaced", d="4")))
    assert said == f'configmap "replaced" deleted from {SPACE} namespace\nconfigmap/replaced replaced\n'
    assert kubectl.get("cm", "replaced")["metadata"]["uid"] != before
    refused = kubectl.fails("replace", "-f", "-", stdin=json.dumps(pod(server)))
    assert "pod updates may not add or remove containers" in refused


def test_replace_of_what_is_not_there(kubectl: Kubectl) -> None:
    refused = kubectl.fails("replace", "-f", "-", stdin=json.dumps(config("nobody")))
    assert 'configmaps "nobody" not found' in refused


def test_patch_is_strategic_unless_told_otherwise(kubectl: Kubectl, server: str) -> None:
    """A container is found by its name; a merge patch would need all of them."""
    image = '{"spec":{"containers":[{"name":"c2","image":"docker.io/library/centos:7"}]}}'
    assert kubectl("patch", "pod", server, "-p", image) == f"pod/{server} patched\n"
    containers = kubectl.get("pod", server)["spec"]["containers"]
    assert [(one["name"], one["image"]) for one in containers] == [
        ("c1", "centos:7"),
        ("c2", "docker.io/library/centos:7"),
    ]
    assert "pod updates may not add or remove containers" in kubectl.fails(
        "patch", "pod", server, "--type=merge", "-p", image
    )
    condition = '{"status":{"conditions":[{"type":"example.org/fine","status":"True"}]}}'
    kubectl("patch", "pod", server, "--subresource=status", "-p", condition)
    conditions = {one["type"] for one in kubectl.get("pod", server)["status"]["conditions"]}
    assert {"Ready", "PodScheduled", "example.org/fine"} <= conditions


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        (
            '{"spec":{"containers":[{"image":"x"}]}}',
            "Error from server (BadRequest): map: map[image:x] does not contain declared merge key: name\n",
        ),
        (
            '{"metadata":{"labels":{"a":1}}}',
            'The request is invalid: patch: Invalid value: "map[metadata:map[labels:map[a:1]]]": '
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string\n",
        ),
        ('{"spec":{"$patch":"merge"}}', "Error from server (BadRequest): unknown patch type: merge in map: "),
    ],
)
def test_patches_that_do_not_fit(kubectl: Kubectl, server: str, patch: str, said: str) -> None:
    assert kubectl.fails("patch", "pod", server, "-p", patch).startswith(said)


def test_an_unknown_field_in_a_patch_is_told(kubectl: Kubectl, server: str) -> None:
    patch = '{"spec":{"containers":[{"name":"c1","imgae":"x"}]}}'
    done = kubectl.instance.kubectl("patch", "pod", server, "-n", SPACE, "-p", patch, check=True)
    assert done.stdout == f"pod/{server} patched (no change)\n"
    assert done.stderr == 'Warning: unknown field "spec.containers[0].imgae"\n'


# -- label, annotate, set, scale


def test_label_and_annotate(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=json.dumps(config("labelled")))

    def kept(what: str) -> Any:
        return kubectl.get("cm", "labelled")["metadata"].get(what)

    assert kubectl("label", "cm", "labelled", "tier=front", "zone=a") == "configmap/labelled labeled\n"
    assert "already has a value (front), and --overwrite is false" in kubectl.fails("label", "cm/labelled", "tier=x")
    kubectl("label", "--overwrite", "cm/labelled", "tier=back", "zone-")
    assert kept("labels") == {"tier": "back"}
    assert "a lowercase RFC 1123" in kubectl.fails("label", "cm/labelled", "Bad_Prefix/x=y")
    assert kubectl("annotate", "cm", "labelled", "note=some words") == "configmap/labelled annotated\n"
    kubectl("annotate", "--overwrite", "cm/labelled", "note=other words", "more=x")
    assert kept("annotations") == {"note": "other words", "more": "x"}
    kubectl("annotate", "cm/labelled", "note-", "more-")
    assert kept("annotations") is None
    assert kubectl("label", "--list", "cm/labelled") == "tier=back\n"


def test_set_image(kubectl: Kubectl, server: str) -> None:
    before = kubectl.get("pod", server)
    said = kubectl("set", "image", f"pod/{server}", "c1=docker.io/library/centos:7")
    assert said == f"pod/{server} image updated\n"
    after = kubectl.get("pod", server)
    assert after["spec"]["containers"][0]["image"] == "docker.io/library/centos:7"
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


@pytest.mark.parametrize(
    "argv",
    [
        ("set", "env", "pod/server", "A=b"),
        ("set", "resources", "pod/server", "--limits=cpu=1"),
        ("set", "serviceaccount", "pod/server", "another"),
    ],
)
def test_what_cannot_be_set_on_a_pod(kubectl: Kubectl, server: str, argv: tuple[str, ...]) -> None:
    assert 'Pod "server" is invalid: spec: Forbidden: pod updates may not change fields other than' in kubectl.fails(
        *argv
    )


def test_scale_of_what_has_no_scale(kubectl: Kubectl, server: str) -> None:
    refused = "Error from server (NotFound): the server could not find the requested resource\n"
    assert kubectl.fails("scale", "--replicas=2", f"pod/{server}") == refused
    missing = 'Error from server (NotFound): deployments.apps "nobody" not found\n'
    assert kubectl.fails("scale", "--replicas=2", "deploy/nobody") == missing


# -- delete


@pytest.mark.parametrize("policy", ["orphan", "foreground", "background"])
def test_delete_with_each_propagation_policy(kubectl: Kubectl, policy: str) -> None:
    kubectl("create", "-f", "-", stdin=json.dumps(config("cascade")))
    assert kubectl("delete", "cm", "cascade", f"--cascade={policy}") == (
        f'configmap "cascade" deleted from {SPACE} namespace\n'
    )
    assert "not found" in kubectl.fails("get", "cm", "cascade")


# -- nodes


@pytest.fixture
def node(instance: TestInstance) -> Iterator[str]:
    """The name of the node, which takes pods again afterwards."""
    name: str = instance.get("nodes")["items"][0]["metadata"]["name"]
    yield name
    instance.kubectl("uncordon", name, check=True)
    instance.kubectl("taint", "node", name, "dedicated-")


def test_cordon_and_uncordon(kubectl: Kubectl, node: str) -> None:
    assert kubectl("cordon", node) == f"node/{node} cordoned\n"
    assert kubectl.get("node", node)["spec"]["unschedulable"] is True
    taints = kubectl.get("node", node)["spec"].get("taints", [])
    kubectl.apply(pod("kept-out"))
    unschedulable = "--for=jsonpath={.status.conditions[?(@.type=='PodScheduled')].reason}=Unschedulable"
    kubectl("wait", unschedulable, "pod/kept-out", "--timeout=10s")
    assert kubectl("cordon", node) == f"node/{node} already cordoned\n"
    assert kubectl("uncordon", node) == f"node/{node} uncordoned\n"
    kubectl("wait", "--for=condition=Ready", "pod/kept-out", "--timeout=20s")
    assert kubectl.get("node", node)["spec"].get("taints", []) == taints
    kubectl("delete", "pod", "kept-out")


def test_a_taint_keeps_pods_away_that_do_not_tolerate_it(kubectl: Kubectl, node: str) -> None:
    assert kubectl("taint", "node", node, "dedicated=db:NoSchedule") == f"node/{node} tainted\n"
    kubectl.apply(pod("outside"))
    kubectl.apply(pod("inside", tolerations=[{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]))
    kubectl("wait", "--for=condition=Ready", "pod/inside", "--timeout=20s")
    conditions = kubectl.get("pod", "outside")["status"]["conditions"]
    assert [(one["type"], one["reason"]) for one in conditions] == [("PodScheduled", "Unschedulable")]
    assert "{dedicated: db}" in conditions[0]["message"]
    assert "already has dedicated taint(s) with same effect(s)" in kubectl.fails(
        "taint", "node", node, "dedicated=x:NoSchedule"
    )
    assert kubectl("taint", "node", node, "dedicated:NoSchedule-") == f"node/{node} untainted\n"
    kubectl("wait", "--for=condition=Ready", "pod/outside", "--timeout=20s")
    kubectl("delete", "pod", "inside", "outside")


def test_drain_ends_the_recipes_pod(kubectl: Kubectl, node: str) -> None:
    kubectl("create", "-f", str(REPOSITORY / "examples" / "exchangedata.yaml"))
    kubectl("wait", "--for=condition=Ready", "pod/sharevol", "--timeout=30s")
    refused = kubectl.fails("drain", node)
    assert (
        f"cannot delete Pods with local storage (use --delete-emptydir-data to override): {SPACE}/sharevol" in refused
    )
    assert "cannot delete Pods that declare no controller (use --force to override)" in refused
    options = ("--force", "--delete-emptydir-data", "--ignore-daemonsets", "--grace-period=1", "--timeout=40s")
    said = kubectl("drain", node, *options)
    assert "pod/sharevol evicted" in said
    assert said.endswith(f"node/{node} drained\n")
    assert "sharevol" not in kubectl("get", "pods", "-o", "name")
    assert kubectl.get("node", node)["spec"]["unschedulable"] is True
