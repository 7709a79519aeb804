"""What an API server fills in, so that `kubectl get -o yaml` shows what a user of a real cluster expects."""

from typing import Any

import pytest

from podstead.objects import kinds, schema
from podstead.objects.defaulting import pull_policy


def defaulted(resource: str, obj: dict[str, Any]) -> dict[str, Any]:
    info = kinds.by_resource(resource)
    checked, warnings = schema.check(info, obj, validation="Strict")
    assert warnings == []
    return schema.default(info, checked)


def spec_of(**spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = defaulted("pods", {"spec": spec})["spec"]
    return found


def container_of(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = spec_of(containers=[{"name": "c", "image": "i:1"} | fields])["containers"][0]
    return found


def volume_of(**source: Any) -> dict[str, Any]:
    found: dict[str, Any] = spec_of(volumes=[{"name": "v"} | source])["volumes"][0]
    return found


def test_the_recipes_pod_as_a_real_server_completes_it() -> None:
    def given(name: str, path: str) -> dict[str, Any]:
        command = ["bin/bash", "-c", "sleep 10000"]
        mounts = [{"name": "xchange", "mountPath": path}]
        return {"name": name, "image": "centos:7", "command": command, "volumeMounts": mounts}

    filled_in = {
        "imagePullPolicy": "IfNotPresent",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    containers = [given("c1", "/tmp/xchange"), given("c2", "/tmp/data")]
    volumes = [{"name": "xchange", "emptyDir": {}}]
    assert spec_of(containers=containers, volumes=volumes) == {
        "containers": [each | filled_in for each in containers],
        "volumes": volumes,
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        "enableServiceLinks": True,
    }


def test_what_is_given_stays() -> None:
    given = {
        "restartPolicy": "Never",
        "dnsPolicy": "Default",
        "schedulerName": "mine",
        "securityContext": {"runAsUser": 1},
        "terminationGracePeriodSeconds": 0,
        "enableServiceLinks": False,
    }
    assert spec_of(**given) == given


def test_empty_text_counts_as_left_out() -> None:
    assert spec_of(restartPolicy="", dnsPolicy="")["restartPolicy"] == "Always"
    assert container_of(terminationMessagePath="")["terminationMessagePath"] == "/dev/termination-log"


def test_a_pod_without_a_spec_gets_one() -> None:
    assert defaulted("pods", {})["spec"]["restartPolicy"] == "Always"
    assert defaulted("pods", {})["status"] == {}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("busybox", "Always"),
        ("busybox:latest", "Always"),
        ("busybox:1.36", "IfNotPresent"),
        ("localhost:5000/busybox", "Always"),
        ("localhost:5000/team/busybox:1", "IfNotPresent"),
        ("busybox@sha256:" + "a" * 64, "IfNotPresent"),
        ("busybox:latest@sha256:" + "a" * 64, "Always"),
        ("", "IfNotPresent"),
        ("Not An Image", "IfNotPresent"),
    ],
)
def test_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert pull_policy(image) == policy
    assert container_of(image=image)["imagePullPolicy"] == policy


def test_init_and_ephemeral_containers_are_completed_too() -> None:
    one = [{"name": "c", "image": "i:1"}]
    spec = spec_of(initContainers=one, ephemeralContainers=one)
    for each in (spec["initContainers"][0], spec["ephemeralContainers"][0]):
        assert (each["imagePullPolicy"], each["terminationMessagePolicy"]) == ("IfNotPresent", "File")


def test_requests_follow_limits() -> None:
    resources = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}
    assert container_of(resources=resources)["resources"] == {
        "limits": {"cpu": "1", "memory": "1Gi"},
        "requests": {"cpu": "500m", "memory": "1Gi"},
    }


def test_amounts_finer_than_a_thousandth_are_rounded_up() -> None:
    assert container_of(resources={"requests": {"cpu": "100u"}})["resources"]["requests"] == {"cpu": "1m"}


def test_ports_are_tcp() -> None:
    assert container_of(ports=[{"containerPort": 80}])["ports"] == [{"containerPort": 80, "protocol": "TCP"}]


def test_ports_on_the_hosts_network_are_the_hosts() -> None:
    containers = [{"name": "c", "ports": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 82}]}]
    ports = spec_of(hostNetwork=True, containers=containers)["containers"][0]["ports"]
    assert [port["hostPort"] for port in ports] == [80, 82]


def test_probes_are_completed() -> None:
    assert container_of(livenessProbe={"httpGet": {"port": 80}, "timeoutSeconds": 0})["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert container_of(readinessProbe={"grpc": {"port": 80}})["readinessProbe"]["grpc"]["service"] == ""


def test_hooks_are_completed() -> None:
    hook = container_of(lifecycle={"preStop": {"httpGet": {"port": "http"}}})["lifecycle"]["preStop"]
    assert hook == {"httpGet": {"port": "http", "path": "/", "scheme": "HTTP"}}


def test_environment_from_fields_names_its_version() -> None:
    env = [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    assert container_of(env=env)["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"


def test_a_volume_without_a_source_is_an_empty_dir() -> None:
    assert volume_of() == {"name": "v", "emptyDir": {}}
    assert volume_of(emptyDir={"medium": "Memory"}) == {"name": "v", "emptyDir": {"medium": "Memory"}}


@pytest.mark.parametrize("source", ["configMap", "secret", "downwardAPI", "projected"])
def test_volumes_of_files_have_mode_0644(source: str) -> None:
    assert volume_of(**{source: {}})[source]["defaultMode"] == 0o644
    assert volume_of(**{source: {"defaultMode": 0}})[source]["defaultMode"] == 0


def test_other_volumes_are_completed() -> None:
    assert volume_of(hostPath={"path": "/x"})["hostPath"] == {"path": "/x", "type": ""}
    token = volume_of(projected={"sources": [{"serviceAccountToken": {"path": "t"}}]})["projected"]["sources"][0]
    assert token["serviceAccountToken"]["expirationSeconds"] == 3600
    claim = volume_of(ephemeral={"volumeClaimTemplate": {}})["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert claim == {"volumeMode": "Filesystem", "resources": {}}
    assert volume_of(image={"reference": "i"})["image"]["pullPolicy"] == "Always"


def test_service_account_goes_by_both_its_names() -> None:
    for spec in (spec_of(serviceAccountName="a"), spec_of(serviceAccount="a")):
        assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("a", "a")
    assert spec_of(serviceAccountName="a", serviceAccount="b")["serviceAccount"] == "a"


def test_namespaces_carry_their_name_and_are_active() -> None:
    namespace = defaulted("namespaces", {"metadata": {"name": "n", "labels": {"a": "b"}}})
    assert namespace["metadata"]["labels"] == {"a": "b", "kubernetes.io/metadata.name": "n"}
    assert namespace["status"] == {"phase": "Active"}
    assert namespace["spec"] == {}


def test_secrets_are_opaque() -> None:
    assert defaulted("secrets", {})["type"] == "Opaque"
    assert defaulted("secrets", {"type": "kubernetes.io/tls"})["type"] == "kubernetes.io/tls"


def test_a_nodes_capacity_is_allocatable() -> None:
    capacity = {"cpu": "2", "memory": "4Gi"}
    status = defaulted("nodes", {"status": {"capacity": capacity}})["status"]
    assert status["allocatable"] == capacity
    assert status["allocatable"] is not status["capacity"]
    assert status["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 0}}


def test_defaults_are_not_shared_between_objects() -> None:
    first = spec_of(containers=[{"name": "c"}])
    first["securityContext"]["runAsUser"] = 1
    first["containers"][0]["resources"]["limits"] = {"cpu": "1"}
    second = spec_of(containers=[{"name": "c"}])
    assert (second["securityContext"], second["containers"][0]["resources"]) == ({}, {})


def test_config_maps_and_service_accounts_stay_as_they_are() -> None:
    for resource in ("configmaps", "serviceaccounts"):
        assert defaulted(resource, {"metadata": {"name": "a"}}) == {"metadata": {"name": "a"}}


def test_a_pods_own_resources_follow_its_containers() -> None:
    """KEP-2837: limits alone ask for what the containers do, and for as much as the limit where they ask nothing."""
    containers = [{"name": n, "image": "i:1", "resources": {"requests": {"cpu": "1"}}} for n in "ab"]
    limits = {"cpu": "4", "memory": "1Gi"}
    spec = spec_of(containers=containers, resources={"limits": limits})
    assert spec["resources"] == {"limits": limits, "requests": {"cpu": "2", "memory": "1Gi"}}
    limited = [{**each, "resources": {"limits": {"cpu": "1"}}} for each in containers]
    spec = spec_of(containers=limited, resources={"requests": {"cpu": "2"}})
    assert spec["resources"] == {"limits": {"cpu": "2"}, "requests": {"cpu": "2"}}


def test_a_divisor_is_always_there() -> None:
    source = {"resourceFieldRef": {"resource": "limits.cpu"}}
    container = container_of(env=[{"name": "A", "valueFrom": source}])
    assert container["env"][0]["valueFrom"]["resourceFieldRef"]["divisor"] == "0"
