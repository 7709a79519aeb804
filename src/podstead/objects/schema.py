"""What an object may hold: decode, check against Kubernetes' schema, fill in defaults.

decode_json   bytes -> object, and the fields it holds twice
check         object -> a pruned copy and warnings; 400 for wrong types, and for unknown fields where strict
default       fills in what is left out
definition    a definition's fields, types, list keys and patch strategies
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Protocol

from podstead.objects.checking import WrongValueError, check_value
from podstead.objects.decoding import decode_json, unrecognized
from podstead.objects.defaulting import apply_defaults
from podstead.objects.definitions import (
    DELETE_OPTIONS,
    Definition,
    Field,
    definition,
    definition_of,
    enum,
    plain_defaults,
)
from podstead.objects.errors import StatusError, bad_request
from podstead.objects.leaves import describe

__all__ = [
    "DELETE_OPTIONS",
    "Definition",
    "Field",
    "Kind",
    "Target",
    "Validation",
    "cannot_be_handled",
    "check",
    "check_kind",
    "decode_json",
    "default",
    "definition",
    "definition_of",
    "enum",
    "field_problems",
    "initial_status",
    "prune",
    "strict_error",
    "unrecognized",
]

Validation = Literal["Ignore", "Warn", "Strict"]


class Kind(Protocol):
    """What has a group, version and kind: a ResourceInfo or a SubresourceInfo."""

    @property
    def group(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def kind(self) -> str: ...


Target = Kind | Definition | str
"""What an object should be: a resource, a subresource, a definition or a definition's full name."""


def _resolve(target: Target) -> Definition:
    if isinstance(target, str):
        return definition(target)
    if isinstance(target, Definition):
        return target
    return definition_of(target.group, target.version, target.kind)


def _version(target: Definition) -> str:
    return target.name.rsplit(".", 2)[1]


def cannot_be_handled(target: Target, problem: str, kind: str = "", version: str = "") -> StatusError:
    """400: `Pod in version "v1" cannot be handled as a Pod: PROBLEM`. `kind` and `version` are the body's own."""
    wanted = _resolve(target)
    found = f'{kind or wanted.struct} in version "{version or _version(wanted)}"'
    return bad_request(f"{found} cannot be handled as a {wanted.struct}: {problem}")


def prune(target: Target, obj: Any) -> tuple[Any, list[str]]:
    """Return a checked copy of an object without its unknown fields, and their paths.

    Nulls and empty optional lists and maps are dropped too, quantities and times are put in their canonical form. The
    copy shares only free-form values (RawExtension, FieldsV1) with the object. Raises a 400 for wrong types.
    """
    wanted = _resolve(target)
    if type(obj) is not dict:
        problem = f"couldn't get version/kind; json parse error: json: cannot unmarshal {describe(obj)} into Go value"
        raise bad_request(f"the object provided is unrecognized (must be of type {wanted.struct}): {problem}")
    try:
        checked, unknown = check_value(wanted.name, obj)
    except WrongValueError as error:
        raise cannot_be_handled(wanted, str(error)) from None
    except RecursionError:
        raise cannot_be_handled(wanted, "exceeded max depth") from None
    return checked, list(unknown)


def field_problems(unknown: Iterable[str], duplicates: Iterable[str] = ()) -> list[str]:
    """Word unknown and duplicate fields: `unknown field "spec.foo"`. Duplicates within what is unknown count once."""
    paths = list(unknown)
    inside = tuple(f"{path}{mark}" for path in paths for mark in ".[")
    known = [path for path in duplicates if path not in paths and not (inside and path.startswith(inside))]
    return [f'unknown field "{path}"' for path in paths] + [f'duplicate field "{path}"' for path in known]


def strict_error(problems: Iterable[str]) -> str:
    """`strict decoding error: unknown field "spec.foo", duplicate field "metadata.name"`."""
    return "strict decoding error: " + ", ".join(problems)


def check(
    target: Target, obj: Any, *, validation: Validation = "Warn", duplicates: Iterable[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """Return a checked, pruned copy of an object, and the warnings that fieldValidation=Warn asks for.

    `duplicates` are the paths from decode_json. Raises a 400 for wrong types, and with Strict one that names every
    unknown and duplicate field. See `prune` for what the copy is.
    https://kubernetes.io/docs/reference/using-api/api-concepts/#setting-the-field-validation-level
    """
    checked, unknown = prune(target, obj)
    if validation == "Ignore":
        return checked, []
    problems = field_problems(unknown, duplicates)
    if problems and validation == "Strict":
        raise cannot_be_handled(target, strict_error(problems))
    return checked, problems


def check_kind(target: Target, obj: Any) -> None:
    """Fill in a body's kind and apiVersion where they are left out; 400 where they are not what `target` is.

    Leaves a body that is no object, or whose kind is no text, to `check`.
    """
    wanted = _resolve(target)
    if type(obj) is not dict or not wanted.kinds:
        return
    accepted = [(f"{group}/{version}" if group else version, kind) for group, version, kind in wanted.kinds]
    first_version, first_kind = accepted[0]
    api_version, kind = obj.get("apiVersion") or first_version, obj.get("kind") or first_kind
    if not isinstance(api_version, str) or not isinstance(kind, str):
        return
    if (api_version, kind) in accepted:
        obj.update(apiVersion=api_version, kind=kind)
    elif kind != first_kind:
        version = api_version.rpartition("/")[2]
        problem = f'no kind "{kind}" is registered for version "{api_version}"'
        if _exists(api_version, kind):
            problem = f"converting ({version}.{kind}) to ({wanted.struct}): unknown conversion"
        raise cannot_be_handled(wanted, problem, kind, version)
    else:
        raise bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version ({first_version})"
        )


def _exists(api_version: str, kind: str) -> bool:
    group, _, version = api_version.rpartition("/")
    try:
        definition_of(group, version, kind)
    except KeyError:
        return False
    return True


def initial_status(target: Target) -> dict[str, Any]:
    """The defaults of an object's status alone: {"status": ...}, or {} where a new object has none."""
    wanted = _resolve(target)
    field = wanted.fields.get("status")
    if field is None or field.reference is None or "status" not in plain_defaults(wanted.name):
        return {}
    status: dict[str, Any] = {}
    apply_defaults(field.reference, status)
    return {"status": status}


def default(target: Target, obj: dict[str, Any]) -> dict[str, Any]:
    """Fill in the defaults of a checked object, in place: it must be the caller's own copy. Returns it."""
    apply_defaults(_resolve(target).name, obj)
    return obj
