"""Errors as the API speaks of them: metav1.Status.

StatusError            code, reason, message, details: what a client receives
    made by bad_request, unauthorized, forbidden, not_found, method_not_supported, not_acceptable, already_exists,
    generate_name_conflict, conflict, gone, expired, unsupported_media_type, invalid, too_many_requests, internal_error,
    service_unavailable

Texts and codes follow apimachinery's documented reasons (metav1.StatusReason).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


class StatusError(Exception):
    """A failure that the API answers with. `code` is HTTP's, `reason` a metav1.StatusReason."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.continue_token = ""
        """metav1.ListMeta.continue of the Status: with a 410 for a page of a list, how to go on nevertheless."""

    def status(self) -> dict[str, Any]:
        """Return the Status object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.continue_token} if self.continue_token else {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details is not None:
            status["details"] = self.details
        return status | {"code": self.code}

    @classmethod
    def from_status(cls, status: dict[str, Any]) -> StatusError:
        """Return the error that a received Status object stands for."""
        code = int(status.get("code", 500))
        return cls(code, status.get("reason", ""), status.get("message", ""), status.get("details"))


@dataclass(frozen=True, slots=True)
class FieldError:
    """One cause of a 422. `kind` is a metav1.CauseType: FieldValueRequired, FieldValueInvalid, FieldValueDuplicate,
    FieldValueNotSupported, FieldValueForbidden, FieldValueNotFound, FieldValueTooLong, FieldValueTooMany,
    FieldValueTypeInvalid. `text` is all that follows the path, worded as field.Error does: `Required value`,
    `Invalid value: "x": must be ...`, `Unsupported value: "x": supported values: "a", "b"`, `Forbidden: ...`."""

    path: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"

    def cause(self) -> dict[str, str]:
        return {"reason": self.kind, "message": self.text, "field": self.path}


def _details(resource: str, name: str, group: str = "", **more: Any) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name} if name else {}
    if group:
        details["group"] = group
    if resource:
        details["kind"] = resource
    return details | more


def _qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> StatusError:
    return StatusError(401, "Unauthorized", message)


def forbidden(resource: str, name: str, why: str, group: str = "") -> StatusError:
    """403: `pods "x" is forbidden: WHY`."""
    subject = _qualified(resource, group) + (f' "{name}"' if name else "")
    return StatusError(403, "Forbidden", f"{subject} is forbidden: {why}", _details(resource, name, group))


def not_found(resource: str, name: str, group: str = "") -> StatusError:
    """404: `pods "x" not found`."""
    message = f'{_qualified(resource, group)} "{name}" not found'
    return StatusError(404, "NotFound", message, _details(resource, name, group))


def path_not_found() -> StatusError:
    """404 for a path that names no resource."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_supported(resource: str, verb: str, group: str = "") -> StatusError:
    message = f'{verb} is not supported on resources of kind "{_qualified(resource, group)}"'
    return StatusError(405, "MethodNotAllowed", message, _details(resource, "", group))


def not_acceptable(message: str) -> StatusError:
    return StatusError(406, "NotAcceptable", message)


def already_exists(resource: str, name: str, group: str = "") -> StatusError:
    """409: `pods "x" already exists`."""
    message = f'{_qualified(resource, group)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, _details(resource, name, group))


def generate_name_conflict(resource: str, name: str, group: str = "") -> StatusError:
    """409: no name made of a generateName was free."""
    message = (
        f'{_qualified(resource, group)} "{name}" already exists, '
        "the server was not able to generate a unique name for the object"
    )
    return StatusError(409, "AlreadyExists", message, _details(resource, name, group, retryAfterSeconds=1))


def conflict(resource: str, name: str, why: str, group: str = "") -> StatusError:
    """409: `Operation cannot be fulfilled on pods "x": WHY`."""
    message = f'Operation cannot be fulfilled on {_qualified(resource, group)} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(resource, name, group))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def expired(message: str) -> StatusError:
    """410, reason Expired: a resourceVersion or continue token that is no longer kept."""
    return StatusError(410, "Expired", message)


def unsupported_media_type(message: str) -> StatusError:
    return StatusError(415, "UnsupportedMediaType", message)


def invalid(kind: str, name: str, errors: Iterable[FieldError], group: str = "") -> StatusError:
    """422: `Pod "x" is invalid: PATH: TEXT`, or a bracketed list where there are several."""
    causes = list(errors)
    # Two rules may find the same fault: each cause stands for itself, the message says it once.
    messages = list(dict.fromkeys(map(str, causes)))
    listed = messages[0] if len(messages) == 1 else "[" + ", ".join(messages) + "]"
    qualified = f"{kind}.{group}" if group else kind
    details = _details(kind, name, group, causes=[cause.cause() for cause in causes])
    return StatusError(422, "Invalid", f'{qualified} "{name}" is invalid: {listed}', details)


def too_many_requests(message: str, retry_after: int = 1) -> StatusError:
    return StatusError(429, "TooManyRequests", message, {"retryAfterSeconds": retry_after} if retry_after else {})


def internal_error(message: str) -> StatusError:
    details = {"causes": [{"message": message}]}
    return StatusError(500, "InternalError", f"Internal error occurred: {message}", details)


def service_unavailable(message: str) -> StatusError:
    return StatusError(503, "ServiceUnavailable", message)


def timeout(message: str, retry_after: int = 0) -> StatusError:
    return StatusError(504, "Timeout", message, {"retryAfterSeconds": retry_after} if retry_after else {})
