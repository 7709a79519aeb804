"""Where variables come from, and in which order they see one another."""

from __future__ import annotations

from typing import Any

import pytest

from podstead.node.environment import (
    CONFIG_MAPS,
    SECRETS,
    Addresses,
    ConfigError,
    Sources,
    object_data,
    references,
    service_variables,
    variables,
)
from podstead.objects.pod import from_object

SOURCES = Sources(
    services={"DB_SERVICE_HOST": "10.0.0.1"},
    objects={(CONFIG_MAPS, "m"): {"a": "1", "b.c": "2"}, (SECRETS, "s"): {"a": "secret"}},
    addresses=Addresses("10.1.2.3", "192.0.2.1"),
    allocatable={"cpu": "4", "memory": "8Gi"},
)


def made(container: dict[str, Any], sources: Sources = SOURCES) -> dict[str, str]:
    pod = from_object(
        {
            "metadata": {"name": "p", "namespace": "n", "labels": {"x": "y"}},
            "spec": {"nodeName": "node", "serviceAccountName": "sa", "containers": [{"name": "c", **container}]},
        }
    )
    return variables(pod, pod.spec.containers[0], sources)


def source(**what: Any) -> dict[str, Any]:
    return {"env": [{"name": "V", "valueFrom": what}]}


def test_later_ones_win_and_see_earlier_ones() -> None:
    found = made(
        {
            "envFrom": [{"configMapRef": {"name": "m"}}, {"prefix": "S_", "secretRef": {"name": "s"}}],
            "env": [
                {"name": "a", "value": "own $(S_a) $(DB_SERVICE_HOST)"},
                {"name": "DB_SERVICE_HOST", "value": "mine"},
                {"name": "late", "value": "$(DB_SERVICE_HOST) $(none) $$(a)"},
            ],
        }
    )
    assert found == {
        "DB_SERVICE_HOST": "mine",
        "a": "own secret 10.0.0.1",
        "b.c": "2",
        "S_a": "secret",
        "late": "mine $(none) $(a)",
    }


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ({"fieldRef": {"fieldPath": "metadata.labels['x']"}}, "y"),
        ({"fieldRef": {"fieldPath": "metadata.annotations['no']"}}, ""),
        ({"fieldRef": {"fieldPath": "spec.nodeName"}}, "node"),
        ({"fieldRef": {"fieldPath": "spec.serviceAccountName"}}, "sa"),
        ({"fieldRef": {"fieldPath": "status.podIPs"}}, "10.1.2.3"),
        ({"fieldRef": {"fieldPath": "status.hostIP"}}, "192.0.2.1"),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "4"),
        ({"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Gi"}}, "8"),
        ({"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}, "0"),
        ({"configMapKeyRef": {"name": "m", "key": "b.c"}}, "2"),
    ],
)
def test_values_from_elsewhere(what: dict[str, Any], value: str) -> None:
    assert made(source(**what))["V"] == value


@pytest.mark.parametrize(
    ("container", "message", "missing"),
    [
        (source(configMapKeyRef={"name": "no", "key": "k"}), 'configmap "no" not found', (CONFIG_MAPS, "no")),
        (source(secretKeyRef={"name": "s", "key": "k"}), "couldn't find key k in Secret n/s", (SECRETS, "s")),
        ({"envFrom": [{"secretRef": {"name": "no"}}]}, 'secret "no" not found', (SECRETS, "no")),
    ],
)
def test_what_is_missing_is_named(container: dict[str, Any], message: str, missing: tuple[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        made(container)
    assert (str(caught.value), caught.value.missing) == (message, missing)
    assert caught.value.reason == "CreateContainerConfigError"


def test_what_is_optional_makes_no_variable() -> None:
    for reference in ({"name": "no", "key": "k"}, {"name": "m", "key": "k"}):
        assert "V" not in made(source(configMapKeyRef={**reference, "optional": True}))
    assert made({"envFrom": [{"secretRef": {"name": "no", "optional": True}}]}) == dict(SOURCES.services)


def test_what_is_read_for_a_container() -> None:
    pod = from_object(
        {
            "spec": {
                "containers": [
                    {"envFrom": [{"configMapRef": {"name": "a"}}], **source(secretKeyRef={"name": "b", "key": "k"})}
                ]
            }
        }
    )
    assert references(pod.spec.containers[0]) == {(CONFIG_MAPS, "a"), (SECRETS, "b")}
    assert object_data(SECRETS, {"data": {"k": "/w=="}}) == {"k": "\udcff"}


def test_services_as_kubernetes_names_them() -> None:
    spec = {"clusterIP": "10.0.0.7", "ports": [{"name": "web-ui", "port": 80}, {"port": 53, "protocol": "UDP"}]}
    found = service_variables(
        [
            {"metadata": {"name": "my-svc.x"}, "spec": spec},
            {"metadata": {"name": "headless"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}},
            {"metadata": {"name": "external"}, "spec": {"type": "ExternalName"}},
        ]
    )
    assert found == {
        "MY_SVC_X_SERVICE_HOST": "10.0.0.7",
        "MY_SVC_X_SERVICE_PORT": "80",
        "MY_SVC_X_SERVICE_PORT_WEB_UI": "80",
        "MY_SVC_X_PORT": "tcp://10.0.0.7:80",
        "MY_SVC_X_PORT_80_TCP": "tcp://10.0.0.7:80",
        "MY_SVC_X_PORT_80_TCP_PROTO": "tcp",
        "MY_SVC_X_PORT_80_TCP_PORT": "80",
        "MY_SVC_X_PORT_80_TCP_ADDR": "10.0.0.7",
        "MY_SVC_X_PORT_53_UDP": "udp://10.0.0.7:53",
        "MY_SVC_X_PORT_53_UDP_PROTO": "udp",
        "MY_SVC_X_PORT_53_UDP_PORT": "53",
        "MY_SVC_X_PORT_53_UDP_ADDR": "10.0.0.7",
    }
