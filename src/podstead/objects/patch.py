"""The patches that need no schema: JSON patch (RFC 6902) and JSON merge patch (RFC 7386).

Neither changes what it is given; a merge patch shares the parts it leaves alone with the original. Failures are the
Status answers of the API: 400 for what is not a patch, 413 for one with too many operations, 422 for one that does not
fit the object.
"""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from podstead.objects.decoding import too_deep
from podstead.objects.errors import StatusError, bad_request

MAX_OPERATIONS = 10_000
MAX_COPIED = 3 * 1024 * 1024
"""Bytes of JSON that the copies of one patch may add: each could double the object."""
_MAX_DEPTH = 200
_TOO_DEEP = "the patched object exceeded max depth"
_UNEXPECTED = (TypeError, ValueError, LookupError, AttributeError)
_OPERATIONS = {
    "add": ("value",),
    "remove": (),
    "replace": ("value",),
    "move": ("from",),
    "copy": ("from",),
    "test": ("value",),
}


def json_patch(obj: Any, operations: Any) -> Any:
    """Return a copy of `obj` with the operations (decoded JSON) applied in order, all or none."""
    if not isinstance(operations, list):
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {_json_type(operations)} into Go value of type "
            "jsonpatch.Patch"
        )
    if len(operations) > MAX_OPERATIONS:
        raise StatusError(
            413,
            "RequestEntityTooLarge",
            "Request entity is too large: The allowed maximum operations in a JSON patch is "
            f"{MAX_OPERATIONS}, got {len(operations)}",
        )
    for index, operation in enumerate(operations):
        _check_operation(index, operation)
    # Imported late: most servers never see a JSON patch.
    import jsonpatch
    import jsonpointer

    copied = 0
    patched = copy.deepcopy(obj)
    for operation in operations:
        name = operation["op"]
        try:
            if "from" in operation:
                source = jsonpointer.resolve_pointer(patched, operation["from"])
                if isinstance(source, jsonpointer.EndOfList):
                    raise _does_not_fit(_missing(operation))
                copied += len(msgspec.json.encode(source)) if name == "copy" else 0
                if copied > MAX_COPIED:
                    raise _does_not_fit(f"the copies of the patch add {copied} bytes, more than {MAX_COPIED}")
            patched = jsonpatch.JsonPatch([operation]).apply(patched, in_place=True)
        except RecursionError as error:
            raise _does_not_fit(_TOO_DEEP) from error
        # The library knows only maps and lists; below a number or a text it raises what comes.
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, *_UNEXPECTED) as error:
            raise _does_not_fit(_missing(operation)) from error
    if too_deep(patched):
        raise _does_not_fit(_TOO_DEEP)
    return patched


def _missing(operation: dict[str, Any]) -> str:
    """Say why an operation has nothing to work on, in the words of the library that Kubernetes uses."""
    name, path = operation["op"], operation["path"]
    if name == "test":
        return f"testing value {path} failed: test failed"
    if name in ("move", "copy"):
        return f"{name} operation does not apply: doc is missing from path or path: {operation['from']}, {path}"
    return f"{name} operation does not apply: doc is missing path: {path}: missing value"


def merge_patch(obj: Any, patch: Any) -> Any:
    """Return `obj` with the merge patch (decoded JSON) applied; null removes a field."""
    if not isinstance(patch, dict):
        kind = _json_type(patch)
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        )
    return _merge(obj, patch, 0)


def _merge(target: Any, patch: Any, depth: int) -> Any:
    if not isinstance(patch, dict):
        return patch
    if depth > _MAX_DEPTH:
        raise bad_request(f"error decoding patch: objects are nested more than {_MAX_DEPTH} deep")
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value, depth + 1)
    return merged


def _check_operation(index: int, operation: Any) -> None:
    if not isinstance(operation, dict):
        raise bad_request(f"error decoding patch: operation {index} is not an object")
    name = operation.get("op")
    if not isinstance(name, str) or name not in _OPERATIONS:
        raise _does_not_fit(f"operation {index}: unexpected kind: {name if isinstance(name, str) else 'unknown'}")
    for field in ("path", *_OPERATIONS[name]):
        if field not in operation:
            raise _does_not_fit(f"operation {index} ({name}): missing {field}")
        if field != "value" and not isinstance(operation[field], str):
            raise _does_not_fit(f"operation {index} ({name}): {field} is not text")


def _does_not_fit(why: str) -> StatusError:
    message = f"the server rejected our request due to an error in our request: {why}"
    return StatusError(422, "Invalid", message, {"causes": [{"reason": "UnexpectedServerResponse", "message": why}]})


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    names: dict[type, str] = {str: "string", dict: "object", list: "array"}
    return names.get(type(value), "number")
