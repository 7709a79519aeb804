"""What a caller says beside the object: list, write and delete options, a patch, and who asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from podstead.objects.schema import Validation
from podstead.objects.user import UserInfo

Object = dict[str, Any]


@dataclass(slots=True)
class RequestContext:
    """One request: who asks, and the warnings (texts, without a header's framing) that the answer is to carry."""

    user: UserInfo
    warnings: list[str] = field(default_factory=list)
    manager: str = ""
    """The field manager where the write's options name none: from the User-Agent, or the component's name."""


@dataclass(frozen=True, slots=True)
class ListOptions:
    """metav1.ListOptions of a list, watch or deletecollection, as the query spells them.

    `send_initial_events` is None where the query does not have it. `timeout_seconds` ends a watch (None: never).
    """

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    allow_bookmarks: bool = False
    send_initial_events: bool | None = None
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """metav1.CreateOptions, UpdateOptions and PatchOptions. `field_validation`: Ignore, Warn or Strict.

    `duplicates` are the paths of fields that the body held twice, as `objects.schema.decode_json` finds them.
    """

    dry_run: bool = False
    field_manager: str = ""
    field_validation: Validation = "Warn"
    duplicates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """metav1.DeleteOptions. `grace_period_seconds` None: the object's own. `uid`, `resource_version`: preconditions."""

    grace_period_seconds: int | None = None
    propagation_policy: str = ""
    orphan_dependents: bool | None = None
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class PatchRequest:
    """A PATCH: `type` is the content type without parameters, `body` its bytes or what they decode to.

    `force` is for an apply: take over what other managers own.
    """

    type: str
    body: Any
    force: bool | None = None
