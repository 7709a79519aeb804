"""The OpenAPI v3 documents of what is served, as kubectl reads them for validation, explain and patches.

kubectl asks the server for strict validation only where a PATCH operation carries `x-kubernetes-group-version-kind` as
one object and a query parameter `fieldValidation` that is written in place. Descriptions are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from podstead import KUBERNETES_VERSION
from podstead.objects.definitions import (
    DELETE_OPTIONS,
    META,
    PATCH,
    STATUS,
    Definition,
    Field,
    definition,
    definition_of,
    enum,
    plain_defaults,
    reachable,
)
from podstead.objects.exchange import PatchType
from podstead.objects.kinds import ResourceInfo, SubresourceInfo

Schema = dict[str, Any]

PATCH_TYPES = tuple(map(str, PatchType))
API_RESOURCE_LIST = META + "APIResourceList"

_LEAVES: dict[str, Schema] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "float64": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
    "any": {},
    "object": {"type": "object"},
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "intorstring": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    "time": {"type": "string", "format": "date-time"},
    "microtime": {"type": "string", "format": "date-time"},
}


def _query(name: str, type_: str = "string") -> Schema:
    return {"name": name, "in": "query", "schema": {"type": type_, "uniqueItems": True}}


def _path(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "uniqueItems": True}}


_WRITE = (_query("dryRun"), _query("fieldManager"), _query("fieldValidation"))
_DELETE = (
    _query("dryRun"),
    _query("gracePeriodSeconds", "integer"),
    _query("orphanDependents", "boolean"),
    _query("propagationPolicy"),
)
_SELECT = (
    _query("continue"),
    _query("fieldSelector"),
    _query("labelSelector"),
    _query("limit", "integer"),
    _query("resourceVersion"),
    _query("resourceVersionMatch"),
    _query("timeoutSeconds", "integer"),
)
_LIST = (
    _query("allowWatchBookmarks", "boolean"),
    *_SELECT,
    _query("sendInitialEvents", "boolean"),
    _query("watch", "boolean"),
)
_DELETE_COLLECTION = (*_DELETE, *_SELECT)
# What the requests without a body take in their query: https://kubernetes.io/docs/reference/kubernetes-api/ (pods).
_ATTACH = (
    _query("container"),
    _query("stderr", "boolean"),
    _query("stdin", "boolean"),
    _query("stdout", "boolean"),
    _query("tty", "boolean"),
)
_CONNECT: dict[str, tuple[Schema, ...]] = {
    "attach": _ATTACH,
    "exec": (_query("command"), *_ATTACH),
    "log": (
        _query("container"),
        _query("follow", "boolean"),
        _query("limitBytes", "integer"),
        _query("previous", "boolean"),
        _query("sinceSeconds", "integer"),
        _query("sinceTime"),
        _query("tailLines", "integer"),
        _query("timestamps", "boolean"),
    ),
    "portforward": (_query("ports", "integer"),),
}
_ACTIONS = {"create": "post", "update": "put"}
_METHODS = {"create": "post", "update": "put", "list": "get", "deletecollection": "delete"}
_NAMES = {"get": "read", "update": "replace", "deletecollection": "delete"}


def v3_index(hashes: Mapping[tuple[str, str], str]) -> Schema:
    """Return the answer to /openapi/v3: where the document of each (group, version) is, with the hash of its bytes."""
    paths = {}
    for (group, version), digest in sorted(hashes.items()):
        path = _prefix(group, version)[1:]
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


def v3_document(group: str, version: str, infos: Iterable[ResourceInfo]) -> Schema:
    """Return the OpenAPI 3.0 document of one group version, for those of `infos` that belong to it."""
    paths: dict[str, Schema] = {_prefix(group, version) + "/": _discovery(group, version)}
    roots = {DELETE_OPTIONS, STATUS, PATCH, API_RESOURCE_LIST}
    for info in infos:
        if (info.group, info.version) == (group, version):
            paths |= _paths(info)
            roots |= _roots(info)
    names = sorted(set().union(*map(reachable, roots)))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": KUBERNETES_VERSION},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": {name: _schema(definition(name)) for name in names}},
    }


def _prefix(group: str, version: str) -> str:
    return f"/apis/{group}/{version}" if group else f"/api/{version}"


def _roots(info: ResourceInfo) -> set[str]:
    kinds = [(info.group, info.version, info.kind)]
    if "list" in info.verbs:
        kinds.append((info.group, info.version, info.list_kind))
    kinds += [(each.group, each.version, each.kind) for each in info.subresources if each.name not in _CONNECT]
    return {definition_of(*kind).name for kind in kinds}


def _paths(info: ResourceInfo) -> dict[str, Schema]:
    """All paths of a resource with their operations."""
    prefix = _prefix(info.group, info.version)
    scope = "/namespaces/{namespace}" if info.namespaced else ""
    above = [_path("namespace")] if info.namespaced else []
    collection, item = f"{prefix}{scope}/{info.plural}", f"{prefix}{scope}/{info.plural}/{{name}}"
    paths = {
        collection: _operations(info, ("list", "create", "deletecollection")) | {"parameters": above},
        item: _operations(info, ("get", "update", "patch", "delete")) | {"parameters": [_path("name"), *above]},
    }
    if set(info.verbs) == {"create"}:
        del paths[item]  # a review has no name
    if info.namespaced and "list" in info.verbs:
        paths[f"{prefix}/{info.plural}"] = {"get": _operation(info, "list", everywhere=True)}
    for subresource in info.subresources:
        operations = {_METHODS.get(verb, verb): _operation(info, verb, subresource) for verb in subresource.verbs}
        paths[f"{item}/{subresource.name}"] = operations | {"parameters": [_path("name"), *above]}
    return paths


def _operations(info: ResourceInfo, verbs: Iterable[str]) -> Schema:
    return {_METHODS.get(verb, verb): _operation(info, verb) for verb in verbs if verb in info.verbs}


def _operation(
    info: ResourceInfo, verb: str, subresource: SubresourceInfo | None = None, everywhere: bool = False
) -> Schema:
    """One operation: what it takes, what it answers, and on which kind it acts."""
    subject = subresource or info
    connect = subresource is not None and subresource.name in _CONNECT
    action = "connect" if connect and subject.kind != info.kind else _ACTIONS.get(verb, verb)
    kind = {"group": subject.group, "version": subject.version, "kind": subject.kind}
    operation: Schema = {
        "tags": [f"{(info.group or 'core').split('.')[0]}_{info.version}"],
        "operationId": _operation_id(info, verb, subresource, action, everywhere),
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind,
    }
    if connect and subresource is not None:
        answer: Schema = {"*/*": {"schema": {"type": "string"}}}
        return operation | {"parameters": list(_CONNECT[subresource.name]), "responses": _responses(answer)}
    target = definition_of(subject.group, subject.version, subject.kind).name
    parameters: tuple[Schema, ...] = ()
    result = target
    if verb in ("create", "update", "patch"):
        parameters = (*_WRITE, _query("force", "boolean")) if verb == "patch" else _WRITE
        operation["requestBody"] = _body(verb, target)
    elif verb == "list":
        parameters, result = _LIST, definition_of(info.group, info.version, info.list_kind).name
    elif verb in ("delete", "deletecollection"):
        parameters = _DELETE if verb == "delete" else _DELETE_COLLECTION
        result = STATUS if verb == "deletecollection" else target
        operation["requestBody"] = {"content": {"*/*": {"schema": _reference(DELETE_OPTIONS)}}}
    responses = _responses({"application/json": {"schema": _reference(result)}}, created=verb in ("create", "update"))
    return operation | {"parameters": list(parameters), "responses": responses}


def _body(verb: str, target: str) -> Schema:
    if verb == "patch":
        content = {type_: {"schema": _reference(PATCH)} for type_ in PATCH_TYPES}
    else:
        content = {"*/*": {"schema": _reference(target)}}
    return {"content": content, "required": True}


def _responses(content: Schema, created: bool = False) -> Schema:
    responses: Schema = {"200": {"description": "OK", "content": content}}
    if created:
        responses["201"] = {"description": "Created", "content": content}
    return responses | {"401": {"description": "Unauthorized"}}


def _operation_id(
    info: ResourceInfo, verb: str, subresource: SubresourceInfo | None, action: str, everywhere: bool
) -> str:
    """createCoreV1NamespacedPod, listCoreV1PodForAllNamespaces, connectCoreV1GetNamespacedPodExec."""
    group = "".join(part.capitalize() for part in (info.group.removesuffix(".k8s.io") or "core").split("."))
    first = f"connect{group}{info.version.capitalize()}{_ACTIONS.get(verb, verb).capitalize()}"
    if action != "connect":
        first = f"{_NAMES.get(verb, verb)}{group}{info.version.capitalize()}"
    scope = "Namespaced" if info.namespaced and not everywhere else ""
    if verb == "deletecollection":
        scope = "Collection" + scope
    last = "ForAllNamespaces" if everywhere else subresource.name.capitalize() if subresource else ""
    return f"{first}{scope}{info.kind}{last}"


def _discovery(group: str, version: str) -> Schema:
    name = "".join(part.capitalize() for part in (group.removesuffix(".k8s.io") or "core").split("."))
    return {
        "get": {
            "tags": [f"{(group or 'core').split('.')[0]}_{version}"],
            "operationId": f"get{name}{version.capitalize()}APIResources",
            "responses": _responses({"application/json": {"schema": _reference(API_RESOURCE_LIST)}}),
        }
    }


def _reference(name: str) -> Schema:
    return {"$ref": "#/components/schemas/" + name}


def _schema(target: Definition) -> Schema:
    """A definition as an OpenAPI schema."""
    if target.leaf:
        return dict(_LEAVES[target.leaf])
    defaults = plain_defaults(target.name)
    schema: Schema = {"type": "object"}
    if target.fields:
        schema["properties"] = {
            name: _property(target.name, field, defaults.get(name)) for name, field in target.fields.items()
        }
    if required := [field.name for field in target.fields.values() if field.required]:
        schema["required"] = required
    if target.kinds:
        schema["x-kubernetes-group-version-kind"] = [
            {"group": group, "version": version, "kind": kind} for group, version, kind in target.kinds
        ]
    if target.map_type:
        schema["x-kubernetes-map-type"] = target.map_type
    return schema


def _property(name: str, field: Field, default: Any) -> Schema:
    extras: Schema = {}
    if default is not None:
        extras["default"] = default
    if values := enum(name, field.name):
        extras["enum"] = list(values)
    if field.list_type:
        extras["x-kubernetes-list-type"] = field.list_type
    if field.list_map_keys:
        extras["x-kubernetes-list-map-keys"] = list(field.list_map_keys)
    if field.map_type:
        extras["x-kubernetes-map-type"] = field.map_type
    if field.patch_merge_key:
        extras["x-kubernetes-patch-merge-key"] = field.patch_merge_key
    if field.patch_strategy:
        extras["x-kubernetes-patch-strategy"] = ",".join(field.patch_strategy)
    schema = _type(field.type)
    # OpenAPI 3.0 allows nothing beside a $ref.
    return {"allOf": [schema], **extras} if extras and "$ref" in schema else schema | extras


def _type(type_: str) -> Schema:
    if type_.startswith("[]"):
        return {"type": "array", "items": _type(type_[2:])}
    if type_.startswith("map[string]"):
        return {"type": "object", "additionalProperties": _type(type_[11:])}
    return _reference(type_[1:]) if type_[0] == "#" else dict(_LEAVES[type_])
