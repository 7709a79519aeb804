"""What a pod finds around it: variables, names, the host's namespaces and ports, users and groups; told by itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.instance import TestInstance, pod


@pytest.fixture(autouse=True)
def nothing_left(instance: TestInstance) -> Iterator[None]:
    yield
    instance.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")


def told(instance: TestInstance, name: str, script: str, container: dict[str, Any] | None = None, **spec: Any) -> str:
    """Run a pod that ends, and return what it said."""
    made = instance.create(
        pod(name, {"command": ["sh", "-c", script], **(container or {})}, restartPolicy="Never", **spec)
    )
    assert made.returncode == 0, made.stderr
    instance.wait(name, "jsonpath={.status.phase}=Succeeded")
    return instance.kubectl("logs", name, check=True).stdout


def test_a_container_waits_for_what_its_variables_are_made_from(instance: TestInstance) -> None:
    env = [
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIPs"}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "colour"}}},
        {"name": "LOST", "valueFrom": {"secretKeyRef": {"name": "none", "key": "a", "optional": True}}},
        {"name": "BOTH", "value": "$(NAME)-$(COLOUR)-$$(NAME)-$(LOST)"},
    ]
    container = {
        "command": ["sh", "-c", "echo '$(BOTH)'; env; sleep 1000"],
        "env": env,
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "late"}}],
        "resources": {"limits": {"memory": "64Mi"}},
    }
    manifest = pod("waits", container)
    manifest["metadata"]["labels"] = {"app": "x"}
    instance.create(manifest)
    instance.wait("waits", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CreateContainerConfigError")
    waiting = instance.get("pod", "waits")["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["message"] == 'configmap "late" not found'
    instance.kubectl("create", "configmap", "late", "--from-literal=other=1", check=True)
    missing = "couldn't find key colour in ConfigMap default/late"
    instance.until(
        lambda: instance.get("pod", "waits")["status"]["containerStatuses"][0]["state"]["waiting"]["message"] == missing
    )
    instance.kubectl("patch", "configmap", "late", "-p", '{"data":{"colour":"red"}}', check=True)
    instance.wait("waits", timeout=8)  # Told by a watch: the next try by the clock would come after ten seconds.
    lines = instance.kubectl("logs", "waits", check=True).stdout.splitlines()
    status = instance.get("pod", "waits")["status"]
    assert lines[0] == "waits-red-$(NAME)-$(LOST)"
    wanted = {"NAME=waits", f"IP={status['podIP']}", f"HOST={status['hostIP']}", "APP=x", "MEMORY=64", "COLOUR=red"}
    assert wanted | {"P_other=1", "P_colour=red"} <= set(lines)
    assert not any(line.startswith("LOST=") for line in lines)
    instance.kubectl("delete", "configmap", "late", check=True)


def test_names_and_the_resolver(instance: TestInstance) -> None:
    said = told(
        instance,
        "named",
        "hostname; cat /etc/hostname /etc/hosts /etc/resolv.conf",
        subdomain="sub",
        setHostnameAsFQDN=True,
        hostAliases=[{"ip": "10.0.0.1", "hostnames": ["one", "two"]}],
        dnsPolicy="None",
        dnsConfig={"nameservers": ["192.0.2.1"], "options": [{"name": "ndots", "value": "2"}]},
    ).splitlines()
    whole = "named.sub.default.svc.cluster.local"
    assert said[:2] == [whole, whole]
    assert any(line.endswith(f"\t{whole}\tnamed") for line in said)
    assert "10.0.0.1\tone\ttwo" in said
    assert said[-2:] == ["nameserver 192.0.2.1", "options ndots:2"]


def test_the_hosts_namespaces(instance: TestInstance) -> None:
    kinds = ("net", "ipc", "pid", "uts")
    links = " ".join(f"/proc/self/ns/{kind}" for kind in kinds)
    script = f"for link in {links}; do readlink $link; done; hostname; sleep 4711 & exit 0"
    said = told(instance, "shares", script, hostNetwork=True, hostPID=True, hostIPC=True).splitlines()
    assert said == [*(str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds), socket.gethostname()]
    status = instance.get("pod", "shares")["status"]
    assert status["podIP"] == status["hostIP"]
    # Its first process's end is not that of the others here: they have to be found.
    assert instance.run("pgrep", "-f", "^sleep 4711$").stdout == ""


def test_a_port_of_the_host_leads_to_the_pod_and_is_its_alone(instance: TestInstance) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve = {
        "command": ["sh", "-c", "while true; do echo hello from $HOSTNAME | nc -l -p 8080; done"],
        "ports": [{"containerPort": 8080, "hostPort": port}],
    }
    instance.create(pod("serves", serve))
    instance.wait("serves")

    def answer(host: str) -> str:
        try:
            with socket.create_connection((host, port), timeout=2) as connection:
                return connection.recv(100).decode().strip()
        except OSError:
            return ""

    host_ip = instance.get("pod", "serves")["status"]["hostIP"]
    assert instance.until(lambda: answer("127.0.0.1")) == "hello from serves"
    assert instance.until(lambda: answer(host_ip)) == "hello from serves"
    said = told(instance, "asks", f"nc {host_ip} {port} </dev/null")
    assert said == "hello from serves\n"
    instance.create(pod("second", serve))
    instance.wait("second", "condition=PodScheduled=false")
    message = instance.get("pod", "second")["status"]["conditions"][0]["message"]
    assert message == "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
    instance.kubectl("delete", "pod", "serves", "--grace-period=0", "--force", check=True)
    instance.wait("second")
    assert instance.until(lambda: answer("127.0.0.1")) == "hello from second"


def test_users_groups_and_parameters_of_the_kernel(instance: TestInstance) -> None:
    profiles = instance.data / "seccomp"
    profiles.mkdir(exist_ok=True)
    (profiles / "nomkdir.json").write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW",'
        ' "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}'
    )
    said = told(
        instance,
        "who",
        "id -u; id -g; id -G; stat -c '%g %a' /v; touch /v/f; stat -c %g /v/f; cat /proc/sys/net/ipv4/tcp_syncookies;"
        " mkdir /v/d 2>/dev/null || echo refused",
        {
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "nomkdir.json"}},
        },
        securityContext={
            "runAsUser": 1000,
            "runAsGroup": 3000,
            "fsGroup": 2000,
            "supplementalGroups": [4000],
            "supplementalGroupsPolicy": "Strict",
            "sysctls": [{"name": "net/ipv4/tcp_syncookies", "value": "2"}],
        },
        volumes=[{"name": "v", "emptyDir": {}}],
    ).splitlines()
    assert [said[0], said[1], sorted(said[2].split()), *said[3:6]] == [
        "1000",
        "3000",
        ["2000", "3000", "4000"],
        "2000 2777",
        "2000",
        "2",
    ]
    assert said[-1] == "refused"
    assert Path("/proc/sys/net/ipv4/tcp_syncookies").read_text().strip() != "2"


def test_a_parameter_that_is_not_safe_is_refused(instance: TestInstance) -> None:
    instance.create(pod("unsafe", securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}))
    instance.wait("unsafe", "jsonpath={.status.phase}=Failed")
    status = instance.get("pod", "unsafe")["status"]
    assert status["reason"] == "SysctlForbidden"
    assert status["message"] == 'Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted'


def test_a_runtime_class_names_the_runtime(instance: TestInstance) -> None:
    unknown = instance.create(pod("nobody", runtimeClassName="nowhere"))
    assert 'pods "nobody" is forbidden: pod rejected: RuntimeClass "nowhere" not found' in unknown.stderr
    for name, handler in (("plain", "runc"), ("strange", "kata")):
        made = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": handler}
        instance.create({**made, "overhead": {"podFixed": {"cpu": "10m"}}})
    said = told(instance, "by-runc", "echo ran", runtimeClassName="plain")
    assert said == "ran\n"
    assert instance.get("pod", "by-runc")["spec"]["overhead"] == {"cpu": "10m"}
    instance.create(pod("by-kata", runtimeClassName="strange"))
    text = 'Failed to create pod sandbox: no runtime for "kata" is configured'
    instance.until(lambda: text in instance.kubectl("describe", "pod", "by-kata").stdout)
    instance.kubectl("delete", "runtimeclass", "plain", "strange", check=True)
