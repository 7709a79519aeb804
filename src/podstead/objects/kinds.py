"""The resources that are served: their names, scope, verbs and subresources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from podstead.objects.definitions import resource_entries, resource_entry, reviewed


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
    acted_on_by: str = ""
    """What does something with its objects; empty where they are only kept."""
    stored_as: ResourceInfo | None = None
    """The resource whose objects these are, in another version or group; None where they are stored as they are."""
    returns_deleted: bool = False
    """A delete answers with the object rather than with a Status, even when it is gone at once."""

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


# Groups in the order of discovery, which is kube-aggregator's; those that are not named here follow.
_GROUPS = (
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "apiextensions.k8s.io",
    "admissionregistration.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "resource.k8s.io",
    "storagemigration.k8s.io",
)

# GROUP/VERSION/PLURAL or GROUP/VERSION/PLURAL/SUBRESOURCE of what Kubernetes has at a stable version and podstead not.
_NOT_SERVED = frozenset(
    {
        "apiextensions.k8s.io/v1/customresourcedefinitions/status",
    }
)

# What these groups have are questions: a create is answered, nothing is kept.
_REVIEW_GROUPS = ("authentication.k8s.io", "authorization.k8s.io")

# Made for each request: a binding is done to its pod, the state of the parts is looked up.
_COMPUTED = (("", "v1", "bindings"), ("", "v1", "componentstatuses"))

# Fewer verbs than Kubernetes': there are no custom resources, so their list is empty, and stays so.
_VERBS = {"apiextensions.k8s.io/v1/customresourcedefinitions": ("get", "list", "watch")}

# What acts on the objects of a kind. A create of any other kind is answered with a warning that nothing does.
_ACTED_ON = {
    "/v1/bindings": "API server",
    "/v1/componentstatuses": "API server",
    "/v1/configmaps": "whoever reads it",
    "/v1/events": "expiry, after an hour",
    "/v1/limitranges": "admission of pods and claims",
    "/v1/namespaces": "namespace controller",
    "/v1/nodes": "scheduler, node agent",
    "/v1/pods": "scheduler, node agent",
    "/v1/podtemplates": "whoever reads it",
    "/v1/secrets": "node agent (image pulls, volumes, variables)",
    "/v1/serviceaccounts": "admission of pods",
    "apiextensions.k8s.io/v1/customresourcedefinitions": "whoever reads it",
    "certificates.k8s.io/v1/certificatesigningrequests": "signer of client certificates",
    "apps/v1/controllerrevisions": "whoever reads it",
    "coordination.k8s.io/v1/leases": "whoever reads it",
    "events.k8s.io/v1/events": "expiry, after an hour",
    "node.k8s.io/v1/runtimeclasses": "admission of pods, node agent",
    "policy/v1/poddisruptionbudgets": "disruption controller, evictions",
    "scheduling.k8s.io/v1/priorityclasses": "admission of pods, scheduler",
}
_WITHOUT = {
    "services": "no cluster IP is allocated and nothing forwards to its pods",
    "persistentvolumeclaims": "it is never bound",
}
"""What a user will miss first, where the kind alone does not say it; by full name."""

# Which resource's objects another one shows in its own form.
_STORED_AS = {
    ("autoscaling", "v1", "horizontalpodautoscalers"): ("autoscaling", "v2", "horizontalpodautoscalers"),
    ("events.k8s.io", "v1", "events"): ("", "v1", "events"),
}

# https://kubernetes.io/docs/reference/kubernetes-api/: "delete", the response, kind by kind.
_RETURNS_DELETED = frozenset(
    {
        "/v1/persistentvolumeclaims",
        "/v1/persistentvolumes",
        "/v1/pods",
        "/v1/podtemplates",
        "/v1/resourcequotas",
        "/v1/serviceaccounts",
        "/v1/services",
        "resource.k8s.io/v1/deviceclasses",
        "resource.k8s.io/v1/resourceclaims",
        "resource.k8s.io/v1/resourceclaimtemplates",
        "resource.k8s.io/v1/resourceslices",
        "storage.k8s.io/v1/csidrivers",
        "storage.k8s.io/v1/csinodes",
        "storage.k8s.io/v1/storageclasses",
        "storage.k8s.io/v1/volumeattachments",
        "storage.k8s.io/v1/volumeattributesclasses",
    }
)


def _subresource(name: str, entry: dict[str, Any]) -> SubresourceInfo:
    return SubresourceInfo(name, entry["kind"], entry["group"], entry["version"], tuple(entry["verbs"]))


def _resource(group: str, version: str, plural: str) -> ResourceInfo:
    path = f"{group}/{version}/{plural}"
    entry = resource_entry(group, version, plural)
    names = reviewed()["resources"].get(path, {})
    stored = _STORED_AS.get((group, version, plural))
    below = [name for name in entry["subresources"] if f"{path}/{name}" not in _NOT_SERVED]
    return ResourceInfo(
        group=group,
        version=version,
        kind=entry["kind"],
        plural=plural,
        singular=names.get("singular", entry["kind"].lower()),
        short_names=tuple(names.get("shortNames", ())),
        namespaced=entry["namespaced"],
        verbs=_VERBS.get(path) or tuple(entry["verbs"]),
        categories=tuple(names.get("categories", ())),
        subresources=tuple(_subresource(name, entry["subresources"][name]) for name in below),
        acted_on_by=_ACTED_ON.get(path, ""),
        stored_as=_resource(*stored) if stored else None,
        returns_deleted=path in _RETURNS_DELETED,
    )


def _rank(key: tuple[str, str, str]) -> tuple[int, str, int, str]:
    """Discovery's order: groups, then newer versions first, as clients prefer the first."""
    group, version, plural = key
    place = _GROUPS.index(group) if group in _GROUPS else len(_GROUPS)
    return place, group, -int(version.removeprefix("v")), plural


DISCOVERED: tuple[ResourceInfo, ...] = tuple(
    _resource(*key) for key in sorted(resource_entries(), key=_rank) if "/".join(key) not in _NOT_SERVED
)
"""Every resource, in the order of discovery; of one with two versions both."""
REVIEWS: tuple[ResourceInfo, ...] = tuple(info for info in DISCOVERED if info.group in _REVIEW_GROUPS)
"""Questions: a create is answered, and nothing is kept."""
COMPUTED: tuple[ResourceInfo, ...] = tuple(
    info for info in DISCOVERED if (info.group, info.version, info.plural) in _COMPUTED
)
"""What is made for a request: nothing is kept."""
_KEPT = [info for info in DISCOVERED if info not in REVIEWS and info not in COMPUTED]
SERVED: tuple[ResourceInfo, ...] = tuple(info for info in _KEPT if info.stored_as is None)
"""The resources that are kept, each in the version that it is stored in."""
VIEWS: tuple[ResourceInfo, ...] = tuple(info for info in _KEPT if info.stored_as is not None)
"""The same objects in another version."""

_BY_PATH = {(info.group, info.version, info.plural): info for info in (*SERVED, *VIEWS)}
_REVIEW_BY_PATH = {(info.group, info.version, info.plural): info for info in REVIEWS}
_COMPUTED_BY_PATH = {(info.group, info.version, info.plural): info for info in COMPUTED}
_BY_RESOURCE = {info.resource: info for info in SERVED}
_BY_KIND = {(info.api_version, info.kind): info for info in (*SERVED, *VIEWS)}


def inert_warning(info: ResourceInfo) -> str:
    """Return what the answer to a create says of a kind that nothing acts on; empty for others."""
    if info.acted_on_by:
        return ""
    without = _WITHOUT.get(info.resource)
    text = f"podstead keeps this {info.kind}, but nothing acts on it yet"
    return f"{text}: {without}" if without else text


def by_resource(name: str) -> ResourceInfo:
    """Return the resource with a full name (`pods`). Raises KeyError."""
    return _BY_RESOURCE[name]


def by_path(group: str, version: str, plural: str) -> ResourceInfo | None:
    """Return the resource at a URL's group, version and plural, or None."""
    return _BY_PATH.get((group, version, plural))


def review_by_path(group: str, version: str, plural: str) -> ResourceInfo | None:
    """Return the review at a URL's group, version and plural, or None."""
    return _REVIEW_BY_PATH.get((group, version, plural))


def computed_by_path(group: str, version: str, plural: str) -> ResourceInfo | None:
    """Return what is made for each request at a URL's group, version and plural, or None."""
    return _COMPUTED_BY_PATH.get((group, version, plural))


def by_kind(api_version: str, kind: str) -> ResourceInfo | None:
    """Return the resource whose objects have this apiVersion and kind, or None."""
    return _BY_KIND.get((api_version, kind))
