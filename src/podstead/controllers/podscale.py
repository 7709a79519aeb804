"""How many pods there should be: the scale of the controllers of some pods, and what a budget makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from podstead.client.base import Client, Object
from podstead.objects.errors import StatusError
from podstead.objects.kinds import by_kind


class Incalculable(Exception):
    """The pods' controllers, or the budget itself, do not say how many pods there should be."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Numbers of pods: that should exist, and that are to be healthy; the names of pods without a controller."""

    expected: int
    desired: int
    unmanaged: tuple[str, ...] = ()


class Scales:
    """Asks each controller once; made anew for each count."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, tuple[str, int]] = {}
        """By uid of a pod's controller: the uid of what is scaled (it, or its own controller) and its replicas."""

    async def expected(self, budget: Object, pods: Sequence[Object]) -> Expectation:
        """Return what a budget expects of its pods. Raises Incalculable, StatusError.

        minAvailable as a number needs no controllers; the rest is a share of their scale, or counts down from it.
        https://kubernetes.io/docs/tasks/run-application/configure-pdb/#arbitrary-controllers-and-selectors
        """
        spec = budget["spec"]
        unavailable, available = spec.get("maxUnavailable"), spec.get("minAvailable")
        if unavailable is not None:
            total, unmanaged = await self._total(pods)
            return Expectation(total, max(total - _scaled(unavailable, total), 0), unmanaged)
        if isinstance(available, int):
            return Expectation(len(pods), available)
        if available is not None:
            total, unmanaged = await self._total(pods)
            return Expectation(total, _scaled(available, total), unmanaged)
        return Expectation(0, 0)

    async def _total(self, pods: Sequence[Object]) -> tuple[int, tuple[str, ...]]:
        """Return the replicas of all the pods' controllers together, and which pods have none."""
        unmanaged: list[str] = []
        counted: dict[str, int] = {}
        for pod in pods:
            name, owner = pod["metadata"]["name"], _controller_of(pod)
            if owner is None:
                unmanaged.append(name)
                continue
            if owner["uid"] not in self._known:
                found = await self._scale(owner, pod["metadata"]["namespace"])
                if found is None:
                    raise Incalculable(f'found no controllers for pod "{name}"')
                self._known[owner["uid"]] = found
            uid, replicas = self._known[owner["uid"]]
            counted[uid] = replicas
        return sum(counted.values()), tuple(unmanaged)

    async def _scale(self, owner: Object, namespace: str) -> tuple[str, int] | None:
        """Return uid and replicas of what scales the pods of `owner`; None where it is gone. Raises Incalculable."""
        obj = await self._read(owner, namespace)
        if obj is None:
            return None
        above = _controller_of(obj)
        if owner["kind"] == "ReplicaSet" and above is not None and _is_deployment(above):
            # A rollout has several replica sets, whose sum may be more than what is wanted.
            obj = await self._read(above, namespace) or obj
        return obj["metadata"]["uid"], (obj.get("spec") or {}).get("replicas", 1)

    async def _read(self, owner: Object, namespace: str) -> Object | None:
        info = by_kind(owner["apiVersion"], owner["kind"])
        if info is None:
            raise Incalculable(f'no matches for kind "{owner["kind"]}" in version "{owner["apiVersion"]}"')
        if info.subresource("scale") is None:
            raise Incalculable(f"{info.resource} does not implement the scale subresource")
        try:
            obj = await self._client.get(info.resource, owner["name"], namespace)
        except StatusError as error:
            if error.code != 404:
                raise
            return None
        return obj if obj["metadata"]["uid"] == owner["uid"] else None


def _controller_of(obj: Object) -> Object | None:
    owners: Sequence[Object] = obj["metadata"].get("ownerReferences") or ()
    return next((one for one in owners if one.get("controller")), None)


def _is_deployment(owner: Object) -> bool:
    return bool(owner["kind"] == "Deployment" and owner["apiVersion"].partition("/")[0] == "apps")


def _scaled(value: int | str, total: int) -> int:
    """Return a number as it is, a percentage of `total` rounded up. Raises Incalculable."""
    if isinstance(value, int):
        return value
    share = value.removesuffix("%")
    if share == value or not share.isdecimal():
        raise Incalculable("invalid value for IntOrString: invalid type: string is not a percentage")
    return -(-int(share) * total // 100)
