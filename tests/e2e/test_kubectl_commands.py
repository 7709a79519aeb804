"""kubectl's other commands: each form of create, what it does to workloads that nothing acts on, and what it shows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from podstead.objects.kinds import DISCOVERED, SERVED, inert_warning
from support.instance import TestInstance
from support.old_kubectl import command

SPACE = "commands"


@pytest.fixture(scope="module", autouse=True)
def space(instance: TestInstance) -> Iterator[None]:
    """The namespace of all tests here, with a deployment `web`."""
    instance.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    instance.kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2", "-n", SPACE, check=True)
    yield
    instance.kubectl("delete", "namespace", SPACE, check=True)


class Kubectl:
    """A kubectl in the namespace of these tests."""

    def __init__(self, instance: TestInstance, program: str = "kubectl") -> None:
        self.instance = instance
        self.program = program

    def run(self, *argv: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return self.instance.run(self.program, *argv, "-n", SPACE, stdin=stdin)

    def __call__(self, *argv: str, stdin: str | None = None) -> str:
        """Return what a command prints that must succeed."""
        done = self.run(*argv, stdin=stdin)
        assert done.returncode == 0, done
        return str(done.stdout)


@pytest.fixture
def kubectl(instance: TestInstance) -> Kubectl:
    return Kubectl(instance)


@pytest.fixture(params=["1.37", "1.20"])
def either(request: pytest.FixtureRequest, instance: TestInstance) -> Kubectl:
    """kubectl of today, and of old."""
    return Kubectl(instance, command(request.param)[0])


# -- create

INERT = "Warning: podstead keeps this "
CREATED = {
    "configmap made --from-literal=a=b": "configmap/made",
    "secret generic made --from-literal=a=b": "secret/made",
    "secret docker-registry registry --docker-username=u --docker-password=p": "secret/registry",
    "serviceaccount made": "serviceaccount/made",
    "quota made --hard=count/leases.coordination.k8s.io=9": "resourcequota/made",
    "deployment made --image=nginx --port=80": "deployment.apps/made",
    "job made --image=nginx": "job.batch/made",
    "cronjob made --image=nginx --schedule=*/5_*_*_*_*": "cronjob.batch/made",
    "job from --from=cronjob/made": "job.batch/from",
    "service clusterip cluster --tcp=80:8080": "service/cluster",
    "service nodeport node --tcp=80:8080": "service/node",
    "service loadbalancer balancer --tcp=80:8080": "service/balancer",
    "service externalname outside --external-name=example.com": "service/outside",
    "ingress made --class=x --rule=example.com/*=web:80,tls=x": "ingress.networking.k8s.io/made",
    "role made --verb=get,list --resource=pods,deployments.apps/scale": "role.rbac.authorization.k8s.io/made",
    "rolebinding made --role=made --user=u": "rolebinding.rbac.authorization.k8s.io/made",
    "clusterrole commands --verb=get --non-resource-url=/healthz": "clusterrole.rbac.authorization.k8s.io/commands",
    "clusterrolebinding commands --clusterrole=commands --serviceaccount=commands:made": (
        "clusterrolebinding.rbac.authorization.k8s.io/commands"
    ),
    "poddisruptionbudget made --selector=app=web --min-available=1": "poddisruptionbudget.policy/made",
    "priorityclass commands --value=5": "priorityclass.scheduling.k8s.io/commands",
    "namespace commands-too": "namespace/commands-too",
}
OUTSIDE = ("clusterrole/commands", "clusterrolebinding/commands", "priorityclass/commands", "namespace/commands-too")


def test_each_form_of_create(kubectl: Kubectl) -> None:
    """They send protobuf; the answer names what was made, and warns where nothing comes of it."""
    warnings = {info.kind.lower(): inert_warning(info) for info in SERVED}
    try:
        for line, name in CREATED.items():
            done = kubectl.run("create", *(word.replace("_", " ") for word in line.split()))
            assert (done.returncode, done.stdout) == (0, f"{name} created\n"), done
            warning = warnings[name.partition("/")[0].partition(".")[0]]
            assert done.stderr == (f"Warning: {warning}\n" if warning else "")
        shown = kubectl("get", "all", "-o", "name").split()
        assert {"deployment.apps/made", "job.batch/from", "cronjob.batch/made", "service/outside"} <= set(shown)
        assert kubectl("create", "token", "made").count(".") == 2
    finally:
        kubectl.run("delete", "--wait=false", *OUTSIDE)


# -- workloads


def test_a_rollout_that_nobody_does_is_said_to_wait(either: Kubectl) -> None:
    done = either.run("rollout", "status", "deployment/web", "--timeout=300ms")
    assert done.returncode == 1
    assert "Waiting for deployment spec update to be observed" in done.stdout
    assert "timed out waiting for the condition" in done.stderr
    assert "No rollout history found" in either("rollout", "history", "deployment/web")


def test_what_changes_a_deployment(kubectl: Kubectl) -> None:
    assert kubectl("scale", "deployment/web", "--replicas=3") == "deployment.apps/web scaled\n"
    wrong = kubectl.run("scale", "deployment/web", "--replicas=2", "--current-replicas=7")
    assert (wrong.returncode, wrong.stderr) == (1, "error: Expected replicas to be 7, was 3\n")
    kubectl("set", "image", "deployment/web", "nginx=nginx:2")
    kubectl("set", "env", "deployment/web", "A=b")
    kubectl("set", "resources", "deployment/web", "--limits=cpu=1")
    kubectl("set", "serviceaccount", "deployment/web", "default")
    assert kubectl("rollout", "restart", "deployment/web") == "deployment.apps/web restarted\n"
    assert kubectl("rollout", "pause", "deployment/web") == "deployment.apps/web paused\n"
    found = json.loads(kubectl("get", "deployment", "web", "-o", "json"))
    spec, template = found["spec"], found["spec"]["template"]
    assert (spec["replicas"], spec["paused"]) == (3, True)
    assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
    assert template["spec"]["serviceAccountName"] == "default"
    container = template["spec"]["containers"][0]
    assert (container["image"], container["env"]) == ("nginx:2", [{"name": "A", "value": "b"}])
    assert container["resources"] == {"limits": {"cpu": "1"}}
    kubectl("rollout", "resume", "deployment/web")


def test_autoscale_and_expose(either: Kubectl) -> None:
    scaled = either.run("autoscale", "deployment", "web", "--max=3", "--cpu-percent=50")
    assert "autoscaled" in scaled.stdout and INERT in scaled.stderr
    assert "cpu: <unknown>/50%" in either("get", "hpa", "web")
    exposed = either.run("expose", "deployment", "web", "--port=80")
    assert exposed.stdout == "service/web exposed\n"
    assert "no cluster IP is allocated" in exposed.stderr
    assert either("set", "selector", "service/web", "app=other") == "service/web selector updated\n"
    either("delete", "hpa/web", "service/web")


def test_wait_for_a_field_a_creation_and_an_end(kubectl: Kubectl) -> None:
    field = ("wait", "--for=jsonpath={.spec.template.spec.containers[0].name}=nginx", "deployment/web")
    assert kubectl(*field, "--timeout=5s") == "deployment.apps/web condition met\n"
    missing = kubectl.run("wait", "--for=condition=Available", "deployment/web", "--timeout=200ms")
    assert missing.stderr == "error: timed out waiting for the condition on deployments/web\n"
    waiting = subprocess.Popen(
        ["kubectl", "wait", "--for=create", "cm/late", "--timeout=20s", "-n", SPACE],
        env=kubectl.instance.env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        kubectl("create", "configmap", "late")
        assert waiting.communicate(timeout=20)[0] == "configmap/late condition met\n"
    finally:
        waiting.kill()
        waiting.wait()
    kubectl("delete", "cm", "late", "--wait=false")
    kubectl("wait", "--for=delete", "cm/late", "--timeout=5s")


# -- files


def test_a_kustomization(kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "k"}})
    )
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [config.yaml]\nnamePrefix: my-\nlabels: [{pairs: {made: by-kustomize}}]\n"
    )
    assert kubectl("apply", "-k", str(tmp_path)) == "configmap/my-k created\n"
    assert kubectl("get", "cm", "-l", "made=by-kustomize", "-o", "name") == "configmap/my-k\n"
    assert kubectl("diff", "-k", str(tmp_path)) == ""
    assert "deleted" in kubectl("delete", "-k", str(tmp_path))


# -- what there is


def test_columns_and_sorting(either: Kubectl) -> None:
    for name, tier in (("sort-a", "2"), ("sort-b", "1")):
        either("create", "configmap", name)
        either("label", "cm", name, f"tier={tier}")
    rows = either(
        "get", "cm", "-l", "tier", "--sort-by=.metadata.labels.tier", "--show-labels", "-L", "tier"
    ).splitlines()
    assert rows[0].split() == ["NAME", "DATA", "AGE", "TIER", "LABELS"]
    assert [(row.split()[0], *row.split()[3:]) for row in rows[1:]] == [
        ("sort-b", "1", "tier=1"),
        ("sort-a", "2", "tier=2"),
    ]
    either("delete", "cm", "-l", "tier")


METRICS, METRICS_VERSION = ("nodes", "pods"), "metrics.k8s.io/v1beta1"
"""What is served without being stored."""


def test_api_resources_in_all_columns(kubectl: Kubectl) -> None:
    rows = kubectl("api-resources", "-o", "wide", "--no-headers").splitlines()
    assert len(rows) == len({(info.group, info.plural) for info in DISCOVERED}) + len(METRICS)
    deployments = next(row for row in rows if row.startswith("deployments "))
    verbs = "create,delete,deletecollection,get,list,patch,update,watch"
    assert deployments.split() == ["deployments", "deploy", "apps/v1", "true", "Deployment", verbs, "all"]
    outside = kubectl("api-resources", "--namespaced=false", "-o", "name").split()
    assert {"nodes", "namespaces", "clusterroles.rbac.authorization.k8s.io"} <= set(outside)
    assert "pods" not in outside
    apps = kubectl("api-resources", "--api-group=apps", "-o", "name").split()
    assert apps == [
        f"{name}.apps" for name in ("controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets")
    ]
    assert set(kubectl("api-versions").split()) == {info.group_version for info in DISCOVERED} | {METRICS_VERSION}


def test_explain_describes_kinds_and_nested_fields(either: Kubectl) -> None:
    shown = " ".join(either("explain", "deployments.spec.strategy.rollingUpdate.maxSurge").split())
    assert "The maximum number of pods that can be scheduled above the desired number of pods." in shown
    tree = either("explain", "cronjobs", "--recursive")
    assert "terminationGracePeriodSeconds\t<integer>" in tree
    assert "PodSpec is a description of a pod." in " ".join(either("explain", "pod.spec").split())


def test_the_cluster_is_told(kubectl: Kubectl) -> None:
    assert "Kubernetes control plane" in kubectl("cluster-info")
    dump = kubectl("cluster-info", "dump", "--namespaces", SPACE)
    assert '"kind": "NodeList"' in dump and '"name": "web"' in dump
    assert "Server Version: v1.37" in kubectl("version")
    assert "--as-group" in kubectl("options")
    assert "current-context: podstead-" in kubectl("config", "view", "--minify")
    assert "kubernetes-admin" in kubectl("auth", "whoami")
