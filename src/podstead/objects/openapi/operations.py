"""The operations on each resource: paths, parameters, bodies and answers as OpenAPI 3.0 writes them."""

from __future__ import annotations

from collections.abc import Iterable

from podstead.objects import protobuf, yaml_text
from podstead.objects.definitions import DELETE_OPTIONS, PATCH, STATUS, definition_of
from podstead.objects.exchange import PatchType
from podstead.objects.kinds import ResourceInfo, SubresourceInfo
from podstead.objects.openapi.schemas import Schema, reference

PATCH_TYPES = tuple(map(str, PatchType))
_JSON = "application/json"
_READ = (_JSON, yaml_text.MEDIA_TYPE, protobuf.MEDIA_TYPE)
_WRITTEN = (_JSON, yaml_text.MEDIA_TYPE)
_LISTED = (*_WRITTEN, "application/json;stream=watch")


def _query(name: str, type_: str = "string") -> Schema:
    return {"name": name, "in": "query", "schema": {"type": type_, "uniqueItems": True}}


def _path(name: str, text: str) -> Schema:
    schema = {"type": "string", "uniqueItems": True}
    return {"name": name, "in": "path", "description": text, "required": True, "schema": schema}


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
    "proxy": (_query("path"),),
}
_ACTIONS = {"create": "post", "update": "put"}
_METHODS = {"create": "post", "update": "put", "list": "get", "deletecollection": "delete"}
_NAMES = {"get": "read", "update": "replace", "deletecollection": "delete"}
_PRETTY = _query("pretty")
_NAMESPACE = _path("namespace", "object name and auth scope, such as for teams and projects")
_PATH = _path("path", "path to the resource")
_TEXTS = {
    "create": "create a {}",
    "delete": "delete a {}",
    "deletecollection": "delete collection of {}",
    "get": "read the specified {}",
    "list": "list or watch objects of kind {}",
    "patch": "partially update the specified {}",
    "update": "replace the specified {}",
}


def prefix_of(group: str, version: str) -> str:
    return f"/apis/{group}/{version}" if group else f"/api/{version}"


def camel(group: str) -> str:
    """A group as operations are named by it: Core, RbacAuthorization."""
    return "".join(part.capitalize() for part in (group.removesuffix(".k8s.io") or "core").split("."))


def roots_of(info: ResourceInfo) -> set[str]:
    """The definitions that the operations on a resource speak of."""
    kinds = [(info.group, info.version, info.kind)]
    if "list" in info.verbs:
        kinds.append((info.group, info.version, info.list_kind))
    kinds += [(each.group, each.version, each.kind) for each in info.subresources if each.name not in _CONNECT]
    return {definition_of(*kind).name for kind in kinds}


def paths_of(info: ResourceInfo) -> dict[str, Schema]:
    """All paths of a resource with their operations."""
    prefix = prefix_of(info.group, info.version)
    scope = "/namespaces/{namespace}" if info.namespaced else ""
    above = [_NAMESPACE] if info.namespaced else []
    name = _path("name", f"name of the {info.kind}")
    collection, item = f"{prefix}{scope}/{info.plural}", f"{prefix}{scope}/{info.plural}/{{name}}"
    paths = {
        collection: _operations(info, ("list", "create", "deletecollection")) | {"parameters": [*above, _PRETTY]},
        item: _operations(info, ("get", "update", "patch", "delete")) | {"parameters": [name, *above, _PRETTY]},
    }
    if set(info.verbs) == {"create"}:
        del paths[item]  # a review has no name
    if info.namespaced and "list" in info.verbs:
        paths[f"{prefix}/{info.plural}"] = {"get": _operation(info, "list", everywhere=True), "parameters": [_PRETTY]}
    for subresource in info.subresources:
        operations = {_METHODS.get(verb, verb): _operation(info, verb, subresource) for verb in subresource.verbs}
        pretty = [] if _is_connect(info, subresource) else [_PRETTY]
        paths[f"{item}/{subresource.name}"] = operations | {"parameters": [name, *above, *pretty]}
        if subresource.name == "proxy":
            below = {
                method: each | {"operationId": each["operationId"] + "WithPath"} for method, each in operations.items()
            }
            paths[f"{item}/proxy/{{path}}"] = below | {"parameters": [name, *above, _PATH]}
    return paths


def get_operation(tag: str, operation_id: str, text: str, answer: str) -> Schema:
    """A GET that is about no resource; `answer` is a definition's name."""
    responses = _responses(_content((_JSON,), answer))
    return {"tags": [tag], "description": text, "operationId": operation_id, "responses": responses}


def _operations(info: ResourceInfo, verbs: Iterable[str]) -> Schema:
    return {_METHODS.get(verb, verb): _operation(info, verb) for verb in verbs if verb in info.verbs}


def _is_connect(info: ResourceInfo, subresource: SubresourceInfo | None) -> bool:
    """Whether a path hands the connection on to a node; a log, which does too, counts as read."""
    return subresource is not None and subresource.name in _CONNECT and subresource.kind != info.kind


def _operation(
    info: ResourceInfo, verb: str, subresource: SubresourceInfo | None = None, everywhere: bool = False
) -> Schema:
    """One operation: what it takes, what it answers, and on which kind it acts."""
    subject = subresource or info
    action = "connect" if _is_connect(info, subresource) else _ACTIONS.get(verb, verb)
    kind = {"group": subject.group, "version": subject.version, "kind": subject.kind}
    operation: Schema = {
        "tags": [f"{(info.group or 'core').split('.')[0]}_{info.version}"],
        "description": _text(info, verb, subresource, action),
        "operationId": _operation_id(info, verb, subresource, action, everywhere),
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind,
    }
    if subresource is not None and subresource.name in _CONNECT:
        answer: Schema = {"*/*" if action == "connect" else "text/plain": {"schema": {"type": "string"}}}
        return operation | {"parameters": list(_CONNECT[subresource.name]), "responses": _responses(answer)}
    target = definition_of(subject.group, subject.version, subject.kind).name
    parameters: tuple[Schema, ...] = ()
    forms: tuple[str, ...] = _WRITTEN
    codes: tuple[int, ...] = (200,)
    result = target
    if verb in ("create", "update", "patch"):
        parameters = (*_WRITE, _query("force", "boolean")) if verb == "patch" else _WRITE
        content = _content(PATCH_TYPES, PATCH) if verb == "patch" else _content(_READ, target)
        operation["requestBody"] = {"content": content, "required": True}
        codes = (200, 201, 202) if verb == "create" else (200, 201)
    elif verb == "list":
        parameters, forms = _LIST, _LISTED
        result = definition_of(info.group, info.version, info.list_kind).name
    elif verb in ("delete", "deletecollection"):
        parameters = _DELETE if verb == "delete" else _DELETE_COLLECTION
        result = target if verb == "delete" and info.returns_deleted else STATUS
        codes = (200, 202) if verb == "delete" else (200,)
        operation["requestBody"] = {"content": _content(_READ, DELETE_OPTIONS)}
    responses = _responses(_content(forms, result), codes)
    return operation | {"parameters": list(parameters), "responses": responses}


def _content(media_types: Iterable[str], name: str) -> Schema:
    return {media_type: {"schema": reference(name)} for media_type in media_types}


_PHRASES = {200: "OK", 201: "Created", 202: "Accepted"}


def _responses(content: Schema, codes: tuple[int, ...] = (200,)) -> Schema:
    responses: Schema = {str(code): {"description": _PHRASES[code], "content": content} for code in codes}
    return responses | {"401": {"description": "Unauthorized"}}


def _text(info: ResourceInfo, verb: str, subresource: SubresourceInfo | None, action: str) -> str:
    """`partially update status of the specified Pod`."""
    if subresource is None:
        return _TEXTS[verb].format(info.kind)
    if action == "connect":
        return f"connect {_ACTIONS.get(verb, verb).upper()} requests to {subresource.name} of {info.kind}"
    if verb == "create":
        return f"create {subresource.name} of a {info.kind}"
    return _TEXTS[verb].replace(" the ", f" {subresource.name} of the ").format(info.kind)


def _operation_id(
    info: ResourceInfo, verb: str, subresource: SubresourceInfo | None, action: str, everywhere: bool
) -> str:
    """createCoreV1NamespacedPod, listCoreV1PodForAllNamespaces, connectCoreV1GetNamespacedPodExec."""
    group, version = camel(info.group), info.version.capitalize()
    first = f"{_NAMES.get(verb, verb)}{group}{version}"
    if action == "connect":
        first = f"connect{group}{version}{_ACTIONS.get(verb, verb).capitalize()}"
    scope = "Namespaced" if info.namespaced and not everywhere else ""
    if verb == "deletecollection":
        scope = "Collection" + scope
    last = "ForAllNamespaces" if everywhere else subresource.name.capitalize() if subresource else ""
    return f"{first}{scope}{info.kind}{last}"
