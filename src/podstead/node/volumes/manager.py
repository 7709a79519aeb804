"""Sets up and takes away all volumes of a pod, by the plugin of each.

The directories are the record: pods/UID/volumes exists from before the first mount until after the last removal, so a
pod whose tear-down was cut short is known by it. A volume is renamed (`.NAME.removed`) before its contents go, so that
half of one is never taken for a volume.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from podstead.client.base import Client
from podstead.linux import mounts
from podstead.linux.remove import MountInside, Unfinished, remove_tree
from podstead.node import info
from podstead.node.settled import settled
from podstead.node.volumes import shared, subpath
from podstead.node.volumes.base import VolumeError, VolumePlugin, set_up_failed
from podstead.node.volumes.configmap import ConfigMapType
from podstead.node.volumes.content import ContentPlugin, Contents, ContentType, Listener
from podstead.node.volumes.csi import CSIPlugin
from podstead.node.volumes.downwardapi import DownwardAPIType
from podstead.node.volumes.emptydir import EmptyDirPlugin
from podstead.node.volumes.hostpath import HostPathPlugin
from podstead.node.volumes.image import ImageVolumePlugin
from podstead.node.volumes.nfs import NFSPlugin
from podstead.node.volumes.projected import ProjectedType
from podstead.node.volumes.removal import AT_ONCE, Remover
from podstead.node.volumes.secret import SecretType
from podstead.objects.pod import Pod
from podstead.objects.volumes import Volume
from podstead.paths import DATA_ROOT, RUN_ROOT, Paths

T = TypeVar("T")

_KUBERNETES = "kubernetes.io~"


class VolumeManager:
    """The volumes of one node. Calls for one pod take turns; a cancelled call ends what its threads have begun."""

    def __init__(
        self,
        paths: Paths,
        *,
        memory_allocatable: int = 0,
        reserved: Mapping[str, str] = info.NOTHING,
        plugins: Sequence[VolumePlugin] | None = None,
    ) -> None:
        """`memory_allocatable` in bytes, as the node reports it: the most that a Memory volume gets; 0: half of RAM.
        `reserved` is what the node does not give to pods."""
        self._paths = paths
        self._contents = Contents(self._in_turn, lambda: info.allocatable(paths.data, reserved))
        self._plugins = tuple(plugins) if plugins is not None else self._own_plugins(memory_allocatable)
        self._remover = Remover()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def _own_plugins(self, memory_allocatable: int) -> tuple[VolumePlugin, ...]:
        shown: tuple[ContentType, ...] = (ConfigMapType(), SecretType(), DownwardAPIType(), ProjectedType())
        paths = self._paths
        own = (
            HostPathPlugin((paths.data, paths.run, DATA_ROOT, RUN_ROOT)),
            ImageVolumePlugin(),
            NFSPlugin(),
            CSIPlugin(),
        )
        return EmptyDirPlugin(memory_allocatable), *own, *(ContentPlugin(type, self._contents) for type in shown)

    def connect(self, client: Client, listener: Listener | None = None) -> None:
        """Have volumes filled through `client`, which acts as the node, and `listener` told what becomes of them."""
        self._contents.client = client
        if listener is not None:
            self._contents.listener = listener

    async def run(self) -> None:
        """Keep volumes up to date with what they show until cancelled."""
        await self._contents.run()

    async def update(self, pod: Pod) -> None:
        """Have volumes show what has changed of the pod since they were set up."""
        await self._contents.update(pod)

    async def set_up(self, pod: Pod) -> dict[str, Path]:
        """Set up all volumes of the pod at once and return where each is, by name. Raises VolumeError of the first."""
        chosen = [(volume, self._plugin_for(volume)) for volume in pod.spec.volumes]
        if not chosen:
            return {}
        return await self._in_turn(pod.metadata.uid, lambda: self._set_up(pod, chosen))

    async def tear_down(self, pod_uid: str) -> None:
        """Unmount and remove all volumes of the pod, in this order.

        Raises VolumeError (reason FailedUnMount), with the volume still there, where anything is mounted in a volume or
        a process elsewhere still has it mounted: try again later.
        """
        await self._in_turn(pod_uid, lambda: self._tear_down(pod_uid))

    def orphans(self, known_uids: Iterable[str]) -> list[str]:
        """Return the uids of pods that have volumes here and are not known: theirs are to be torn down."""
        known = set(known_uids)
        if not self._paths.pods.is_dir():
            return []
        uids = (entry.name for entry in self._paths.pods.iterdir())
        return [uid for uid in uids if uid not in known and self._volumes_of(uid).is_dir()]

    async def _set_up(self, pod: Pod, chosen: Sequence[tuple[Volume, VolumePlugin]]) -> dict[str, Path]:
        uid = pod.metadata.uid
        paths = [self._paths.volume(uid, plugin.directory, volume.name) for volume, plugin in chosen]
        self._make_parents(uid, {path.parent for path in paths})
        outcomes = await asyncio.gather(
            *(plugin.set_up(pod, volume, path) for (volume, plugin), path in zip(chosen, paths, strict=True)),
            return_exceptions=True,
        )
        found: dict[str, Path] = {}
        for (volume, _), outcome in zip(chosen, outcomes, strict=True):
            if isinstance(outcome, (VolumeError, OSError)):
                reason = getattr(outcome, "reason", "FailedMount")
                raise VolumeError(set_up_failed(volume, outcome), reason) from outcome
            if isinstance(outcome, BaseException):
                raise outcome
            found[volume.name] = outcome
        return found

    def _make_parents(self, uid: str, directories: Iterable[Path]) -> None:
        """Volumes have mode 0777: only root gets as far as to them from outside of the pod."""
        pods = self._paths.pods
        pods.mkdir(parents=True, exist_ok=True)
        pods.chmod(0o750)
        for directory in directories:
            directory.mkdir(parents=True, exist_ok=True)

    async def _tear_down(self, uid: str) -> None:
        self._contents.forget(uid)
        volumes = self._volumes_of(uid)
        if not volumes.is_dir():
            return
        await asyncio.to_thread(subpath.release, self._paths.sub_paths(uid))
        work = [
            self._tear_down_one(directory, path)
            for directory in _entries(volumes)
            for path in _entries(directory)
            if not path.name.startswith(".")
        ]
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        failure = next((outcome for outcome in outcomes if outcome is not None), None)
        if isinstance(failure, OSError):
            raise VolumeError(f"cannot remove a volume: {failure}", "FailedUnMount") from failure
        if failure is not None:
            raise failure
        while (rest := await asyncio.to_thread(_finish, volumes)) is not None:
            await self._remover.remove(rest)

    async def _tear_down_one(self, directory: Path, path: Path) -> None:
        name = directory.name.removeprefix(_KUBERNETES)
        plugin = next((plugin for plugin in self._plugins if plugin.directory == name), None)
        if plugin is None:
            raise VolumeError(f"{path} belongs to no known type of volume", "FailedUnMount")
        await asyncio.to_thread(shared.unshare, path)
        await plugin.tear_down(path)
        while (rest := await asyncio.to_thread(_remove_volume, path)) is not None:
            await self._remover.remove(rest)

    def _plugin_for(self, volume: Volume) -> VolumePlugin:
        for plugin in self._plugins:
            if plugin.serves(volume):
                return plugin
        raise VolumeError(f'no volume plugin matched: volume "{volume.name}"')

    def _volumes_of(self, uid: str) -> Path:
        return self._paths.pod(uid) / "volumes"

    async def _in_turn(self, uid: str, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` when the pod's earlier calls are through, and to its end."""
        turn = self._turns.get(uid)
        if turn is None:
            turn = self._turns[uid] = asyncio.Lock()

        async def take(turn: asyncio.Lock) -> T:
            async with turn:
                return await work()

        return await settled(take(turn))


def _entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _remove_volume(path: Path) -> Path | None:
    """Remove a volume that is no longer mounted anywhere; raises VolumeError otherwise, before anything is touched.

    Returns what is to be removed before this is called again, where that takes its time.
    """
    inside = mounts.mounts_below(path)
    if inside:
        raise VolumeError(f"{inside[0]} is a mount point: unmount it first", "FailedUnMount")
    users = mounts.processes_mounting(path)
    if users:
        raise VolumeError(f"{path} is still mounted by process {users[0]}", "FailedUnMount")
    grave = path.with_name(f".{path.name}.removed")
    if not _removed(grave):
        return grave
    if path.exists():
        path.rename(grave)
    return None if _removed(grave) else grave


def _finish(volumes: Path) -> Path | None:
    """Remove what a crash left between the steps, then the directories, the pod's own if nothing else is in it.

    Returns what is to be removed before this is called again, where that takes its time.
    """
    for directory in _entries(volumes):
        for leftover in _entries(directory):
            if not _removed(leftover):
                return leftover
        directory.rmdir()
    volumes.rmdir()
    try:
        volumes.parent.rmdir()
    except OSError:
        return None
    return None


def _removed(path: Path) -> bool:
    """Remove it, unless there is too much in it."""
    try:
        remove_tree(path, limit=AT_ONCE)
    except Unfinished:
        return False
    except MountInside as error:
        raise VolumeError(f"{error}: unmount it first", "FailedUnMount") from error
    return True
