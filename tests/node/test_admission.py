"""What the node refuses of pods that were bound to it."""

from __future__ import annotations

from typing import Any

import pytest

from podstead.node.admission import refusal
from podstead.objects.hostports import HostPort, conflict
from podstead.objects.pod import Pod, from_object


def make(sysctl: str = "", port: dict[str, Any] | None = None, started: str | None = None, **spec: Any) -> Pod:
    container = {"name": "c", "ports": [{"containerPort": 1, **port}] if port else []}
    context = {"sysctls": [{"name": sysctl, "value": "1"}]} if sysctl else {}
    whole = {"containers": [container], "securityContext": context, **spec}
    return from_object({"spec": whole, "status": {"startTime": started}})


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        (make("kernel.msgmax"), 'forbidden sysctl: "kernel.msgmax" not allowlisted'),
        (make("net/ipv4/conf/eth0.1/rp_filter"), 'forbidden sysctl: "net.ipv4.conf.eth0/1.rp_filter" not allowlisted'),
        (
            make("net.ipv4.tcp_rmem", hostNetwork=True),
            'forbidden sysctl: "net.ipv4.tcp_rmem" not allowed with host net enabled',
        ),
        (
            make("kernel.shm_rmid_forced", hostIPC=True),
            'forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host ipc enabled',
        ),
    ],
)
def test_parameters_that_are_not_the_pods_own(pod: Pod, message: str) -> None:
    found = refusal(pod, [])
    assert found is not None
    assert (found.reason, found.message) == ("SysctlForbidden", message)


def test_a_port_is_taken_by_the_first() -> None:
    first = make(port={"hostPort": 80})
    found = refusal(make(port={"hostPort": 80}), [first])
    assert found is not None
    assert found.reason == "NodePorts"
    assert refusal(make(port={"hostPort": 80}, started="2026-01-01T00:00:00Z"), [first]) is None
    assert refusal(make(port={"hostPort": 80, "protocol": "UDP"}), [first]) is None
    assert refusal(make("net.ipv4.tcp_rmem"), [first]) is None


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (HostPort("", "TCP", 80), HostPort("", "TCP", 80), True),
        (HostPort("", "TCP", 80), HostPort("127.0.0.1", "TCP", 80), True),
        (HostPort("127.0.0.1", "TCP", 80), HostPort("127.0.0.2", "TCP", 80), False),
        (HostPort("", "TCP", 80), HostPort("", "SCTP", 80), False),
        (HostPort("", "TCP", 80), HostPort("", "TCP", 81), False),
    ],
)
def test_which_ports_are_in_each_others_way(one: HostPort, other: HostPort, clash: bool) -> None:
    assert conflict([one], [other]) is clash
    assert conflict([other], [one]) is clash
