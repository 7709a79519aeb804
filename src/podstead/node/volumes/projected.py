"""projected: service-account tokens, ConfigMaps and the pod's own fields as files in one volume, kept in memory.

Tokens are renewed when 80% of their time is over, or after a day (KEP-1205). The files lie on a tmpfs, so that none is
ever on the disk, and are swapped at once (`atomic`).
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from podstead import clock
from podstead.client.base import Client, Object
from podstead.linux import mounts
from podstead.node.volumes import atomic
from podstead.node.volumes.atomic import File
from podstead.node.volumes.base import VolumeError
from podstead.node.volumes.tmpfs import is_tmpfs_root, unmount
from podstead.objects.errors import StatusError
from podstead.objects.pod import Pod
from podstead.objects.volumes import (
    ConfigMapProjection,
    DownwardAPIProjection,
    KeyToPath,
    ServiceAccountTokenProjection,
    Volume,
    VolumeProjection,
)

_DAY = 24 * 3600.0
_JITTER = 10.0
_RETRY = 30.0
"""Seconds until a token that could not be renewed is asked for again."""
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]\Z", re.DOTALL)


@dataclass(slots=True)
class _Served:
    """A volume that is there: the pod as it was last seen, and when (POSIX seconds) its tokens are to be renewed."""

    pod: Pod
    volume: Volume
    due: float | None


class ProjectedPlugin:
    """`client` acts as the node; without one (no server runs) volumes can only be taken away."""

    kind = "projected"
    directory = "projected"

    def __init__(self, client: Client | None = None) -> None:
        self.client = client
        self.changed = asyncio.Event()
        """Set when `next_due` may have become sooner."""
        self._served: dict[Path, _Served] = {}

    def serves(self, volume: Volume) -> bool:
        return volume.projected is not None

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        """See VolumePlugin. One that is there already gets new tokens, and what has changed meanwhile."""
        files, ends = await self._collect(pod, volume)
        try:
            await asyncio.to_thread(_make, path, files)
        except ValueError as error:
            raise VolumeError(str(error)) from error
        due = _renewal(ends) if ends is not None else None
        self._served[path] = _Served(pod, volume, due)
        self.changed.set()
        return path

    async def tear_down(self, path: Path) -> None:
        self._served.pop(path, None)
        await asyncio.to_thread(unmount, path)

    # -- renewal, driven by the manager

    def next_due(self) -> float | None:
        """Return when (POSIX seconds) the first token is to be renewed."""
        return min((one.due for one in self._served.values() if one.due is not None), default=None)

    def due(self) -> list[tuple[str, Path]]:
        """Return pod uid and path of each volume whose tokens are to be renewed now."""
        now = clock.now().timestamp()
        late = [(at, one) for at, one in self._served.items() if one.due is not None and one.due <= now]
        return [(one.pod.metadata.uid, at) for at, one in late]

    def behind(self, pod: Pod) -> list[Path]:
        """Return the volumes of `pod` that show labels or annotations which have changed; takes note of them."""
        found = []
        for at, one in self._served.items():
            before = one.pod.metadata
            if before.uid != pod.metadata.uid or one.pod is pod:
                continue
            one.pod = pod
            shown = (before.labels, before.annotations) != (pod.metadata.labels, pod.metadata.annotations)
            if shown and _shows_metadata(one.volume):
                found.append(at)
        return found

    async def refresh(self, path: Path) -> None:
        """Write a volume anew; one that is gone is left alone. Raises VolumeError, after which it is due again."""
        one = self._served.get(path)
        if one is None:
            return
        try:
            await self.set_up(one.pod, one.volume, path)
        except (VolumeError, OSError) as error:
            one.due = clock.now().timestamp() + _RETRY
            raise error if isinstance(error, VolumeError) else VolumeError(str(error)) from error

    # -- what is in it

    async def _collect(self, pod: Pod, volume: Volume) -> tuple[dict[str, File], float | None]:
        """Return the files by path, and when (POSIX seconds, with the time of issue) the first token ends."""
        assert volume.projected is not None
        default = volume.projected.default_mode
        files: dict[str, File] = {}
        ends: list[float] = []
        for source in volume.projected.sources:
            if source.service_account_token is not None:
                token, end = await self._token(pod, source.service_account_token)
                files[source.service_account_token.path] = File(token.encode(), default)
                ends.append(end)
            files |= await self._other(pod, source, default)
        return files, min(ends, default=None)

    async def _other(self, pod: Pod, source: VolumeProjection, default: int) -> Mapping[str, File]:
        if source.config_map is not None:
            return await self._config_map(pod.metadata.namespace, source.config_map, default)
        if source.downward_api is not None:
            return _downward(pod, source.downward_api, default)
        return {}

    async def _token(self, pod: Pod, source: ServiceAccountTokenProjection) -> tuple[str, float]:
        meta, account = pod.metadata, pod.spec.service_account_name
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [source.audience] if source.audience else [],
                "expirationSeconds": source.expiration_seconds,
                "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": meta.name, "uid": meta.uid},
            },
        }
        try:
            answer = await self._client.create_subresource("serviceaccounts", account, meta.namespace, "token", request)
        except StatusError as error:
            raise VolumeError(f"failed to fetch token: {error}") from error
        status = answer["status"]
        return status["token"], clock.parse(status["expirationTimestamp"]).timestamp()

    async def _config_map(self, namespace: str, source: ConfigMapProjection, default: int) -> Mapping[str, File]:
        try:
            found: Object = await self._client.get("configmaps", source.name, namespace)
        except StatusError as error:
            if error.code != 404:
                raise VolumeError(str(error)) from error
            if not source.optional:
                raise VolumeError(f'configmap "{source.name}" not found') from error
            found = {}
        content = {key: text.encode() for key, text in (found.get("data") or {}).items()}
        content |= {key: b64decode(text) for key, text in (found.get("binaryData") or {}).items()}
        return _selected(content, source.items, default, optional=source.optional)

    @property
    def _client(self) -> Client:
        if self.client is None:
            raise VolumeError("there is no API server to ask")
        return self.client


def _renewal(ends: float) -> float:
    """Return when a token that was asked for now is to be renewed."""
    now = clock.now().timestamp()
    return now + max(min((ends - now) * 0.8, _DAY) - random.uniform(0, _JITTER), 1.0)


def _selected(
    content: Mapping[str, bytes], items: tuple[KeyToPath, ...], default: int, *, optional: bool
) -> Mapping[str, File]:
    """Return all of `content`, or the `items` of it; raises VolumeError where one is missing and has to be there."""
    if not items:
        return {key: File(value, default) for key, value in content.items()}
    files = {}
    for item in items:
        if item.key in content:
            files[item.path] = File(content[item.key], default if item.mode is None else item.mode)
        elif not optional:
            raise VolumeError(f"configmap references non-existent config key: {item.key}")
    return files


def _downward(pod: Pod, source: DownwardAPIProjection, default: int) -> Mapping[str, File]:
    return {
        item.path: File(
            field_text(pod, item.field_ref.field_path).encode() if item.field_ref else b"",
            default if item.mode is None else item.mode,
        )
        for item in source.items
    }


def field_text(pod: Pod, path: str) -> str:
    """Return what a file of the downward API says of a pod's field (Kubernetes: "Downward API"). Raises VolumeError."""
    meta = pod.metadata
    plain = {"metadata.name": meta.name, "metadata.namespace": meta.namespace, "metadata.uid": meta.uid}
    if path in plain:
        return plain[path]
    maps = {"labels": meta.labels, "annotations": meta.annotations}
    if path in ("metadata.labels", "metadata.annotations"):
        entries = maps[path.removeprefix("metadata.")]
        return "\n".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(entries.items()))
    if match := _SUBSCRIPT.match(path):
        return maps[match[1]].get(match[2], "")
    raise VolumeError(f"unsupported fieldPath: {path}")


def _shows_metadata(volume: Volume) -> bool:
    sources = volume.projected.sources if volume.projected is not None else ()
    paths = [
        item.field_ref.field_path
        for source in sources
        for item in (source.downward_api.items if source.downward_api is not None else ())
        if item.field_ref is not None
    ]
    return any(path.startswith(("metadata.labels", "metadata.annotations")) for path in paths)


def _make(path: Path, files: Mapping[str, File]) -> None:
    path.mkdir(exist_ok=True)
    if not is_tmpfs_root(path):
        mounts.mount_tmpfs(path, mode=0o755)
    atomic.write(path, files)
