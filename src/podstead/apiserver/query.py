"""The query parameters of the verbs, read strictly (metav1 ListOptions, CreateOptions, PatchOptions, DeleteOptions)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.apiserver.request import flag, integer, optional_flag, text
from podstead.objects import schema
from podstead.objects.errors import FieldError, invalid
from podstead.registry.options import DeleteOptions, ListOptions, WriteOptions

Query = Mapping[str, list[str]]

_WATCH_SECONDS = 1800  # a watch without timeoutSeconds lasts between this and twice this, as Kubernetes' default
_FIELD_MANAGER_LIMIT = 128
_VALIDATIONS: dict[str, schema.Validation] = {"": "Warn", "Ignore": "Ignore", "Warn": "Warn", "Strict": "Strict"}


def list_options(query: Query, *, watch: bool, name: str = "") -> ListOptions:
    """Return the options of a list, watch or deletecollection; raises StatusError 400.

    `name` narrows the options to one object (a watch of a single name). An unset `timeoutSeconds` of a watch becomes
    a random time, so that many watchers do not come back at once.
    """
    limit, timeout = integer(query, "limit") or 0, integer(query, "timeoutSeconds")
    return ListOptions(
        label_selector=text(query, "labelSelector"),
        field_selector=_with_name(text(query, "fieldSelector"), name),
        limit=max(limit, 0),
        continue_token=text(query, "continue"),
        resource_version=text(query, "resourceVersion"),
        resource_version_match=text(query, "resourceVersionMatch"),
        allow_bookmarks=flag(query, "allowWatchBookmarks"),
        send_initial_events=optional_flag(query, "sendInitialEvents"),
        timeout_seconds=_watch_timeout(timeout) if watch else None,
    )


def _with_name(selector: str, name: str) -> str:
    if not name:
        return selector
    return f"metadata.name={name},{selector}" if selector else f"metadata.name={name}"


def _watch_timeout(seconds: int | None) -> float:
    if seconds is None or seconds <= 0:
        return _WATCH_SECONDS * (1 + random.random())
    return float(seconds)


def patch_options(query: Query, *, applies: bool) -> tuple[WriteOptions, bool | None]:
    """Return the options of a patch, which for a server-side apply must name a manager, and `force`.

    Raises StatusError 400, 422.
    """
    force = optional_flag(query, "force")
    problems = []
    if not applies and force is not None:
        problems.append(
            FieldError("force", "FieldValueForbidden", "Forbidden: may not be specified for non-apply patch")
        )
    if applies and not text(query, "fieldManager"):
        problems.append(FieldError("fieldManager", "FieldValueRequired", "Required value: is required for apply patch"))
    return write_options(query, "PatchOptions", problems), force


def write_options(query: Query, kind: str, found: Sequence[FieldError] = ()) -> WriteOptions:
    """Return the options of a create, update or patch; `kind` (CreateOptions ...) is for the message.

    Raises StatusError 422 for what is wrong with them, `found` included.
    """
    dry_run, problems = _dry_run(query.get("dryRun", ()))
    manager = text(query, "fieldManager")
    problems = [*found, *_manager(manager), *problems]
    validation = _VALIDATIONS.get(text(query, "fieldValidation"))
    if validation is None:
        listed = ", ".join(f'"{value}"' for value in _VALIDATIONS)
        why = f'Unsupported value: "{text(query, "fieldValidation")}": supported values: {listed}'
        problems.append(FieldError("fieldValidation", "FieldValueNotSupported", why))
    if problems or validation is None:
        raise invalid(kind, "", problems, "meta.k8s.io")
    return WriteOptions(dry_run=dry_run, field_manager=manager, field_validation=validation)


def _manager(manager: str) -> Iterator[FieldError]:
    if len(manager.encode()) > _FIELD_MANAGER_LIMIT:
        why = f"Too long: may not be more than {_FIELD_MANAGER_LIMIT} bytes"
        yield FieldError("fieldManager", "FieldValueTooLong", why)
    position = 0
    for letter in manager:
        if not letter.isprintable():
            why = f"invalid character U+{ord(letter):04X} (at position {position})"
            yield FieldError("fieldManager", "FieldValueInvalid", f"Invalid value: {json.dumps(manager)}: {why}")
        position += len(letter.encode())


def _dry_run(values: Any) -> tuple[bool, list[FieldError]]:
    given = [value for value in values if value]
    wrong = [value for value in given if value != "All"]
    problems = []
    if wrong:
        why = f'Unsupported value: {_listed(given)}: supported values: "All"'
        problems.append(FieldError("dryRun", "FieldValueNotSupported", why))
    return bool(given), problems


def _listed(values: list[str]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"


def delete_options(query: Query, body: Any) -> DeleteOptions:
    """Return the options of a delete: those of the decoded body unless it is None, else the query's.

    Raises StatusError 400, 422.
    """
    given = _from_query(query) if body is None else _from_body(body)
    preconditions = given.get("preconditions") or {}
    dry_run, problems = _dry_run(given.get("dryRun") or ())
    if problems:
        raise invalid("DeleteOptions", "", problems, "meta.k8s.io")
    return DeleteOptions(
        grace_period_seconds=given.get("gracePeriodSeconds"),
        propagation_policy=given.get("propagationPolicy") or "",
        orphan_dependents=given.get("orphanDependents"),
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        dry_run=dry_run,
    )


def _from_query(query: Query) -> dict[str, Any]:
    return {
        "gracePeriodSeconds": integer(query, "gracePeriodSeconds"),
        "propagationPolicy": text(query, "propagationPolicy"),
        "orphanDependents": optional_flag(query, "orphanDependents"),
        "dryRun": query.get("dryRun", []),
    }


def _from_body(decoded: Any) -> dict[str, Any]:
    schema.check_kind(schema.DELETE_OPTIONS, decoded)
    options, _ = schema.prune(schema.DELETE_OPTIONS, decoded)
    checked: dict[str, Any] = options
    return checked
