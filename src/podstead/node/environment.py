"""A container's environment: the variables of its image, of services, and its own, whatever they are made from.

Source: Kubernetes documentation, "Define Environment Variables for a Container", "Define Dependent Environment
Variables", "Service" (environment variables).
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from podstead.node.fields import metadata_text, resource_text
from podstead.objects.environ import EnvVarSource, KeySelector
from podstead.objects.pod import Container, Pod

CONFIG_MAPS, SECRETS = "configmaps", "secrets"
_KINDS = {CONFIG_MAPS: ("configmap", "ConfigMap"), SECRETS: ("secret", "Secret")}
_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")

Reference = tuple[str, str]
"""Resource (CONFIG_MAPS or SECRETS) and name."""


class ConfigError(Exception):
    """A container cannot be configured; `reason`: CreateContainerConfigError or CreateContainerError.

    `missing`: the object on which it waits.
    """

    def __init__(
        self, message: str, reason: str = "CreateContainerConfigError", missing: Reference | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Addresses:
    """The pod's and its node's, as they are known when a container is made."""

    pod_ip: str = ""
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class Sources:
    """What variables are made from. `objects`: the data of every ConfigMap and Secret that the container names and
    that is there, by reference."""

    services: Mapping[str, str] = field(default_factory=dict)
    objects: Mapping[Reference, Mapping[str, str]] = field(default_factory=dict)
    addresses: Addresses = field(default_factory=Addresses)
    allocatable: Mapping[str, str] = field(default_factory=dict)


def references(container: Container) -> set[Reference]:
    """Return the ConfigMaps and Secrets that the container's variables are made from."""
    found: set[Reference] = set()
    for source in container.env_from:
        for resource, one in ((CONFIG_MAPS, source.config_map_ref), (SECRETS, source.secret_ref)):
            if one is not None:
                found.add((resource, one.name))
    for variable in container.env:
        if variable.value_from is not None:
            for resource, key in _keys(variable.value_from):
                found.add((resource, key.name))
    return found


def object_data(resource: str, obj: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys of a ConfigMap (without binaryData) or Secret as the text that a variable gets."""
    data: Mapping[str, str] = obj.get("data") or {}
    if resource == CONFIG_MAPS:
        return dict(data)
    # A variable holds bytes: what is no UTF-8 goes through as it is.
    return {key: b64decode(text).decode(errors="surrogateescape") for key, text in data.items()}


def variables(pod: Pod, container: Container, sources: Sources) -> dict[str, str]:
    """Return the variables that the container declares, in order, over those of services. Raises ConfigError.

    A reference sees what is declared before it, envFrom first, and services; a value that is optional and not there
    makes no variable.
    """
    found: dict[str, str] = {}
    for source in container.env_from:
        for resource, one in ((CONFIG_MAPS, source.config_map_ref), (SECRETS, source.secret_ref)):
            if one is not None:
                data = _data(sources, resource, one.name, optional=one.optional) or {}
                found |= {f"{source.prefix}{key}": value for key, value in data.items()}
    for variable in container.env:
        value: str | None = ""
        if variable.value:
            value = expand(variable.value, found, sources.services)
        elif variable.value_from is not None:
            value = _from(pod, container, variable.value_from, sources)
        if value is not None:
            found[variable.name] = value
    return {**sources.services, **found}


def expand(text: str, *places: Mapping[str, str]) -> str:
    """Replace $(NAME) by its value in the first of `places` that has it; $$ gives $, an unknown name stays."""

    def replace(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return next((place[match.group(1)] for place in places if match.group(1) in place), match.group(0))

    return _REFERENCE.sub(replace, text)


def _keys(source: EnvVarSource) -> Iterable[tuple[str, KeySelector]]:
    for resource, key in ((CONFIG_MAPS, source.config_map_key_ref), (SECRETS, source.secret_key_ref)):
        if key is not None:
            yield resource, key


def _from(pod: Pod, container: Container, source: EnvVarSource, sources: Sources) -> str | None:
    try:
        if source.field_ref is not None:
            path, known = source.field_ref.field_path, _known_on_the_node(pod, sources.addresses)
            return known[path] if path in known else metadata_text(pod, path)
        if (ref := source.resource_field_ref) is not None:
            named = ref.container_name or container.name
            return resource_text(pod, named, ref.resource, ref.divisor, sources.allocatable)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    for resource, key in _keys(source):
        data = _data(sources, resource, key.name, optional=key.optional)
        if data is None or (key.key not in data and key.optional):
            return None
        if key.key not in data:
            where = f"{_KINDS[resource][1]} {pod.metadata.namespace}/{key.name}"
            raise ConfigError(f"couldn't find key {key.key} in {where}", missing=(resource, key.name))
        return data[key.key]
    return ""


def _known_on_the_node(pod: Pod, addresses: Addresses) -> dict[str, str]:
    return {
        "spec.nodeName": pod.spec.node_name,
        "spec.host": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.hostIP": addresses.host_ip,
        "status.hostIPs": addresses.host_ip,
        "status.podIP": addresses.pod_ip,
        "status.podIPs": addresses.pod_ip,
    }


def _data(sources: Sources, resource: str, name: str, *, optional: bool) -> Mapping[str, str] | None:
    data = sources.objects.get((resource, name))
    if data is None and not optional:
        raise ConfigError(f'{_KINDS[resource][0]} "{name}" not found', missing=(resource, name))
    return data


# -- services


def service_variables(services: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the variables that tell where `services` (decoded objects) are; those without an address have none."""
    found: dict[str, str] = {}
    for service in services:
        spec = service.get("spec") or {}
        address, ports = spec.get("clusterIP") or "", spec.get("ports") or ()
        if address not in ("", "None") and ports:
            found |= _of_service(_variable_name(service["metadata"]["name"]), address, ports)
    return found


def _of_service(prefix: str, address: str, ports: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    found = {f"{prefix}_SERVICE_HOST": address}
    for index, port in enumerate(ports):
        number, protocol = port["port"], port.get("protocol") or "TCP"
        host = f"[{address}]" if ":" in address else address
        url, link = f"{protocol.lower()}://{host}:{number}", f"{prefix}_PORT_{number}_{protocol.upper()}"
        if index == 0:
            found |= {f"{prefix}_SERVICE_PORT": str(number), f"{prefix}_PORT": url}
        if port.get("name"):
            found[f"{prefix}_SERVICE_PORT_{_variable_name(port['name'])}"] = str(number)
        found |= {link: url, f"{link}_PROTO": protocol.lower(), f"{link}_PORT": str(number), f"{link}_ADDR": address}
    return found


def _variable_name(name: str) -> str:
    upper = name.upper().replace("-", "_").replace(".", "_")
    return f"_{upper}" if upper[:1].isdigit() else upper
