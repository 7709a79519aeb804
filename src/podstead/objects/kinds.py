"""The resources that are served: their names, scope, verbs and subresources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from podstead.objects.definitions import resource_entry, reviewed


@dataclass(frozen=True, slots=True)
class SubresourceInfo:
    """A path below an object (pods/exec). `group`, `version`, `kind` say what its requests carry."""

    name: str
    kind: str
    group: str
    version: str
    verbs: tuple[str, ...]

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True)
class ResourceInfo:
    """A resource as discovery tells of it."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    namespaced: bool
    verbs: tuple[str, ...]
    categories: tuple[str, ...]
    subresources: tuple[SubresourceInfo, ...]

    @property
    def list_kind(self) -> str:
        return self.kind + "List"

    @property
    def api_version(self) -> str:
        """`v1` or `group/version`: the apiVersion of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_version(self) -> str:
        return self.api_version

    @property
    def resource(self) -> str:
        """The full name: `pods`, `leases.coordination.k8s.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def subresource(self, name: str) -> SubresourceInfo | None:
        return next((each for each in self.subresources if each.name == name), None)


# (group, version, plural) of what is served, with the subresources that are.
_SERVED: dict[tuple[str, str, str], tuple[str, ...]] = {
    ("", "v1", "configmaps"): (),
    ("", "v1", "events"): (),
    ("", "v1", "namespaces"): ("finalize", "status"),
    ("", "v1", "nodes"): ("status",),
    ("", "v1", "pods"): (
        "attach",
        "binding",
        "ephemeralcontainers",
        "eviction",
        "exec",
        "log",
        "portforward",
        "status",
    ),
    ("", "v1", "secrets"): (),
    ("", "v1", "serviceaccounts"): (),
}


def _subresource(name: str, entry: dict[str, Any]) -> SubresourceInfo:
    return SubresourceInfo(name, entry["kind"], entry["group"], entry["version"], tuple(entry["verbs"]))


def _resource(group: str, version: str, plural: str, subresources: tuple[str, ...]) -> ResourceInfo:
    entry = resource_entry(group, version, plural)
    names = reviewed()["resources"].get(f"{group}/{version}/{plural}", {})
    return ResourceInfo(
        group=group,
        version=version,
        kind=entry["kind"],
        plural=plural,
        singular=names.get("singular", entry["kind"].lower()),
        short_names=tuple(names.get("shortNames", ())),
        namespaced=entry["namespaced"],
        verbs=tuple(entry["verbs"]),
        categories=tuple(names.get("categories", ())),
        subresources=tuple(_subresource(name, entry["subresources"][name]) for name in subresources),
    )


SERVED: tuple[ResourceInfo, ...] = tuple(_resource(*key, subresources) for key, subresources in _SERVED.items())

_BY_PATH = {(info.group, info.version, info.plural): info for info in SERVED}
_BY_RESOURCE = {info.resource: info for info in SERVED}
_BY_KIND = {(info.api_version, info.kind): info for info in SERVED}


def by_resource(name: str) -> ResourceInfo:
    """Return the resource with a full name (`pods`). Raises KeyError."""
    return _BY_RESOURCE[name]


def by_path(group: str, version: str, plural: str) -> ResourceInfo | None:
    """Return the resource at a URL's group, version and plural, or None."""
    return _BY_PATH.get((group, version, plural))


def by_kind(api_version: str, kind: str) -> ResourceInfo | None:
    """Return the resource whose objects have this apiVersion and kind, or None."""
    return _BY_KIND.get((api_version, kind))
