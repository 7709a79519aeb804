"""Validation of validating admission policies. Their CEL expressions are not compiled, only looked for.

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import choice, each, label_key, one_of
from podstead.objects.validation.kinds.webhookconfiguration import expression, match_conditions, rule
from podstead.objects.validation.selectors import label_selector

Object = Mapping[str, Any]
_FAILURE_POLICIES = ("Fail", "Ignore")
_MATCH_POLICIES = ("Equivalent", "Exact")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
_MAX_ANNOTATIONS = 20
_MAX_ANNOTATION_SIZE = 5 * 1024
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*\Z")
_RESERVED = re.compile(
    r"(true|false|null|in|as|break|const|continue|else|for|function|if|import|let|loop|package|namespace|return|var|void"
    r"|while)\Z"
)
_NOTHING = "validations or auditAnnotations must contain at least one item"


def validate(policy: Object) -> Iterator[FieldError]:
    spec, name = policy.get("spec") or {}, (policy.get("metadata") or {}).get("name") or ""
    yield from common(spec)
    validations, annotations = spec.get("validations") or (), spec.get("auditAnnotations") or ()
    if not validations and not annotations:
        yield meta.required("spec.validations", _NOTHING)
        yield meta.required("spec.auditAnnotations", _NOTHING)
    for index, validation in enumerate(validations):
        yield from _validation(validation, f"spec.validations[{index}]")
    yield from _annotations(annotations, name)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)


def common(spec: Object) -> Iterator[FieldError]:
    """What validating and mutating policies share: when and to what they apply, and what they call what they need."""
    yield from one_of(spec.get("failurePolicy"), _FAILURE_POLICIES, "spec.failurePolicy")
    if spec.get("paramKind") is not None:
        yield from _param_kind(spec["paramKind"], "spec.paramKind")
    matching = spec.get("matchConstraints")
    if matching is None:
        yield meta.required("spec.matchConstraints")
    else:
        yield from match_resources(matching, "spec.matchConstraints")
        if not matching.get("resourceRules"):
            yield meta.required("spec.matchConstraints.resourceRules")
    yield from match_conditions(spec.get("matchConditions") or (), "spec.matchConditions")
    for index, variable in enumerate(spec.get("variables") or ()):
        path, name = f"spec.variables[{index}]", variable.get("name") or ""
        if not name.strip():
            yield meta.required(f"{path}.name", "name is not specified")
        elif not _IDENTIFIER.match(name) or _RESERVED.match(name):
            yield meta.invalid(f"{path}.name", name, "name is not a valid CEL identifier")
        yield from expression(variable, "expression", path, "expression is not specified")


def match_resources(matching: Object, path: str) -> Iterator[FieldError]:
    """A MatchResources; a selector that is left out is defaulted to one that takes all."""
    yield from one_of(matching.get("matchPolicy"), _MATCH_POLICIES, f"{path}.matchPolicy")
    for field in ("namespaceSelector", "objectSelector"):
        yield from label_selector(matching.get(field), f"{path}.{field}")
    for field in ("resourceRules", "excludeResourceRules"):
        for index, one in enumerate(matching.get(field) or ()):
            at, known = f"{path}.{field}[{index}]", set[str]()
            for number, name in enumerate(one.get("resourceNames") or ()):
                yield from each(f"{at}.resourceNames[{number}]", name, meta.path_segment_name(name, False))
                if name in known:
                    yield meta.duplicate(f"{at}.resourceNames[{number}]", name)
                known.add(name)
            yield from rule(one, at)


def param_ref(reference: Object, path: str) -> Iterator[FieldError]:
    """Which objects a binding gives to its policy as parameters: one by its name, or some by their labels."""
    name, selector = reference.get("name") or "", reference.get("selector")
    both = "name and selector are mutually exclusive"
    if name:
        yield from each(f"{path}.name", name, meta.path_segment_name(name, False))
        if selector is not None:
            yield meta.forbidden(f"{path}.name", both)
    if selector is not None:
        yield from label_selector(selector, f"{path}.selector")
        if name:
            yield meta.forbidden(f"{path}.selector", both)
    if not name and selector is None:
        yield meta.required(path, "one of name or selector must be specified")
    action = reference.get("parameterNotFoundAction")
    yield from one_of(action, ("Deny", "Allow"), f"{path}.parameterNotFoundAction")


def binding(spec: Object) -> Iterator[FieldError]:
    """What bindings of both kinds of policies share."""
    name = spec.get("policyName") or ""
    if name:
        yield from each("spec.policyName", name, meta.dns_subdomain_problems(name))
    else:
        yield meta.required("spec.policyName")
    if spec.get("paramRef") is not None:
        yield from param_ref(spec["paramRef"], "spec.paramRef")
    if spec.get("matchResources") is not None:
        yield from match_resources(spec["matchResources"], "spec.matchResources")


def _param_kind(kind: Object, path: str) -> Iterator[FieldError]:
    api_version, name = kind.get("apiVersion") or "", kind.get("kind") or ""
    group, _, version = api_version.rpartition("/")
    if not api_version:
        yield meta.required(f"{path}.apiVersion")
    elif api_version.count("/") > 1:
        detail = f"unexpected GroupVersion string: {api_version}"
        yield meta.invalid(f"{path}.apiVersion", api_version, detail)
    else:
        if group and (problems := meta.dns_subdomain_problems(group)):
            yield meta.invalid(f"{path}.apiVersion", group, ",".join(problems))
        if not version:
            yield meta.invalid(f"{path}.apiVersion", api_version, "version must be specified")
        elif problems := meta.dns_1035_label_problems(version):
            yield meta.invalid(f"{path}.apiVersion", version, ",".join(problems))
    if not name:
        yield meta.required(f"{path}.kind")
    elif problems := meta.dns_1035_label_problems(name.lower()):
        detail = f"may have mixed case, but should otherwise match: {','.join(problems)}"
        yield meta.invalid(f"{path}.kind", name, detail)


def _validation(validation: Object, path: str) -> Iterator[FieldError]:
    yield from expression(validation, "expression", path, "expression is not specified")
    computed, message = validation.get("messageExpression") or "", validation.get("message") or ""
    if computed and not computed.strip():
        yield meta.invalid(f"{path}.messageExpression", computed, "must be non-empty if specified")
    if message and not message.strip():
        yield meta.invalid(f"{path}.message", message, "message must be non-empty if specified")
    elif re.search(r"[\n\r]", message.strip()):
        yield meta.invalid(f"{path}.message", message, "message must not contain line breaks")
    yield from choice(validation, "reason", _REASONS, path)


def _annotations(annotations: Sequence[Object], policy: str) -> Iterator[FieldError]:
    if len(annotations) > _MAX_ANNOTATIONS:
        detail = f"must not have more than {_MAX_ANNOTATIONS} auditAnnotations"
        yield meta.invalid("spec.auditAnnotations", list(annotations), detail)
    known: set[str] = set()
    for index, annotation in enumerate(annotations):
        path, key = f"spec.auditAnnotations[{index}]", annotation.get("key") or ""
        if policy:
            yield from label_key(f"{policy}/{key}", f"{path}.key")
        else:
            yield meta.invalid(f"{path}.key", key, "requires metadata.name be non-empty")
        yield from expression(annotation, "valueExpression", path, "valueExpression is not specified")
        if len((annotation.get("valueExpression") or "").strip().encode()) > _MAX_ANNOTATION_SIZE:
            detail = f"must not exceed {_MAX_ANNOTATION_SIZE} bytes in length"
            yield meta.required(f"{path}.valueExpression", detail)
        if key in known:
            yield meta.duplicate(f"{path}.key", key)
        known.add(key)
