"""Validation of flow schemas, which sort requests into priority levels.

https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import each

Object = Mapping[str, Any]
_METHODS = ("ByNamespace", "ByUser")
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}
"""Kinds of subjects, and the field that says more."""
_MAX_PRECEDENCE = 10_000


def validate(schema: Object) -> Iterator[FieldError]:
    spec, name = schema.get("spec") or {}, (schema.get("metadata") or {}).get("name")
    precedence = spec.get("matchingPrecedence") or 0
    path = "spec.matchingPrecedence"
    if precedence <= 0:
        yield meta.invalid(path, precedence, "must be a positive value")
    if precedence > _MAX_PRECEDENCE:
        yield meta.invalid(path, precedence, f"must not be greater than {_MAX_PRECEDENCE}")
    if precedence == 1 and name != "exempt":
        yield meta.invalid(path, precedence, "only the schema named 'exempt' may have matchingPrecedence 1")
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in _METHODS:
        yield meta.unsupported("spec.distinguisherMethod.type", method.get("type") or "", _METHODS)
    path, level = "spec.priorityLevelConfiguration.name", (spec.get("priorityLevelConfiguration") or {}).get("name")
    if level:
        yield from each(path, level, meta.dns_subdomain_problems(level))
    else:
        yield meta.required(path, "must reference a priority level")
    for index, rule in enumerate(spec.get("rules") or ()):
        yield from _rule(rule, f"spec.rules[{index}]")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)


def validate_status_update(new: Object, old: Object) -> Iterator[FieldError]:
    return conditions(new)


def conditions(obj: Object) -> Iterator[FieldError]:
    """Each condition has a type, and no two the same."""
    known: set[str] = set()
    for index, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
        path, kind = f"status.conditions[{index}].type", condition.get("type") or ""
        if kind in known:
            yield meta.duplicate(path, kind)
        if not kind:
            yield meta.required(path, "must not be empty")
        known.add(kind)


def _rule(rule: Object, path: str) -> Iterator[FieldError]:
    if not rule.get("subjects"):
        yield meta.required(f"{path}.subjects", "subjects must contain at least one value")
    for index, subject in enumerate(rule.get("subjects") or ()):
        yield from _subject(subject, f"{path}.subjects[{index}]")
    if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
        yield meta.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for index, one in enumerate(rule.get("resourceRules") or ()):
        yield from _resources(one, f"{path}.resourceRules[{index}]")
    for index, one in enumerate(rule.get("nonResourceRules") or ()):
        yield from _urls(one, f"{path}.nonResourceRules[{index}]")


def _subject(subject: Object, path: str) -> Iterator[FieldError]:
    kind = subject.get("kind") or ""
    if kind not in _SUBJECTS:
        yield meta.unsupported(f"{path}.kind", kind, tuple(_SUBJECTS))
        return
    field = _SUBJECTS[kind]
    said = subject.get(field)
    if said is None:
        yield meta.required(f"{path}.{field}", f"{field} is required when subject kind is '{kind}'")
    else:
        yield from _named(said, kind, f"{path}.{field}")
    for other_kind, other in _SUBJECTS.items():
        if other != field and subject.get(other) is not None:
            yield meta.forbidden(f"{path}.{other}", f"{other} is forbidden when subject kind is not '{other_kind}'")


def _named(said: Object, kind: str, path: str) -> Iterator[FieldError]:
    name, namespace = said.get("name") or "", said.get("namespace") or ""
    if not name:
        yield meta.required(f"{path}.name")
    if kind != "ServiceAccount":
        return
    if name and name != "*":
        yield from each(f"{path}.name", name, meta.dns_subdomain_problems(name))
    if namespace:
        yield from each(f"{path}.namespace", namespace, meta.dns_label_problems(namespace))
    else:
        yield meta.required(f"{path}.namespace", "must specify namespace for service account")


def _only_star(values: Sequence[str], path: str, what: str) -> Iterator[FieldError]:
    if "*" in values and len(values) > 1:
        yield meta.invalid(path, list(values), f"if '*' is present, must not specify other {what}")


def _verbs(rule: Object, path: str) -> Iterator[FieldError]:
    verbs = rule.get("verbs") or ()
    if not verbs:
        yield meta.required(f"{path}.verbs", "verbs must contain at least one value")
    elif "*" not in verbs and not set(verbs) <= set(_VERBS):
        yield meta.unsupported(f"{path}.verbs", list(verbs), _VERBS)
    yield from _only_star(verbs, f"{path}.verbs", "verbs")


def _resources(rule: Object, path: str) -> Iterator[FieldError]:
    yield from _verbs(rule, path)
    for field, one, many in (("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")):
        values = rule.get(field) or ()
        if not values:
            yield meta.required(f"{path}.{field}", f"resource rules must supply at least one {one}")
        yield from _only_star(values, f"{path}.{field}", many)
    path, namespaces = f"{path}.namespaces", rule.get("namespaces") or ()
    if not namespaces and not rule.get("clusterScope"):
        detail = "resource rules that are not cluster scoped must supply at least one namespace"
        yield meta.required(path, detail)
    yield from _only_star(namespaces, path, "namespaces")
    if "*" not in namespaces:
        for index, namespace in enumerate(namespaces):
            for problem in meta.dns_label_problems(namespace):
                detail = f"each member of this list must be '*' or a DNS-1123 label; {problem}"
                yield meta.invalid(f"{path}[{index}]", namespace, detail)


def _urls(rule: Object, path: str) -> Iterator[FieldError]:
    yield from _verbs(rule, path)
    path, urls = f"{path}.nonResourceURLs", rule.get("nonResourceURLs") or ()
    if not urls:
        yield meta.required(path, "nonResourceURLs must contain at least one value")
    yield from _only_star(urls, path, "non-resource URLs")
    if "*" not in urls:
        for index, url in enumerate(urls):
            if problem := _url_problem(url):
                yield meta.invalid(f"{path}[{index}]", url, problem)


def _url_problem(url: str) -> str:
    if not url:
        return "must not be empty"
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    if "*" in url and (url.count("*") > 1 or not url.endswith("/*")):
        return "wildcard can only do suffix matching"
    return ""
