"""Discovery: which groups, versions and resources there are, one by one and aggregated (KEP-3352)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from podstead.apiserver.answers import Answer, of_object
from podstead.apiserver.negotiation import JSON, negotiate, parse_accept
from podstead.objects.errors import path_not_found
from podstead.objects.kinds import ResourceInfo, SubresourceInfo

_AGGREGATED_GROUP = "apidiscovery.k8s.io"
_AGGREGATED_VERSIONS = ("v2", "v2beta1")


class Discovery:
    """Answers /api, /apis and below for the resources that are served."""

    def __init__(self, served: Iterable[ResourceInfo]) -> None:
        # `served` is in the order of discovery: the first version of a group is the one that clients prefer.
        self._groups: dict[str, dict[str, list[ResourceInfo]]] = {"": {}}
        for info in served:
            self._groups.setdefault(info.group, {}).setdefault(info.version, []).append(info)
        self._aggregated: dict[tuple[str, str], Answer] = {}

    def paths(self) -> list[str]:
        """Return every path that `answer` knows."""
        named = [group for group in self._groups if group]
        paths = ["/api", "/apis", *(f"/api/{version}" for version in self._groups[""])]
        paths += [f"/apis/{group}" for group in named]
        return paths + [f"/apis/{group}/{version}" for group in named for version in self._groups[group]]

    def answer(self, path: str, accept: str, host: str) -> Answer:
        """Answer a path of discovery; `host` is the address that the client used. Raises StatusError 404, 406."""
        match path.strip("/").split("/"):
            case ["api"]:
                return self._aggregate("api", accept) or _plain(self._core_versions(host), accept)
            case ["apis"]:
                return self._aggregate("apis", accept) or _plain(self._group_list(), accept)
            case ["api", version] if version in self._groups[""]:
                return _plain(_resource_list(self._groups[""][version]), accept)
            case ["apis", group] if group and group in self._groups:
                return _plain({"kind": "APIGroup", "apiVersion": "v1"} | self._group(group), accept)
            case ["apis", group, version] if group and version in self._groups.get(group, {}):
                return _plain(_resource_list(self._groups[group][version]), accept)
        raise path_not_found()

    # -- aggregated

    def _aggregate(self, root: str, accept: str) -> Answer | None:
        """Return the aggregated answer if the client wants that first, None if plain JSON comes first."""
        for media in parse_accept(accept):
            if not media.matches(JSON):
                continue
            parameters = media.parameters
            if parameters.get("as") != "APIGroupDiscoveryList":
                return None
            version = parameters.get("v", "")
            if parameters.get("g") == _AGGREGATED_GROUP and version in _AGGREGATED_VERSIONS:
                return self._aggregated_answer(root, version)
        return None

    def _aggregated_answer(self, root: str, version: str) -> Answer:
        answer = self._aggregated.get((root, version))
        if answer is None:
            groups = [group for group in self._groups if bool(group) == (root == "apis")]
            document = {
                "kind": "APIGroupDiscoveryList",
                "apiVersion": f"{_AGGREGATED_GROUP}/{version}",
                "metadata": {},
                "items": [self._group_discovery(group) for group in groups],
            }
            body = msgspec.json.encode(document)
            etag = hashlib.sha512(body).hexdigest()[:64].upper()
            content_type = f"{JSON};g={_AGGREGATED_GROUP};v={version};as=APIGroupDiscoveryList"
            headers = {"ETag": f'"{etag}"', "Vary": "Accept"}
            answer = self._aggregated[root, version] = Answer(body, 200, content_type, headers)
        return answer

    def _group_discovery(self, group: str) -> dict[str, Any]:
        versions = [
            {"version": version, "resources": [_resource_discovery(info) for info in infos], "freshness": "Current"}
            for version, infos in self._groups[group].items()
        ]
        metadata = {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None}
        return {"metadata": metadata, "versions": versions}

    # -- one by one

    def _core_versions(self, host: str) -> dict[str, Any]:
        return {
            "kind": "APIVersions",
            "versions": list(self._groups[""]),
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}],
        }

    def _group_list(self) -> dict[str, Any]:
        groups = [self._group(group) for group in self._groups if group]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def _group(self, group: str) -> dict[str, Any]:
        versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in self._groups[group]]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _plain(obj: dict[str, Any], accept: str) -> Answer:
    negotiate(accept)
    return of_object(obj)


def _kind(group: str, version: str, kind: str) -> dict[str, str]:
    return {"group": group, "version": version, "kind": kind}


def _resource_discovery(info: ResourceInfo) -> dict[str, Any]:
    """APIResourceDiscovery."""
    resource: dict[str, Any] = {
        "resource": info.plural,
        "responseKind": _kind(info.group, info.version, info.kind),
        "scope": "Namespaced" if info.namespaced else "Cluster",
        "singularResource": info.singular,
        "verbs": sorted(info.verbs),
    }
    if info.short_names:
        resource["shortNames"] = list(info.short_names)
    if info.categories:
        resource["categories"] = list(info.categories)
    if info.subresources:
        resource["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _kind(sub.group, sub.version, sub.kind),
                "verbs": sorted(sub.verbs),
            }
            for sub in sorted(info.subresources, key=lambda sub: sub.name)
        ]
    return resource


def _resource_list(infos: list[ResourceInfo]) -> dict[str, Any]:
    """APIResourceList."""
    resources: list[dict[str, Any]] = []
    for info in infos:
        entry: dict[str, Any] = {
            "name": info.plural,
            "singularName": info.singular,
            "namespaced": info.namespaced,
            "kind": info.kind,
            "verbs": sorted(info.verbs),
        }
        if info.short_names:
            entry["shortNames"] = list(info.short_names)
        if info.categories:
            entry["categories"] = list(info.categories)
        resources.append(entry)
        resources.extend(_subresource(info, sub) for sub in sorted(info.subresources, key=lambda sub: sub.name))
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": infos[0].group_version,
        "resources": resources,
    }


def _subresource(info: ResourceInfo, sub: SubresourceInfo) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": f"{info.plural}/{sub.name}",
        "singularName": "",
        "namespaced": info.namespaced,
        "kind": sub.kind,
        "verbs": sorted(sub.verbs),
    }
    if (sub.group, sub.version) != (info.group, info.version):
        entry |= {"group": sub.group, "version": sub.version}
    return entry
