"""Volumes that show what the API says: what is read for them, when it is read again, and who is told.

Each is filled from its sources in one go and swapped at once (`atomic`). What it read is watched (`watching`): a change
fills it again, and where it could not be filled at all its pod tries again. Nothing polls; tokens have a time at which
they are renewed. All volumes of a pod that one change concerns are written in one go.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from podstead import clock
from podstead.client.base import Client, Object
from podstead.client.informer import key_of
from podstead.linux import mounts
from podstead.node.volumes import atomic
from podstead.node.volumes.atomic import File
from podstead.node.volumes.base import VolumeError, set_up_failed
from podstead.node.volumes.tmpfs import is_tmpfs_root, unmount
from podstead.node.volumes.tokens import PodTokens
from podstead.node.volumes.watching import ObjectWatches, Reference, version_of
from podstead.objects.errors import StatusError
from podstead.objects.pod import Pod
from podstead.objects.quantity import QuantityText
from podstead.objects.volumes import ServiceAccountTokenProjection, Volume

log = logging.getLogger(__name__)

_DISK_MODE, _MEMORY_MODE = 0o777, 0o1777
_RETRY = 60.0
"""Seconds until a volume that could not be written is written again."""
_LOOK = 600.0
"""Seconds, at most, between two looks at the clock: a machine that slept does not count that as waiting."""

InTurn = Callable[[str, Callable[[], Awaitable[None]]], Awaitable[None]]
"""Runs work on the volumes of a pod (uid) when nothing else does."""
Listener = Callable[[str, str], None]
"""Told of a pod (uid): try again (an empty text), or what is wrong with a volume that is shown."""


@dataclass(slots=True, eq=False)
class Shown:
    """A volume that is there, or waits for what it is to show."""

    type: ContentType
    pod: Pod
    volume: Volume
    path: Path
    read: dict[Reference, str] = field(default_factory=dict)
    """The version of each object that it shows."""
    tokens: PodTokens = field(default_factory=PodTokens)
    shows_pod: bool = False
    """Whether it shows fields of the pod itself."""
    ready: bool = False
    signature: frozenset[tuple[str, int, int | None, int]] | None = None
    """What tells the files that were published last from others."""
    retry_at: float | None = None

    @property
    def due(self) -> float | None:
        """When (POSIX seconds) it is to be written again, if nothing changes before."""
        return min((at for at in (self.retry_at, self.tokens.renew_at) if at is not None), default=None)


class Reader:
    """What a volume is filled from. Whatever is read through it is watched from before it is read."""

    def __init__(
        self,
        shown: Shown,
        client: Client,
        allocatable: Callable[[], Mapping[str, QuantityText]],
        hold: Callable[[Shown, Reference], None],
        known: dict[Reference, Object | None],
    ) -> None:
        """`known`: what has been read for other volumes just now."""
        self._shown, self._client, self._allocatable, self._hold, self._known = shown, client, allocatable, hold, known
        self.pod = shown.pod
        self.namespace = shown.pod.metadata.namespace

    @property
    def allocatable(self) -> Mapping[str, QuantityText]:
        """What the node has for pods."""
        return self._allocatable()

    def shows_pod(self) -> None:
        """Note that the volume changes with the pod."""
        self._shown.shows_pod = True

    async def object(self, resource: str, name: str, namespace: str) -> Object | None:
        """Return the object, None where there is none; raises VolumeError."""
        reference = Reference(resource, namespace, name)
        self._hold(self._shown, reference)
        if reference not in self._known:
            try:
                self._known[reference] = await self._client.get(resource, name, namespace)
            except StatusError as error:
                if error.code != 404:
                    raise VolumeError(str(error)) from error
                self._known[reference] = None
        found = self._known[reference]
        self._shown.read[reference] = version_of({} if found is None else {key_of(found): found})
        return found

    async def objects(self, resource: str) -> list[Object]:
        """Return all objects of a kind, in the order of their names; raises VolumeError."""
        reference = Reference(resource, "", "")
        self._hold(self._shown, reference)
        try:
            found = {key_of(one): one for one in (await self._client.list(resource)).items}
        except StatusError as error:
            raise VolumeError(str(error)) from error
        self._shown.read[reference] = version_of(found)
        return [found[key] for key in sorted(found)]

    async def token(self, source: ServiceAccountTokenProjection) -> str:
        """Return a token of the pod's account that has time left; raises VolumeError."""
        return await self._shown.tokens.get(self._client, self.pod, source)


class ContentType(Protocol):
    """A type of volume that shows what the API says."""

    @property
    def kind(self) -> str: ...

    @property
    def directory(self) -> str: ...

    @property
    def in_memory(self) -> bool:
        """Whether it is a tmpfs, so that nothing of it is ever on the disk."""
        ...

    def serves(self, volume: Volume) -> bool: ...

    async def files(self, pod: Pod, volume: Volume, reader: Reader) -> dict[str, File]:
        """Return what `volume` shows, by relative path; raises VolumeError."""
        ...


class Contents:
    """The volumes of the node that show what the API says.

    `client` acts as the node; without one (no server runs) volumes can only be taken away. `allocatable` is asked for
    what the node has. `in_turn` and `listener`: see their types.
    """

    def __init__(self, in_turn: InTurn, allocatable: Callable[[], Mapping[str, QuantityText]]) -> None:
        self.client: Client | None = None
        self.listener: Listener = lambda _uid, _problem: None
        self._in_turn = in_turn
        self._allocatable = allocatable
        self._pods: dict[str, dict[Path, Shown]] = {}
        self._users: dict[Reference, set[Shown]] = {}
        self._watches = ObjectWatches(self._changed)
        self._stale: dict[str, set[Shown]] = {}
        self._wake = asyncio.Event()
        """Something is stale, or `due` may have become sooner."""

    # -- for the plugins

    async def set_up(self, type: ContentType, pod: Pod, volume: Volume, path: Path) -> Path:
        """See VolumePlugin. One that is there already shows what has changed meanwhile."""
        of_pod = self._pods.setdefault(pod.metadata.uid, {})
        shown = of_pod.get(path)
        if shown is None:
            shown = of_pod[path] = Shown(type, pod, volume, path)
        shown.pod = pod
        [error] = await self._fill([shown])
        if error is not None:
            raise error
        return path

    # -- for the manager

    def forget(self, uid: str) -> None:
        """Watch nothing for this pod any longer."""
        self._stale.pop(uid, None)
        for shown in self._pods.pop(uid, {}).values():
            for reference in shown.read:
                self._users[reference].discard(shown)
                if not self._users[reference]:
                    del self._users[reference]
                    self._watches.release(reference)

    async def update(self, pod: Pod) -> None:
        """Have volumes show what has changed of the pod itself."""
        uid, stale = pod.metadata.uid, False
        for shown in self._pods.get(uid, {}).values():
            before, shown.pod = shown.pod, pod
            if shown.shows_pod and before is not pod and _shown_of(before) != _shown_of(pod):
                self._mark(shown)
                stale = True
        if stale:
            await self._refresh(uid)

    async def run(self) -> None:
        """Keep volumes up to date until cancelled."""
        assert self.client is not None
        client, busy = self.client, set[str]()

        async def keep(uid: str) -> None:
            try:
                while uid in self._stale:
                    await self._refresh(uid)
            finally:
                busy.discard(uid)

        async with asyncio.TaskGroup() as group:
            group.create_task(self._watches.run(client), name="watches of volumes")
            while True:
                self._wake.clear()
                self._mark_due()
                for uid in [uid for uid in self._stale if uid not in busy]:
                    busy.add(uid)
                    group.create_task(keep(uid), name=f"volumes of pod {uid}")
                try:
                    async with asyncio.timeout(self._until_due()):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    # -- what is out of date

    def _hold(self, shown: Shown, reference: Reference) -> None:
        users = self._users.setdefault(reference, set())
        users.add(shown)
        shown.read.setdefault(reference, "")
        self._watches.hold(reference)

    def _changed(self, reference: Reference, version: str) -> None:
        for shown in self._users.get(reference, ()):
            if shown.read[reference] != version:
                self._mark(shown)

    def _mark(self, shown: Shown) -> None:
        self._stale.setdefault(shown.pod.metadata.uid, set()).add(shown)
        self._wake.set()

    def _mark_due(self) -> None:
        now = clock.now().timestamp()
        for shown in [one for of_pod in self._pods.values() for one in of_pod.values()]:
            if shown.due is not None and shown.due <= now:
                self._mark(shown)
        self._wake.clear()

    def _until_due(self) -> float | None:
        """Return the seconds until something is due, or until the clock is to be looked at; None: nothing ever is."""
        times = [one.due for of_pod in self._pods.values() for one in of_pod.values() if one.due is not None]
        return min(max(min(times) - clock.now().timestamp(), 0.0), _LOOK) if times else None

    async def _refresh(self, uid: str) -> None:
        await self._in_turn(uid, lambda: self._refresh_now(uid))

    async def _refresh_now(self, uid: str) -> None:
        stale = self._stale.pop(uid, set())
        if any(not shown.ready for shown in stale):
            self.listener(uid, "")
        present = [shown for shown in stale if shown.ready]
        errors = await self._fill(present)
        for shown, error in zip(present, errors, strict=True):
            if error is not None:
                shown.retry_at = clock.now().timestamp() + _RETRY
                log.warning("%s is not up to date: %s", shown.path, error)
                self.listener(uid, set_up_failed(shown.volume, error))

    # -- reading and writing

    async def _fill(self, volumes: Iterable[Shown]) -> list[VolumeError | None]:
        """Read what the volumes (of one pod) show and write what has changed; returns what failed, by volume."""
        known: dict[Reference, Object | None] = {}
        outcomes = [(shown, await self._collect(shown, known)) for shown in volumes]
        work = [(shown, files) for shown, files in outcomes if not isinstance(files, VolumeError)]
        # Cleaning comes behind what other pods are to show.
        published = await asyncio.to_thread(_each, _publish, work)
        done = [one for one, error in zip(work, published, strict=True) if error is None]
        cleaned = await asyncio.to_thread(_each, _clean, done)
        written = {shown: error for (shown, _), error in zip([*work, *done], [*published, *cleaned], strict=True)}
        errors = [files if isinstance(files, VolumeError) else written[shown] for shown, files in outcomes]
        for (shown, _), error in zip(outcomes, errors, strict=True):
            if error is None:
                shown.ready, shown.retry_at = True, None
                self._wake.set()  # Its next time may be the soonest.
        return errors

    async def _collect(self, shown: Shown, known: dict[Reference, Object | None]) -> dict[str, File] | VolumeError:
        if self.client is None:
            return VolumeError("there is no API server to ask")
        reader = Reader(shown, self.client, self._allocatable, self._hold, known)
        try:
            return await shown.type.files(shown.pod, shown.volume, reader)
        except VolumeError as error:
            return error


def _shown_of(pod: Pod) -> tuple[object, ...]:
    """What of a pod a volume can show and can change."""
    containers = (*pod.spec.containers, *pod.spec.init_containers)
    return pod.metadata.labels, pod.metadata.annotations, [container.resources for container in containers]


Step = Callable[[Shown, dict[str, File]], None]


def _each(step: Step, work: list[tuple[Shown, dict[str, File]]]) -> list[VolumeError | None]:
    return [_outcome(step, shown, files) for shown, files in work]


def _outcome(step: Step, shown: Shown, files: dict[str, File]) -> VolumeError | None:
    try:
        step(shown, files)
    except (OSError, ValueError) as error:
        return VolumeError(str(error))
    return None


def _publish(shown: Shown, files: dict[str, File]) -> None:
    path = shown.path
    if not shown.ready:
        path.mkdir(exist_ok=True)
        if not shown.type.in_memory:
            path.chmod(_DISK_MODE)
        elif not is_tmpfs_root(path):
            mounts.mount_tmpfs(path, mode=_MEMORY_MODE, swap=False)
    signature = frozenset((name, file.mode, file.user, hash(file.content)) for name, file in files.items())
    if shown.signature != signature:
        anew, shown.signature = shown.signature is not None, None
        atomic.publish(path, files, shown.pod.spec.security_context.fs_group, anew=anew)
        shown.signature = signature


def _clean(shown: Shown, files: dict[str, File]) -> None:
    atomic.clean(shown.path, files)


class ContentPlugin:
    """A VolumePlugin for one type."""

    def __init__(self, type: ContentType, contents: Contents) -> None:
        self._type, self._contents = type, contents
        self.kind, self.directory = type.kind, type.directory

    def serves(self, volume: Volume) -> bool:
        return self._type.serves(volume)

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        return await self._contents.set_up(self._type, pod, volume, path)

    async def tear_down(self, path: Path) -> None:
        if self._type.in_memory:
            await asyncio.to_thread(unmount, path)
