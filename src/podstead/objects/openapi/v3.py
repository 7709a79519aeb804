"""The OpenAPI 3.0 documents, as kubectl reads them for validation, explain and patches, and generators for clients.

kubectl asks the server for strict validation only where a PATCH operation carries `x-kubernetes-group-version-kind` as
one object and a query parameter `fieldValidation` that is written in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from podstead import KUBERNETES_VERSION
from podstead.objects.definitions import DELETE_OPTIONS, META, PATCH, STATUS, reachable
from podstead.objects.kinds import ResourceInfo
from podstead.objects.openapi.operations import camel, get_operation, paths_of, prefix_of, roots_of
from podstead.objects.openapi.schemas import Schema, schema_of
from podstead.objects.openapi.sources import Descriptions

API_RESOURCE_LIST = META + "APIResourceList"
_VERSIONS, _GROUP, _GROUPS = META + "APIVersions", META + "APIGroup", META + "APIGroupList"
_VERSION = "io.k8s.apimachinery.pkg.version.Info"


def v3_index(hashes: Mapping[str, str]) -> Schema:
    """Return the answer to /openapi/v3: by path (`api/v1`) where its document is, with the document's hash."""
    paths = {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={hash_}"} for path, hash_ in sorted(hashes.items())}
    return {"paths": paths}


def v3_document(group: str, version: str, infos: Iterable[ResourceInfo], texts: Descriptions | None = None) -> Schema:
    """Return the OpenAPI 3.0 document of one group version, for those of `infos` that belong to it."""
    tag = f"{(group or 'core').split('.')[0]}_{version}"
    name = f"get{camel(group)}{version.capitalize()}APIResources"
    listing = get_operation(tag, name, "get available resources", API_RESOURCE_LIST)
    paths: dict[str, Schema] = {prefix_of(group, version) + "/": {"get": listing}}
    roots = {DELETE_OPTIONS, STATUS, PATCH, API_RESOURCE_LIST}
    for info in infos:
        if (info.group, info.version) == (group, version):
            paths |= paths_of(info)
            roots |= roots_of(info)
    return _document(paths, roots, texts or {})


def v3_discovery_document(path: str, texts: Descriptions | None = None) -> Schema:
    """Return the document of a path that is no group version: `api`, `apis`, `apis/GROUP` or `version`."""
    if path == "version":
        operation = get_operation("version", "getCodeVersion", "get the version information for this server", _VERSION)
        return _document({"/version/": {"get": operation}}, {_VERSION}, texts or {})
    root, _, group = path.partition("/")
    if root == "api":
        tag, name, kind, what = "core", "getCoreAPIVersions", _VERSIONS, "get available API versions"
    elif not group:
        tag, name, kind, what = "apis", "getAPIVersions", _GROUPS, "get available API versions"
    else:
        name, kind, what = f"get{camel(group)}APIGroup", _GROUP, "get information of a group"
        tag = group.split(".")[0]
    return _document({f"/{path}/": {"get": get_operation(tag, name, what, kind)}}, {kind}, texts or {})


def _document(paths: Mapping[str, Schema], roots: Iterable[str], texts: Descriptions) -> Schema:
    names = sorted(set().union(*map(reachable, roots)))
    token = {
        "type": "apiKey",
        "description": "Bearer Token authentication",
        "name": "authorization",
        "in": "header",
    }
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": KUBERNETES_VERSION},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {name: schema_of(name, texts) for name in names},
            "securitySchemes": {"BearerToken": token},
        },
    }
