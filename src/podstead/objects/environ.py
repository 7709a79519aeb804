"""Typed views of a container's variables and of where their values come from."""

from __future__ import annotations

from msgspec import field

from podstead.objects.struct import Struct
from podstead.objects.volumes import ObjectFieldSelector, ResourceFieldSelector


class KeySelector(Struct, frozen=True, kw_only=True):
    """A key of a ConfigMap or a Secret in the pod's namespace."""

    name: str = ""
    key: str = ""
    optional: bool = False


class EnvVarSource(Struct, frozen=True, kw_only=True):
    """One of its fields is set."""

    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class EnvVar(Struct, frozen=True, kw_only=True):
    """A variable: a plain value, in which the node expands $(NAME), or a source of it."""

    name: str = ""
    value: str = ""
    value_from: EnvVarSource | None = None


class EnvSource(Struct, frozen=True, kw_only=True):
    """A ConfigMap or a Secret, each key of which becomes a variable."""

    name: str = ""
    optional: bool = False


class EnvFromSource(Struct, frozen=True, kw_only=True):
    """One of the references is set; `prefix` comes before each key."""

    prefix: str = ""
    config_map_ref: EnvSource | None = None
    secret_ref: EnvSource | None = None


class Sysctl(Struct, frozen=True, kw_only=True):
    """A parameter of the pod's own network or IPC namespace."""

    name: str = ""
    value: str = ""


class ContainerPort(Struct, frozen=True, kw_only=True):
    """Every port of a pod can be reached; one with `host_port` also through the node's addresses, or only `host_ip`."""

    container_port: int = 0
    name: str = ""
    protocol: str = "TCP"
    host_port: int = 0
    host_ip: str = field(default="", name="hostIP")
