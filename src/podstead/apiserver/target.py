"""The resource that a request is about, found by its path, and whether its verb is one that the resource has."""

from __future__ import annotations

from dataclasses import dataclass

from podstead.apiserver.request import RequestInfo, method_not_allowed
from podstead.objects import kinds
from podstead.objects.errors import bad_request, path_not_found
from podstead.objects.kinds import ResourceInfo, SubresourceInfo
from podstead.registry.registry import Registry
from podstead.registry.resource import ResourceRegistry

_ALL_NAMESPACES = ("list", "watch")
"""What a namespaced resource can be asked without a namespace."""
_WRITES = ("create", "update", "patch")


@dataclass(frozen=True, slots=True)
class Target:
    """`namespace` and `name` as the registry takes them: no namespace for what is not in one."""

    info: ResourceInfo
    registry: ResourceRegistry
    namespace: str
    name: str
    subresource: SubresourceInfo | None


def find(registry: Registry, request: RequestInfo) -> Target:
    """Return what `request` is about.

    Raises StatusError 404 for no such resource, 405 for a verb that it does not have, 400 for an impossible name.
    """
    info = kinds.by_path(request.group, request.version, request.resource)
    if info is None:
        raise path_not_found()
    own = info.plural == "namespaces" and not info.group
    namespace = "" if own else request.namespace
    if namespace and not info.namespaced:
        raise path_not_found()
    _check_segment("Name", request.name)
    _check_segment("Namespace", namespace)
    subresource = None
    if request.subresource and not request.name:
        raise bad_request("name must be provided")
    if request.subresource:
        subresource = info.subresource(request.subresource)
        if subresource is None:
            raise path_not_found()
    if info.namespaced and not namespace and (request.name or request.verb not in _ALL_NAMESPACES):
        raise path_not_found() if request.name else method_not_allowed()
    # An object is created in its collection, everything else is done to the object itself.
    if not subresource and (request.verb == "create") == bool(request.name) and request.verb in _WRITES:
        raise method_not_allowed()
    if request.verb not in (subresource.verbs if subresource else info.verbs):
        raise method_not_allowed()
    return Target(info, registry.at(info), namespace, request.name, subresource)


def _check_segment(what: str, value: str) -> None:
    """400 for a name that would not be one segment of a path, nor of a key."""
    if value in (".", ".."):
        raise bad_request(f"{what} parameter invalid: \"{value}\": may not be '{value}'")
    if "%" in value:
        raise bad_request(f"{what} parameter invalid: \"{value}\": may not contain '%'")
