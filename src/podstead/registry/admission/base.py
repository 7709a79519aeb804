"""What an admission plugin is, what it is shown, and the chain that every writer passes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from podstead.objects.kinds import ResourceInfo
from podstead.objects.user import UserInfo

Object = dict[str, Any]


class Operation(StrEnum):
    """admission.k8s.io's operations."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(slots=True)
class Attributes:
    """One write. `object` is private to it and may be changed in place by `admit`; None for DELETE. `old` is shared."""

    operation: Operation
    info: ResourceInfo
    subresource: str
    namespace: str
    name: str
    object: Object | None
    old: Object | None
    user: UserInfo
    dry_run: bool


class Lookup(Protocol):
    """What plugins may read: the registry's present objects (shared, never to be changed)."""

    def find(self, resource: str, name: str, namespace: str = "") -> Object | None: ...

    def scan(self, resource: str, namespace: str = "") -> Iterable[Object]:
        """Return all objects of a resource, in a namespace or in all; use it up before the next await."""
        ...

    async def wait_for(self, resource: str, name: str, namespace: str, timeout: float) -> Object | None:
        """Return the object, waiting up to `timeout` seconds for it to be created; None if it was not."""
        ...


class Plugin(Protocol):
    """One rule. Both methods raise StatusError to refuse; they see every write, and pass on what is not theirs."""

    async def admit(self, attributes: Attributes) -> None:
        """Called after defaults and before validation; may change `attributes.object`."""
        ...

    async def validate(self, attributes: Attributes) -> None:
        """Called when the object is valid and final; changes nothing."""
        ...


class Chain:
    """Plugins in order."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self._plugins = tuple(plugins)

    async def admit(self, attributes: Attributes) -> None:
        for plugin in self._plugins:
            await plugin.admit(attributes)

    async def validate(self, attributes: Attributes) -> None:
        for plugin in self._plugins:
            await plugin.validate(attributes)


class Base:
    """A plugin that lets everything pass; to derive from."""

    async def admit(self, attributes: Attributes) -> None:
        return

    async def validate(self, attributes: Attributes) -> None:
        return
